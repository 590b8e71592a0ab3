//! kube-proxy: where a Service forwards, some time after its EndpointSlices changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::Value;

use super::drive::{Simulator, earlier};
use super::object::{Key, items, label, namespace};
use crate::api::{ApiServer, Kind};

/// An address and a port.
type Target = (String, u16);

/// Present targets of a Service, and later ones with the time from which they hold.
#[derive(Default)]
struct Rules {
    now: Vec<Target>,
    coming: Vec<(Timestamp, Vec<Target>)>,
}

impl Rules {
    fn pass(&mut self, now: Timestamp) {
        let past = self.coming.iter().take_while(|(at, _)| *at <= now).count();
        if let Some((_, last)) = self.coming.drain(..past).next_back() {
            self.now = last;
        }
    }

    fn last(&self) -> &[Target] {
        self.coming.last().map_or(&self.now, |(_, targets)| targets)
    }
}

/// The proxies of all nodes, which have the same rules at the same time. Clones share the same state.
#[derive(Clone)]
pub(super) struct Proxy {
    lag: Duration,
    rules: Arc<Mutex<BTreeMap<Key, Rules>>>,
}

impl Proxy {
    pub(super) fn new(lag: Duration) -> Self {
        Self { lag, rules: Arc::default() }
    }

    /// Where a Service forwards now.
    pub(super) fn addresses(&self, namespace: &str, service: &str, now: Timestamp) -> Vec<Target> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rules) = rules.get_mut(&(namespace.to_owned(), service.to_owned())) else {
            return Vec::new();
        };
        rules.pass(now);
        rules.now.clone()
    }
}

impl Simulator for Proxy {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::ENDPOINT_SLICE]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let mut endpoints: BTreeMap<Key, Vec<Arc<Value>>> = BTreeMap::new();
        for slice in api.list(&Kind::ENDPOINT_SLICE) {
            if let Some(service) = label(&slice, "kubernetes.io/service-name") {
                endpoints.entry((namespace(&slice).to_owned(), service.to_owned())).or_default().push(slice);
            }
        }
        let mut all = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        for service in endpoints.keys() {
            all.entry(service.clone()).or_default();
        }
        let mut wake = None;
        for (service, rules) in all.iter_mut() {
            rules.pass(now);
            let wanted = targets(endpoints.get(service).map(Vec::as_slice).unwrap_or_default());
            if wanted != rules.last() {
                rules.coming.push((after(now, self.lag), wanted));
            }
            wake = earlier(wake, rules.coming.first().map(|(at, _)| *at));
        }
        wake
    }
}

/// Ready endpoints; if there are none, terminating ones that still serve.
fn targets(slices: &[Arc<Value>]) -> Vec<Target> {
    let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Target> {
        let each = slices.iter().flat_map(|slice| {
            let fitting =
                items(&slice["endpoints"]).iter().filter(|endpoint| wanted(&endpoint["conditions"]));
            fitting.flat_map(|endpoint| {
                let ports =
                    items(&slice["ports"]).iter().filter_map(|port| port["port"].as_u64()?.try_into().ok());
                let address = endpoint["addresses"][0].as_str().unwrap_or_default();
                ports.map(|port| (address.to_owned(), port))
            })
        });
        // Two ports of a Service may map to the same port of a pod.
        let mut found: Vec<Target> = Vec::new();
        for target in each {
            if !found.contains(&target) {
                found.push(target);
            }
        }
        found
    };
    let ready = of(&|conditions| conditions["ready"] == true);
    if ready.is_empty() {
        of(&|conditions| conditions["serving"] == true && conditions["terminating"] == true)
    } else {
        ready
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::server;
    use super::*;

    fn slice(endpoints: &[(&str, bool, bool, bool)]) -> Value {
        let endpoint = |(ip, ready, serving, terminating): &(&str, bool, bool, bool)| {
            json!({
                "addresses": [ip],
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating}
            })
        };
        json!({
            "metadata": {"name": "s-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "ports": [{"port": 8000}], "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>()
        })
    }

    #[test]
    fn terminating_pods_get_requests_only_without_ready_ones() {
        let (ends, ready) = (("a", false, true, true), ("b", true, true, false));
        assert_eq!(targets(&[Arc::new(slice(&[ends, ready]))]), [("b".to_owned(), 8000)]);
        assert_eq!(targets(&[Arc::new(slice(&[ends]))]), [("a".to_owned(), 8000)]);
        assert!(targets(&[Arc::new(slice(&[("c", false, false, false)]))]).is_empty());
    }

    #[test]
    fn rules_change_with_a_delay_and_in_order() {
        let (api, mut proxy) = (server(), Proxy::new(Duration::from_secs(2)));
        let begin = api.now();
        let at = |seconds| after(begin, Duration::from_secs(seconds));
        let ips = |proxy: &Proxy, now| {
            proxy.addresses("n", "s", now).into_iter().map(|(ip, _)| ip).collect::<Vec<_>>()
        };
        api.create(&Kind::ENDPOINT_SLICE, slice(&[("a", true, true, false)])).unwrap();
        assert_eq!(proxy.step(&api, at(0)), Some(at(2)));
        let next = slice(&[("b", true, true, false)]);
        api.merge_patch(&Kind::ENDPOINT_SLICE, "n", "s-1", &json!({"endpoints": next["endpoints"]})).unwrap();
        proxy.step(&api, at(1));
        assert_eq!(ips(&proxy, at(1)), Vec::<String>::new());
        assert_eq!(ips(&proxy, at(2)), ["a"]);
        assert_eq!(ips(&proxy, at(3)), ["b"]);
    }
}
