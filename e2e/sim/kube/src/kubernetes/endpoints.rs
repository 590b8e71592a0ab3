//! The EndpointSlice controller: which pods are behind each Service, and whether they are ready, serving
//! and terminating.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::{Value, json};

use super::drive::{Simulator, earlier};
use super::object::{
    Key, controlled_by, entries, has_ended, is_deleting, is_true, items, key, label, name, namespace,
    node_of, uid,
};
use crate::api::{ApiServer, Kind};

/// From a change of a pod or Service to the change of the slice.
const LAG: Duration = Duration::from_millis(30);
/// Letters of generated names.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The controller. It remembers since when each Service has been out of date.
pub(super) struct Endpoints {
    rng: Rng,
    due: BTreeMap<Key, Timestamp>,
}

impl Endpoints {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), due: BTreeMap::new() }
    }

    /// Keeps slices that match, and updates, creates and deletes others until all are as wanted.
    fn write_all(&mut self, api: &ApiServer, service: &Value, mut there: Vec<&Arc<Value>>, wanted: &[Value]) {
        let mut others = Vec::new();
        for content in wanted {
            match there.iter().position(|slice| slice["ports"] == content["ports"]) {
                Some(at) => self.write(api, service, Some(there.remove(at)), content),
                None => others.push(content),
            }
        }
        for content in others {
            self.write(api, service, there.pop(), content);
        }
        for slice in there {
            drop(api.delete(&Kind::ENDPOINT_SLICE, namespace(slice), name(slice)));
        }
    }

    fn write(&mut self, api: &ApiServer, service: &Value, slice: Option<&Arc<Value>>, content: &Value) {
        let Some(slice) = slice else {
            let letters = (0..5).filter_map(|_| self.rng.choice(LETTERS)).map(|letter| char::from(*letter));
            let slice_name = format!("{}-{}", name(service), letters.collect::<String>());
            drop(api.create(&Kind::ENDPOINT_SLICE, new_slice(service, &slice_name, content)));
            return;
        };
        drop(api.merge_patch(&Kind::ENDPOINT_SLICE, namespace(slice), name(slice), content));
    }
}

impl Simulator for Endpoints {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::SERVICE, Kind::POD, Kind::NODE, Kind::ENDPOINT_SLICE]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let (pods, nodes) = (api.list(&Kind::POD), api.list(&Kind::NODE));
        let slices = api.list(&Kind::ENDPOINT_SLICE);
        let mut wake = None;
        let selecting = |service: &Arc<Value>| entries(&service["spec"]["selector"]).next().is_some();
        let services: Vec<Arc<Value>> = api.list(&Kind::SERVICE).into_iter().filter(selecting).collect();
        self.due.retain(|due, _| services.iter().any(|service| key(service) == *due));
        for service in &services {
            let wanted = contents(service, &pods, &nodes);
            let there: Vec<&Arc<Value>> = slices
                .iter()
                .filter(|slice| {
                    namespace(slice) == namespace(service)
                        && label(slice, SERVICE_NAME) == Some(name(service))
                })
                .collect();
            let is = |slice: &&Arc<Value>, content: &Value| {
                ["endpoints", "ports"].iter().all(|field| slice[*field] == content[*field])
            };
            let has = |content: &Value| there.iter().any(|slice| is(slice, content));
            if there.len() == wanted.len() && wanted.iter().all(has) {
                self.due.remove(&key(service));
                continue;
            }
            let due = *self.due.entry(key(service)).or_insert_with(|| after(now, LAG));
            if due <= now {
                self.due.remove(&key(service));
                self.write_all(api, service, there, &wanted);
            } else {
                wake = earlier(wake, Some(due));
            }
        }
        wake
    }
}

fn new_slice(service: &Value, slice_name: &str, content: &Value) -> Value {
    let mut labels: BTreeMap<String, Value> =
        entries(&service["metadata"]["labels"]).map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.insert(SERVICE_NAME.to_owned(), json!(name(service)));
    let manager = "endpointslice.kubernetes.io/managed-by".to_owned();
    labels.insert(manager, json!("endpointslice-controller.k8s.io"));
    if service["spec"]["clusterIP"] == "None" {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": slice_name, "generateName": format!("{}-", name(service)), "namespace": namespace(service),
            "labels": labels, "ownerReferences": controlled_by(service, "v1", "Service"),
        },
        "endpoints": content["endpoints"], "ports": content["ports"],
    })
}

