//! Which objects a bundle has: those of the fleets, those of the orchestrator and of KubeRay, and of the rest of the cluster what takes
//! room on nodes.

use std::collections::BTreeSet;

use rayfleet_api::names::{GROUP, LABEL_FLEET, RAY_LABEL_CLUSTER, VERSION};
use serde_json::Value;

use super::calls::{Calls, Listed};
use super::reduce;
use crate::bundle::manifest::{Entry, Fault, Scope, What};
use crate::bundle::select::{Query, SELECTORS};
use crate::fleets::KUBERAY_OPERATOR;
use crate::object_names::is_name;

/// Where the orchestrator runs, and what its pods are found by.
const SYSTEM: &str = "rayfleet-system";
const ORCHESTRATOR: &str = "app.kubernetes.io/name=rayfleet,app.kubernetes.io/component=orchestrator";
/// Its lease.
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/rayfleet-system/leases/rayfleet-orchestrator";
/// CRDs whose versions matter.
const CRDS: [&str; 3] =
    ["rayclusterfleets.orchestration.aibrix.ai", "rayclusters.ray.io", "rayservices.ray.io"];
/// Where KubeRay's operator is looked for by those who may not look everywhere.
const USUAL: [&str; 4] = ["ray-system", "kuberay-operator", "kuberay-system", "default"];
/// Nodes that are read one by one, where they may not be listed.
const NODES: usize = 256;

/// A call, and the objects that it answered with.
pub(in crate::bundle) struct Read {
    pub(in crate::bundle) entry: Entry,
    pub(in crate::bundle) objects: Vec<Value>,
}

