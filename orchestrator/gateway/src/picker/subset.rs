//! Where a request may go by a hint of the proxy's: `x-gateway-destination-endpoint-subset` of the namespace `envoy.lb.subset_hint`.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::Value;
use envoy_types::pb::google::protobuf::value::Kind;

use super::SUBSET;

const NAMESPACE: &str = "envoy.lb.subset_hint";
/// Endpoints of a hint that are looked at.
const MOST: usize = 10_000;

/// The endpoints that a request may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subset(Vec<Allowed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Endpoint(SocketAddr),
    /// All ports of an address.
    Address(IpAddr),
}

impl Subset {
    /// `None`: the proxy leaves it open. What is no endpoint allows none.
    pub(super) fn read(metadata: &Metadata) -> Option<Self> {
        let hint = metadata.filter_metadata.get(NAMESPACE)?.fields.get(SUBSET)?;
        let texts: Vec<&str> = match &hint.kind {
            Some(Kind::ListValue(list)) => list.values.iter().filter_map(text).collect(),
            _ => text(hint).into_iter().collect(),
        };
        let endpoints = texts.into_iter().flat_map(|text| text.split(',')).take(MOST);
        Some(Self(endpoints.filter_map(Allowed::read).collect()))
    }

    pub(super) fn allows(&self, endpoint: &str) -> bool {
        let Ok(endpoint) = endpoint.parse::<SocketAddr>() else { return false };
        self.0.iter().any(|allowed| match allowed {
            Allowed::Endpoint(one) => *one == endpoint,
            Allowed::Address(address) => *address == endpoint.ip(),
        })
    }
}

impl Allowed {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let endpoint = text.parse().map(Self::Endpoint);
        endpoint.or_else(|_| text.parse().map(Self::Address)).ok()
    }
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{list, metadata, string};
    use super::*;

    fn read(hint: Value) -> Subset {
        Subset::read(&metadata(NAMESPACE, SUBSET, hint)).unwrap()
    }

    #[test]
    fn endpoints_are_named_one_by_one_or_in_one_text_and_by_address_alone() {
        for hint in [
            list(["10.0.0.1:8000", "[fd00::2]:8000", "10.0.0.3"]),
            string("10.0.0.1:8000, [fd00::2]:8000,10.0.0.3"),
        ] {
            let subset = read(hint);
            for (endpoint, allowed) in [
                ("10.0.0.1:8000", true),
                ("10.0.0.1:8001", false),
                ("[fd00:0::2]:8000", true),
                ("10.0.0.3:1", true),
                ("10.0.0.4:8000", false),
            ] {
                assert_eq!(subset.allows(endpoint), allowed, "{endpoint}");
            }
        }
    }

    #[test]
    fn a_hint_that_names_none_allows_none_and_no_hint_allows_all() {
        for hint in
            [list([]), string(""), list(["localhost:8000"]), Value { kind: Some(Kind::BoolValue(true)) }]
        {
            assert_eq!(read(hint), Subset::default());
        }
        assert_eq!(Subset::read(&Metadata::default()), None);
        assert_eq!(Subset::read(&metadata("envoy.lb", SUBSET, list([]))), None);
    }
}