/// Endpoints and ports of a Service, one entry for each distinct set of ports: pods may have different
/// numbers for a named port.
fn contents(service: &Value, pods: &[Arc<Value>], nodes: &[Arc<Value>]) -> Vec<Value> {
    let chosen = |pod: &&Arc<Value>| {
        namespace(pod) == namespace(service)
            && entries(&service["spec"]["selector"]).all(|(key, value)| label(pod, key) == value.as_str())
            && pod["status"]["podIP"].is_string()
            && !has_ended(pod)
    };
    let mut alike: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods.iter().filter(chosen) {
        let ports: Vec<Value> =
            items(&service["spec"]["ports"]).iter().filter_map(|wanted| port(wanted, pod)).collect();
        let (_, endpoints) = alike.entry(json!(ports).to_string()).or_insert((ports, Vec::new()));
        endpoints.push(endpoint(service, pod, nodes));
    }
    if alike.is_empty() {
        let ports = items(&service["spec"]["ports"]).iter().filter_map(|wanted| port(wanted, &Value::Null));
        alike.insert(String::new(), (ports.collect(), Vec::new()));
    }
    alike.into_values().map(|(ports, endpoints)| json!({"endpoints": endpoints, "ports": ports})).collect()
}

fn endpoint(service: &Value, pod: &Value, nodes: &[Arc<Value>]) -> Value {
    let (serving, terminating) = (is_true(pod, "Ready"), is_deleting(pod));
    let ready = service["spec"]["publishNotReadyAddresses"] == true || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)},
    });
    let node = nodes.iter().find(|node| node_of(pod) == Some(name(node)));
    let zone = node.and_then(|node| label(node, "topology.kubernetes.io/zone"));
    if let (Some(zone), Some(fields)) = (zone, endpoint.as_object_mut()) {
        fields.insert("zone".to_owned(), json!(zone));
    }
    endpoint
}

/// A port of a Service at a pod; `None` if the pod has no port of that name.
fn port(port: &Value, pod: &Value) -> Option<Value> {
    let containers = items(&pod["spec"]["containers"]).iter();
    let mut named = containers.flat_map(|container| items(&container["ports"]));
    let target = match port["targetPort"].as_str() {
        Some(name) => &named.find(|named| named["name"] == name)?["containerPort"],
        None if port["targetPort"].is_u64() => &port["targetPort"],
        None => &port["port"],
    };
    let mut wanted = json!({
        "name": port["name"].as_str().unwrap_or_default(), "port": target,
        "protocol": port["protocol"].as_str().unwrap_or("TCP"),
    });
    if let (Some(protocol), Some(fields)) = (port["appProtocol"].as_str(), wanted.as_object_mut()) {
        fields.insert("appProtocol".to_owned(), json!(protocol));
    }
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(publish: bool) -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n"},
            "spec": {"selector": {"app": "a"}, "publishNotReadyAddresses": publish, "ports": [{"port": 80, "targetPort": 8000}]}
        })
    }

    fn pod(ready: &str, deleting: bool) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"}},
            "spec": {"nodeName": "node-a"},
            "status": {"podIP": "10.99.1.2", "phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        });
        if deleting {
            pod["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        }
        pod
    }

    fn reported(publish: bool, pod: &Value) -> [bool; 3] {
        let content = contents(&service(publish), &[Arc::new(pod.clone())], &[]).remove(0);
        ["ready", "serving", "terminating"].map(|word| content["endpoints"][0]["conditions"][word] == true)
    }

    #[test]
    fn a_terminating_pod_is_serving_but_not_ready() {
        assert_eq!(reported(false, &pod("True", false)), [true, true, false]);
        assert_eq!(reported(false, &pod("True", true)), [false, true, true]);
        assert_eq!(reported(false, &pod("False", false)), [false, false, false]);
    }

    #[test]
    fn a_named_port_resolves_for_each_pod() {
        let with = |number: u16| {
            let mut pod = pod("True", false);
            pod["spec"]["containers"] = json!([{"ports": [{"name": "web", "containerPort": number}]}]);
            pod
        };
        let mut service = service(false);
        service["spec"]["ports"] = json!([{"port": 80, "targetPort": "web"}]);
        let found = contents(&service, &[with(8000), with(8001), with(8000)].map(Arc::new), &[]);
        let shown: Vec<_> = found
            .iter()
            .map(|slice| (slice["ports"][0]["port"].clone(), items(&slice["endpoints"]).len()))
            .collect();
        assert_eq!(shown, [(json!(8000), 2), (json!(8001), 1)]);
        let nameless = contents(&service, &[Arc::new(pod("True", false))], &[]);
        assert_eq!((nameless.len(), &nameless[0]["ports"]), (1, &json!([])), "it has no port of that name");
    }

    #[test]
    fn publish_not_ready_addresses_makes_all_endpoints_ready() {
        assert_eq!(reported(true, &pod("False", false)), [true, false, false]);
        assert_eq!(reported(true, &pod("True", true)), [true, true, true]);
    }

    #[test]
    fn pods_without_an_address_and_ended_pods_are_left_out() {
        let mut failed = pod("False", false);
        failed["status"]["phase"] = json!("Failed");
        let mut new = pod("False", false);
        new["status"]["podIP"] = Value::Null;
        let mut stranger = pod("True", false);
        stranger["metadata"]["labels"]["app"] = json!("b");
        let content = contents(&service(false), &[failed, new, stranger].map(Arc::new), &[]).remove(0);
        assert_eq!(content["endpoints"], json!([]));
        assert_eq!(content["ports"][0]["port"], 8000);
    }
}
