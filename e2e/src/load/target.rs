//! The base URL that requests are sent to. Plain HTTP only, as inside a cluster.

use anyhow::{Context, bail, ensure};
use hyper::Uri;

/// A base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address to connect to.
    pub(super) host: String,
    pub(super) port: u16,
    /// Value of the `host` header.
    pub(super) authority: String,
    prefix: String,
}

impl Target {
    /// Parses `http://host[:port][/prefix]`.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => bail!(
                "{url}: only plain http is supported: for a Service behind TLS or outside of this network run \
                 `kubectl proxy` and give http://127.0.0.1:8001/api/v1/namespaces/NAMESPACE/services/NAME:PORT/proxy"
            ),
            _ => bail!("`{url}` must begin with http://"),
        }
        ensure!(uri.query().is_none(), "{url}: a base URL has no query");
        let authority = uri.authority().with_context(|| format!("`{url}` names no host"))?;
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The path of a request relative to the base.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_parsed() {
        let target = Target::parse("http://10.96.1.2:8000/").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("10.96.1.2", 8000));
        assert_eq!(target.path("/v1/models"), "/v1/models");
        let behind = Target::parse("http://127.0.0.1:8001/api/v1/services/a:80/proxy/").unwrap();
        assert_eq!(behind.path("/v1/models"), "/api/v1/services/a:80/proxy/v1/models");
        assert_eq!(Target::parse("http://[::1]:9").unwrap().host, "::1");
    }

    #[test]
    fn an_unusable_url_is_refused_with_a_cure() {
        assert!(Target::parse("https://a").unwrap_err().to_string().contains("kubectl proxy"));
        assert!(Target::parse("a:80").is_err());
        assert!(Target::parse("/v1").is_err());
    }
}