/// All objects.
pub(in crate::bundle) struct Objects<'a> {
    calls: Calls<'a>,
    scope: &'a Scope,
    pub(in crate::bundle) all: Vec<Read>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(calls: Calls<'a>, scope: &'a Scope) -> Self {
        Self { calls, scope, all: Vec::new() }
    }

    /// The objects of a plural.
    pub(in crate::bundle) fn of(&self, plural: &str) -> impl Iterator<Item = &Value> {
        let end = format!("/{plural}");
        let lists = self
            .all
            .iter()
            .filter(move |read| read.entry.what == What::List && read.entry.path.ends_with(&end));
        lists.flat_map(|read| &read.objects)
    }

    /// Reads everything.
    pub(super) async fn read(&mut self) {
        self.lease().await;
        self.of_fleets().await;
        self.of_nodes().await;
        self.of_operators().await;
        for crd in CRDS {
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}");
            self.object(&path, reduce::crd).await;
        }
    }

    /// The lease, once more: whoever renews it leads, whatever its clock says.
    pub(super) async fn lease(&mut self) {
        self.object(LEASE, reduce::any).await;
    }

    async fn of_fleets(&mut self) {
        let fields =
            self.scope.fleet.as_ref().map(|fleet| format!("metadata.name={fleet}")).unwrap_or_default();
        let ours = match &self.scope.fleet {
            Some(fleet) => format!("{LABEL_FLEET}={fleet}"),
            None => LABEL_FLEET.to_owned(),
        };
        let fleets = format!("/apis/{GROUP}/{VERSION}");
        self.list(&self.path(&fleets, "rayclusterfleets"), "", &fields, |_| true).await;
        let known = Known::of(self);
        let owned = |object: &Value| known.owns(object);
        self.list(&self.path(&fleets, "rayclusterreplicasets"), "", "", owned).await;
        self.list(&self.path("/apis/ray.io/v1", "rayclusters"), &ours, "", |_| true).await;
        self.list(&self.path("/api/v1", "pods"), &ours, "", |_| true).await;
        self.list(&self.path("/apis/apps/v1", "controllerrevisions"), &ours, "", |_| true).await;
        self.list(&self.path("/apis/policy/v1", "poddisruptionbudgets"), &ours, "", |_| true).await;
        let known = Known::of(self);
        self.list(&self.path("/api/v1", "services"), "", "", |it| known.has_service(it)).await;
        let services: BTreeSet<(String, String)> = self.of("services").map(key).collect();
        let of_ours = |slice: &Value| {
            let service =
                slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
            services.contains(&(key(slice).0, service.to_owned()))
        };
        self.list(&self.path("/apis/discovery.k8s.io/v1", "endpointslices"), "", "", of_ours).await;
        let routes = |route: &Value| known.is_routed(route, &services);
        self.list(&self.path("/apis/gateway.networking.k8s.io/v1", "httproutes"), "", "", routes).await;
        self.list(&self.path("/api/v1", "resourcequotas"), "", "", |it| {
            known.namespaces.contains(&key(it).0)
        })
        .await;
        self.list(&self.path("/api/v1", "events"), "", "", |event| known.concerns(event)).await;
        // Events of nodes are in the namespace `default`.
        if self.scope.namespace.as_deref().is_some_and(|namespace| namespace != "default") {
            let fields = "involvedObject.kind=Node";
            self.list("/api/v1/namespaces/default/events", "", fields, |event| known.concerns(event)).await;
        }
    }

    /// Nodes, and what takes room on them.
    async fn of_nodes(&mut self) {
        let known = Known::of(self);
        let path = "/api/v1/nodes".to_owned();
        let entry = Entry { path: path.clone(), what: What::List, ..Entry::default() };
        match self.calls.list(&path, "", "").await {
            Ok(mut listed) => {
                for node in &mut listed.objects {
                    if node["metadata"]["name"].as_str().is_some_and(|name| known.nodes.contains(name)) {
                        reduce::node(node);
                    } else {
                        *node = reduce::other_node(node);
                    }
                }
                self.put(entry, Ok(listed));
            }
            Err(fault) => {
                self.put(entry, Err(fault));
                for node in known.nodes.iter().take(NODES) {
                    self.object(&format!("{path}/{node}"), reduce::node).await;
                }
            }
        }
        let path = "/api/v1/pods".to_owned();
        let mut listed = self.calls.list(&path, "", "").await;
        if let Ok(listed) = &mut listed {
            for (number, pod) in listed.objects.iter_mut().enumerate() {
                let own = known.pods.contains(&key(pod));
                let name = if own { key(pod).1 } else { format!("pod-{number}") };
                *pod = reduce::room_of_pod(pod, &name);
            }
        }
        self.put(Entry { path, what: What::Room, ..Entry::default() }, listed);
    }

    /// The orchestrator's and KubeRay's deployments and pods.
    async fn of_operators(&mut self) {
        let system = |group: &str, plural: &str| format!("{group}/namespaces/{SYSTEM}/{plural}");
        self.list(&system("/apis/apps/v1", "deployments"), "", "", |_| true).await;
        self.list(&system("/api/v1", "pods"), ORCHESTRATOR, "", |_| true).await;
        self.list(&system("/api/v1", "events"), "", "", |_| true).await;
        self.list("/apis/apps/v1/deployments", KUBERAY_OPERATOR, "", |_| true).await;
        let before = self.all.len();
        self.list("/api/v1/pods", KUBERAY_OPERATOR, "", |_| true).await;
        let refused = self.all.get(before).is_some_and(|read| read.entry.fault.is_some());
        let own = self.scope.namespace.iter().map(String::as_str).filter(|own| !USUAL.contains(own));
        for namespace in USUAL.into_iter().chain(own).filter(|_| refused) {
            self.list(&format!("/api/v1/namespaces/{namespace}/pods"), KUBERAY_OPERATOR, "", |_| true).await;
        }
    }

    /// A kind in the namespace that was asked for, or in all.
    fn path(&self, group: &str, plural: &str) -> String {
        match &self.scope.namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        }
    }

    async fn list(&mut self, path: &str, labels: &str, fields: &str, keep: impl Fn(&Value) -> bool) {
        let mut listed = self.calls.list(path, labels, fields).await;
        if let Ok(listed) = &mut listed {
            listed.objects.retain(keep);
            listed.objects.iter_mut().for_each(reduce::any);
        }
        let selectors = format!("labelSelector={}&fieldSelector={}", escaped(labels), escaped(fields));
        let query = Query::parse(&selectors).only(&SELECTORS);
        self.put(Entry { path: path.to_owned(), query, what: What::List, ..Entry::default() }, listed);
    }

    async fn object(&mut self, path: &str, reduce: impl Fn(&mut Value)) {
        let got = self.calls.get(path).await.map(|mut object| {
            reduce(&mut object);
            Listed { objects: vec![object], cut: None }
        });
        self.put(Entry { path: path.to_owned(), what: What::Object, ..Entry::default() }, got);
    }

    fn put(&mut self, entry: Entry, listed: Result<Listed, Fault>) {
        self.all.push(match listed {
            Ok(Listed { objects, cut }) => {
                let size = u64::try_from(objects.len()).unwrap_or(u64::MAX);
                Read { entry: Entry { size, cut, ..entry }, objects }
            }
            Err(fault) => Read { entry: Entry { fault: Some(fault), ..entry }, objects: Vec::new() },
        });
    }
}

