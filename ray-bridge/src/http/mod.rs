//! HTTP to one server of one cluster: bounded time, bounded size, typed errors. No path of Ray or an engine
//! belongs here.

mod body;
mod budget;
mod direct;
mod endpoint;
mod error;
mod message;
mod token;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

pub(crate) use body::Keep;
pub(crate) use budget::Budget;
pub(crate) use endpoint::{Endpoint, Payload, unreachable};
pub(crate) use error::found;
pub use error::{Call, CallError, CallErrorKind, Sent};
pub use token::{InvalidToken, Token};
pub(crate) use wire::Net;
pub use wire::{Unreached, Wire};

/// Bounds of every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time limit of one call, retries included.
    pub call: Duration,
    /// Time limit of submitting a job or uploading a package.
    pub submit: Duration,
    /// Longest reply in bytes; a longer one is an error. Most calls have a lower limit of their own.
    pub reply_bytes: usize,
    /// How much of the end of a job's log is kept, in bytes.
    pub log_tail_bytes: usize,
    /// How much of a job's log is read to reach its end, in bytes; a longer one is an error.
    pub log_read_bytes: usize,
    /// Retries of an idempotent read.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(5),
            submit: Duration::from_secs(30),
            reply_bytes: 16 << 20,
            log_tail_bytes: 64 << 10,
            log_read_bytes: 16 << 20,
            retries: 2,
        }
    }
}

impl Limits {
    /// The same limits, with no call longer than `longest`.
    #[must_use]
    pub fn at_most(self, longest: Duration) -> Self {
        Self { call: self.call.min(longest), ..self }
    }
}

/// Longest replies in bytes, by kind. Each is several times what the largest engine, of 1024 ranks, needs.
pub(crate) mod longest {
    /// Short replies: health, a version, requests in flight, "stopped".
    pub(crate) const WORD: usize = 64 << 10;
    /// One job, with its environment and plan.
    pub(crate) const JOB: usize = 2 << 20;
    /// Nodes, their GPU use, placement groups; an engine's metrics.
    pub(crate) const LIST: usize = 4 << 20;
    /// Actors, each with the whole environment of its job; jobs.
    pub(crate) const ENVIRONMENTS: usize = 16 << 20;
    /// The answer to a probe, or an engine's models.
    pub(crate) const ANSWER: usize = 1 << 20;
}

/// The HTTP client could not be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("HTTP client: {0}")]
pub struct SetupError(pub(crate) String);

/// Ray 2.46 answers 500 to a request without a `User-Agent`.
const AGENT: &str = concat!("ray-bridge/", env!("CARGO_PKG_VERSION"));

/// A connection pool for any number of clusters. `roots` are PEM certificates to which `https` servers must
/// chain.
///
/// TLS is set up explicitly: the default panics without a process-wide crypto provider, and fails in images
/// without certificates even if all servers are plain HTTP.
fn client(roots: &[u8]) -> Result<reqwest::Client, SetupError> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        let certificate = certificate.map_err(|e| SetupError(format!("trusted certificates: {e}")))?;
        store.add(certificate).map_err(|e| SetupError(format!("trusted certificates: {e}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| SetupError(e.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(AGENT)
        // A redirect would send the token to another server, and a proxy would see it.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_idle_timeout(direct::IDLE)
        .pool_max_idle_per_host(direct::KEPT)
        .build()
        .map_err(|e| SetupError(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_needs_no_process_wide_tls_provider_and_no_certificates() {
        assert!(client(b"").is_ok());
    }

    #[test]
    fn invalid_certificates_are_refused() {
        let text = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let message = client(text).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.starts_with("HTTP client: trusted certificates:"), "{message}");
    }
}
