//! Which pods answer for which model, out of what the API server says: a fleet names its model, and the EndpointSlices of its Service list
//! the heads whose gate is open. Pure, and never empty because the API server is away: what was known stays.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rayfleet_api::names;
use rayfleet_runtime::Key;
use serde::Deserialize;

/// Endpoints of one slice that are looked at; Kubernetes writes a thousand at the most.
const MOST_ENDPOINTS: usize = 1000;
/// Longest name of a model that is looked at, in characters, as the CRD has it.
const LONGEST_NAME: usize = 253;
/// Kubernetes' labels of a slice: its Service, and who wrote it.
const LABEL_OF_SERVICE: &str = "kubernetes.io/service-name";
const LABEL_WRITER: &str = "endpointslice.kubernetes.io/managed-by";
/// The controller that writes what a Service's selector finds.
const WRITER: &str = "endpointslice-controller.k8s.io";

/// A fleet, as far as the gateway looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) key: Key,
    /// What clients call its model.
    pub(crate) model: Arc<str>,
}

/// An EndpointSlice of a fleet's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) key: Key,
    fleet: String,
    /// Pods that may take requests: UID and address.
    heads: Vec<(Arc<str>, SocketAddr)>,
}

/// A kind that is watched.
pub(crate) trait Watched: Sized {
    /// Reads one object. `None`: it is none that is kept.
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error>;
    fn key(&self) -> &Key;
    /// Where objects of this kind are kept.
    fn known(table: &mut Table) -> &mut Known<Self>;
}

/// The objects of a kind.
#[derive(Debug)]
pub(crate) struct Known<T> {
    pub(crate) objects: BTreeMap<Key, T>,
    /// They were listed once.
    pub(crate) listed: bool,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: false }
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Table {
    fleets: Known<Fleet>,
    slices: Known<Slice>,
}

/// The heads of one model, by UID.
pub(crate) type Heads = BTreeMap<Arc<str>, Arc<str>>;

impl Table {
    /// Whether everything was listed once: before that what is missing may be there.
    pub(crate) fn is_settled(&self) -> bool {
        self.fleets.listed && self.slices.listed
    }

    /// The heads of each model that a fleet has, also of those that have none. Fleets that name the same model answer for it together.
    pub(crate) fn models(&self) -> BTreeMap<Arc<str>, Heads> {
        let mut of_fleet: BTreeMap<Key, Vec<&Slice>> = BTreeMap::new();
        for slice in self.slices.objects.values() {
            of_fleet.entry(slice.key.sibling(slice.fleet.clone())).or_default().push(slice);
        }
        let mut models: BTreeMap<Arc<str>, BTreeMap<Arc<str>, SocketAddr>> = BTreeMap::new();
        for fleet in self.fleets.objects.values() {
            let heads = models.entry(fleet.model.clone()).or_default();
            for (uid, address) in
                of_fleet.get(&fleet.key).into_iter().flatten().flat_map(|slice| &slice.heads)
            {
                // Of a head with addresses of both families it is always the same one.
                let known = heads.entry(uid.clone()).or_insert(*address);
                *known = (*known).min(*address);
            }
        }
        let written = |heads: BTreeMap<Arc<str>, SocketAddr>| -> Heads {
            heads.into_iter().map(|(uid, address)| (uid, Arc::from(address.to_string()))).collect()
        };
        models.into_iter().map(|(model, heads)| (model, written(heads))).collect()
    }
}

