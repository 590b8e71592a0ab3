//! Places, launches, verifies and watches a tensor/pipeline-parallel engine on one Ray cluster, using nothing
//! but the REST API of that cluster's dashboard and the HTTP port of the engine.
//!
//! | module | content | I/O |
//! |---|---|---|
//! | [`placement`] | shape × Ray nodes → the node of each rank; comparison with what Ray reports | none |
//! | [`engine`] | arguments, launch specification, phases and causes of an engine; its HTTP port | client |
//! | [`dashboard`] | typed client of one dashboard: jobs, packages, nodes, actors, placement groups | yes |
//! | [`observe`] | the state of one cluster and its engine as one value | yes |
//! | [`diagnose`] | what is wrong with a cluster and its engine, and the evidence | if a dashboard fails |
//!
//! ```no_run
//! # async fn example(target: ray_bridge::Target, spec: ray_bridge::engine::EngineSpec)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! use ray_bridge::observe::ObserveOptions;
//! use ray_bridge::placement::{Policy, plan};
//! use ray_bridge::{Bridge, Limits};
//!
//! let bridge = Bridge::new(Limits::default())?;
//! let seen = bridge.observe(&target, None, ObserveOptions::default()).await?;
//! let nodes = seen.cluster.map(|c| c.nodes).unwrap_or_default();
//! let placement = plan(spec.shape, &nodes, &Policy::default())?;
//! bridge.launch(&target, &spec, &placement).await?; // again after a time-out: never a second engine
//! let state = bridge.observe(&target, Some(&spec.name), ObserveOptions::full()).await?;
//! # let _ = state; Ok(())
//! # }
//! ```
//!
//! Guarantees of the whole crate: each call has a time-out and a bounded reply; no input from outside causes
//! a panic; only idempotent reads are retried, twice and shortly; a launch that was applied but timed out is
//! found again by its submission id; there is no clock in here, time stamps are those that Ray reports.

mod bridge;
pub mod dashboard;
pub mod diagnose;
pub mod engine;
mod http;
mod id;
mod lean;
pub mod observe;
pub mod placement;
mod retry;
mod sign;

pub use bridge::{Bridge, LaunchError, Launched, Target};
pub use http::{
    Call, CallError, CallErrorKind, HELD_SILENCE, HeldEnd, InvalidToken, Limits, Sent, SetupError, Token,
    Unreached, Wire,
};
pub use id::{InvalidSubmissionId, NodeId, SubmissionId};
pub use sign::{Held, Sign};

/// `http://<address>:<port>`, an IPv6 address in brackets; `None` if `ip` is no address or host name.
pub fn base_of(ip: &str, port: u16) -> Option<url::Url> {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let url = url::Url::parse(&format!("http://{host}:{port}")).ok()?;
    // Host and port only: the text may come from outside.
    let plain =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    plain.then_some(url)
}