/// What belongs to the fleets, as far as it has been read.
#[derive(Debug, Default)]
struct Known {
    namespaces: BTreeSet<String>,
    fleets: BTreeSet<(String, String)>,
    uids: BTreeSet<String>,
    pods: BTreeSet<(String, String)>,
    groups: BTreeSet<(String, String)>,
    nodes: BTreeSet<String>,
}

impl Known {
    fn of(objects: &Objects<'_>) -> Self {
        let mut known = Self::default();
        known.namespaces.extend(objects.scope.namespace.clone());
        for fleet in objects.of("rayclusterfleets") {
            let key = key(fleet);
            known.namespaces.insert(key.0.clone());
            known.uids.extend(fleet["metadata"]["uid"].as_str().map(str::to_owned));
            for group in fleet["status"]["groups"].as_array().into_iter().flatten() {
                known.groups.extend(group["name"].as_str().map(|name| (key.0.clone(), name.to_owned())));
                let nodes = group["nodes"].as_array().into_iter().flatten();
                let ranks = group["placement"].as_array().into_iter().flatten().map(|rank| &rank["node"]);
                known.nodes.extend(
                    nodes.chain(ranks).filter_map(Value::as_str).filter(|it| is_name(it)).map(str::to_owned),
                );
            }
            known.fleets.insert(key);
        }
        known.groups.extend(objects.of("rayclusters").map(self::key));
        let ours = |pod: &&Value| !pod["metadata"]["labels"][LABEL_FLEET].is_null();
        for pod in objects.of("pods").filter(ours) {
            known.pods.insert(self::key(pod));
            known.nodes.extend(pod["spec"]["nodeName"].as_str().filter(|it| is_name(it)).map(str::to_owned));
        }
        known
    }

    fn owns(&self, object: &Value) -> bool {
        let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.filter_map(|owner| owner["uid"].as_str()).any(|uid| self.uids.contains(uid))
    }

    /// A Service of a fleet or of a group.
    fn has_service(&self, service: &Value) -> bool {
        let key = key(service);
        let group = service["metadata"]["labels"][RAY_LABEL_CLUSTER].as_str().unwrap_or_default();
        self.groups.contains(&(key.0.clone(), group.to_owned()))
            || self.fleets.contains(&key)
            || self.owns(service)
    }

    /// A route to one of these Services.
    fn is_routed(&self, route: &Value, services: &BTreeSet<(String, String)>) -> bool {
        let rules = route["spec"]["rules"].as_array().into_iter().flatten();
        let mut to = rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
        to.any(|to| {
            let namespace = to["namespace"].as_str().map_or_else(|| key(route).0, str::to_owned);
            let name = to["name"].as_str().unwrap_or_default().to_owned();
            services.contains(&(namespace.clone(), name.clone())) || self.fleets.contains(&(namespace, name))
        })
    }

    /// An event about a fleet, or what has its name in front, or one of its nodes.
    fn concerns(&self, event: &Value) -> bool {
        let about = &event["involvedObject"];
        let (kind, name) = (about["kind"].as_str(), about["name"].as_str().unwrap_or_default());
        if kind == Some("Node") {
            return self.nodes.contains(name);
        }
        let namespace = key(event).0;
        let of = |fleet: &str| {
            name.strip_prefix(fleet).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.groups.iter().chain(&self.fleets).any(|(there, fleet)| *there == namespace && of(fleet))
    }
}

/// Namespace and name.
fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