#[derive(Deserialize)]
struct FleetObject {
    metadata: Metadata,
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Spec {
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    name: Option<String>,
}

impl Watched for Fleet {
    /// `None`: Rayfleet does not know what its model is called.
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let FleetObject { metadata, spec } = serde_json::from_str(text)?;
        let name = spec.and_then(|spec| spec.model).and_then(|model| model.name);
        let Some(name) = name.filter(|name| !name.is_empty() && name.chars().count() <= LONGEST_NAME) else {
            return Ok(None);
        };
        Ok(Some(Self { key: Key::new(metadata.namespace, metadata.name), model: Arc::from(name) }))
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn known(table: &mut Table) -> &mut Known<Self> {
        &mut table.fleets
    }
}

#[derive(Deserialize)]
struct SliceObject {
    metadata: Metadata,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    conditions: Option<Conditions>,
    target_ref: Option<Target>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct Target {
    kind: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize)]
struct Port {
    port: Option<u16>,
}

impl Watched for Slice {
    /// `None`: it is of no fleet's Service.
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let SliceObject { metadata, endpoints, ports } = serde_json::from_str(text)?;
        let labels = metadata.labels.unwrap_or_default();
        // Labels of a Service are copied to its slices, and anybody may make a Service: only the one that the fleet controls has its name.
        let Some(fleet) = labels.get(names::LABEL_SERVICE).filter(|fleet| {
            labels.get(LABEL_OF_SERVICE) == Some(*fleet)
                && labels.get(LABEL_WRITER).is_some_and(|writer| writer == WRITER)
        }) else {
            return Ok(None);
        };
        // All ports of a fleet's Service lead to the same one of a head.
        let port = ports.into_iter().flatten().find_map(|port| port.port);
        let endpoints = endpoints.into_iter().flatten().take(MOST_ENDPOINTS);
        let heads = endpoints.filter_map(|endpoint| endpoint.head(port?)).collect();
        Ok(Some(Self { key: Key::new(metadata.namespace, metadata.name), fleet: fleet.clone(), heads }))
    }

    fn key(&self) -> &Key {
        &self.key
    }

    fn known(table: &mut Table) -> &mut Known<Self> {
        &mut table.slices
    }
}

impl Endpoint {
    /// The pod behind it, if it may take requests.
    fn head(self, port: u16) -> Option<(Arc<str>, SocketAddr)> {
        // Kubernetes: not known is to be read as ready.
        if self.conditions.unwrap_or_default().ready == Some(false) {
            return None;
        }
        let pod = self.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"))?;
        let address = self.addresses.into_iter().next()?;
        // A slice holds addresses alone; anything else was written by somebody else.
        let address: IpAddr = address.parse().ok()?;
        Some((Arc::from(pod.uid?), SocketAddr::new(address, port)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fleet(name: &str, model: &str) -> Fleet {
        let object =
            json!({"metadata": {"namespace": "n", "name": name}, "spec": {"model": {"name": model}}});
        Fleet::read(&object.to_string()).unwrap().unwrap()
    }

    fn slice(name: &str, fleet: &str, endpoints: &Value) -> Slice {
        Slice::read(&slice_object(name, fleet, endpoints).to_string()).unwrap().unwrap()
    }

    fn slice_object(name: &str, fleet: &str, endpoints: &Value) -> Value {
        let labels = json!({"kubernetes.io/service-name": fleet, "rayfleet.io/service": fleet,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
        let metadata = json!({"namespace": "n", "name": name, "labels": labels});
        json!({"metadata": metadata, "endpoints": endpoints, "ports": [{"name": "http", "port": 8000}]})
    }

    fn endpoint(uid: &str, address: &str, ready: Option<bool>) -> Value {
        json!({"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "uid": uid}})
    }

    fn put<T: Watched>(table: &mut Table, object: T) {
        let key = object.key().clone();
        T::known(table).objects.insert(key, object);
    }

    fn addresses(table: &Table, model: &str) -> Vec<String> {
        table.models().get(model).unwrap().values().map(ToString::to_string).collect()
    }

    #[test]
    fn a_model_is_answered_by_the_ready_heads_of_all_fleets_that_name_it() {
        let mut table = Table::default();
        for (name, model) in [("a", "llama"), ("b", "llama"), ("c", "other"), ("d", "none")] {
            put(&mut table, fleet(name, model));
        }
        put(
            &mut table,
            slice(
                "a-1",
                "a",
                &json!([
                    endpoint("1", "10.0.0.1", Some(true)),
                    endpoint("2", "10.0.0.2", Some(false)),
                    endpoint("3", "fd00::3", None)
                ]),
            ),
        );
        put(&mut table, slice("b-1", "b", &json!([endpoint("4", "10.0.0.4", Some(true))])));
        put(&mut table, slice("c-1", "c", &json!([endpoint("5", "10.0.0.5", Some(true))])));
        assert_eq!(addresses(&table, "llama"), ["10.0.0.1:8000", "[fd00::3]:8000", "10.0.0.4:8000"]);
        assert_eq!(addresses(&table, "other"), ["10.0.0.5:8000"]);
        assert_eq!(addresses(&table, "none"), [""; 0]);
        table.slices.objects.remove(&Key::new("n", "a-1"));
        table.fleets.objects.remove(&Key::new("n", "c"));
        assert_eq!(addresses(&table, "llama"), ["10.0.0.4:8000"]);
        assert!(!table.models().contains_key("other"));
    }

    #[test]
    fn what_is_no_pod_or_no_address_takes_no_request() {
        let mut table = Table::default();
        put(&mut table, fleet("a", "llama"));
        let odd = json!([
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Node", "uid": "n"}},
            {"addresses": [], "targetRef": {"kind": "Pod", "uid": "p"}},
            endpoint("h", "kubernetes.default.svc", Some(true)),
        ]);
        put(&mut table, slice("a-1", "a", &odd));
        assert_eq!(addresses(&table, "llama"), [""; 0]);
        let mut without_port = slice_object("s", "a", &json!([endpoint("1", "10.0.0.1", Some(true))]));
        without_port["ports"] = Value::Null;
        assert_eq!(Slice::read(&without_port.to_string()).unwrap().unwrap().heads, []);
    }

    #[test]
    fn a_service_with_the_label_of_a_fleet_and_another_name_leads_nowhere() {
        let endpoints = json!([endpoint("1", "169.254.169.254", Some(true))]);
        for (label, value) in [
            ("kubernetes.io/service-name", "evil"),
            // By hand, or of a Service without a selector.
            ("endpointslice.kubernetes.io/managed-by", "me"),
            ("endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io"),
        ] {
            let mut forged = slice_object("s", "a", &endpoints);
            forged["metadata"]["labels"][label] = json!(value);
            assert_eq!(Slice::read(&forged.to_string()).unwrap(), None, "{label}={value}");
        }
    }

    #[test]
    fn a_head_of_two_families_is_one_endpoint_whatever_its_slices_are_called() {
        let mut table = Table::default();
        put(&mut table, fleet("a", "llama"));
        for (name, address) in [("a-1", "fd00::1"), ("a-2", "10.0.0.1"), ("a-3", "fd00::1")] {
            put(&mut table, slice(name, "a", &json!([endpoint("1", address, Some(true))])));
        }
        assert_eq!(addresses(&table, "llama"), ["10.0.0.1:8000"]);
    }

    #[test]
    fn other_slices_and_fleets_without_a_model_are_left_out() {
        let other = json!({"metadata": {"name": "s"}, "endpoints": []});
        assert_eq!(Slice::read(&other.to_string()).unwrap(), None);
        let compatible = json!({"metadata": {"name": "f"}, "spec": {"template": {}}});
        assert_eq!(Fleet::read(&compatible.to_string()).unwrap(), None);
        let long = json!({"metadata": {"name": "f"}, "spec": {"model": {"name": "字".repeat(253)}}});
        assert!(Fleet::read(&long.to_string()).unwrap().is_some());
        let long = json!({"metadata": {"name": "f"}, "spec": {"model": {"name": "字".repeat(254)}}});
        assert_eq!(Fleet::read(&long.to_string()).unwrap(), None);
    }
}
