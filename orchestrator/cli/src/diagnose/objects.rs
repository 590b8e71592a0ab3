//! Objects of the API server, as plain data. Of each only the named fields are parsed, with times as texts: nothing
//! that somebody writes into an object keeps the others from being read. No calls and no conclusions here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::RayClusterFleet;
use rayfleet_api::valid::after;
use rayfleet_core::capacity::{NodeSpec, NodeStatus};
use rayfleet_text::pieces::without_managed_fields;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Name and namespace of the orchestrator's lease, as in manifests/orchestrator.
pub(super) const LEASE: &str = "rayfleet-orchestrator";
pub(super) const SYSTEM: &str = "rayfleet-system";
/// What a lease may differ from its duration: so may clocks.
const SLACK: Duration = Duration::from_secs(15);
/// Duration of a lease that does not say it, in seconds.
const LEASE_SECONDS: i64 = 15;

/// What is wanted of a CRD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Crd {
    /// Whether it serves and stores v1alpha1 with `spec.model` and `status.groups`.
    pub(super) keeps_fields: bool,
    pub(super) deleting: bool,
}

/// Metadata of any object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) owner_references: Option<Vec<Owner>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    pub(super) uid: String,
}

impl Meta {
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        time(self.creation_timestamp.as_deref())
    }

    pub(super) fn deleted(&self) -> Option<Timestamp> {
        time(self.deletion_timestamp.as_deref())
    }
}

/// A time as the API server writes it; `None` if no library could hold it.
pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// A RayCluster, of whatever version of KubeRay.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    pub(super) metadata: Meta,
    pub(super) spec: ClusterSpec,
    pub(super) status: Option<ClusterStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClusterSpec {
    pub(super) managed_by: Option<String>,
    head_group_spec: Option<IgnoredAny>,
    worker_group_specs: Option<Vec<WorkerGroup>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkerGroup {
    replicas: Option<u32>,
    num_of_hosts: Option<u32>,
    suspend: Option<bool>,
}

impl ClusterSpec {
    /// Pods that KubeRay is to make of it now, the head included; `None` if that cannot be read.
    pub(super) fn pods(&self) -> Option<u32> {
        self.head_group_spec?;
        let groups = self.worker_group_specs.iter().flatten().filter(|it| it.suspend != Some(true));
        let hosts = |it: &WorkerGroup| it.replicas.unwrap_or(0).checked_mul(it.num_of_hosts.unwrap_or(1));
        groups.map(hosts).try_fold(1_u32, |sum, pods| sum.checked_add(pods?))
    }
}

/// What KubeRay says of a RayCluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClusterStatus {
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) head: Option<Head>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
}

/// A condition of any object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    pub(super) r#type: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_transition_time: Option<String>,
}

/// The condition of a type.
pub(super) fn condition<'c>(conditions: Option<&'c Vec<Condition>>, kind: &str) -> Option<&'c Condition> {
    conditions?.iter().find(|condition| condition.r#type == kind)
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) readiness_gates: Option<Vec<Gate>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Gate {
    pub(super) condition_type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) init_container_statuses: Option<Vec<Container>>,
    pub(super) container_statuses: Option<Vec<Container>>,
}

/// How a container is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) restart_count: i64,
    pub(super) state: Option<ContainerState>,
    pub(super) last_state: Option<ContainerState>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub(super) waiting: Option<Waiting>,
    pub(super) running: Option<IgnoredAny>,
    pub(super) terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waiting {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Terminated {
    pub(super) exit_code: i64,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) finished_at: Option<String>,
}

/// A warning.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event {
    pub(super) metadata: Meta,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) involved_object: About,
    pub(super) last_timestamp: Option<String>,
    #[serde(rename = "eventTime")]
    pub(super) first: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct About {
    pub(super) kind: String,
    pub(super) name: String,
}

impl Event {
    /// When it was last seen.
    pub(super) fn at(&self) -> Option<Timestamp> {
        let times = [self.last_timestamp.as_deref(), self.first.as_deref()];
        times.into_iter().find_map(time).or_else(|| self.metadata.created())
    }
}

/// An object of which only the metadata matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) metadata: Meta,
}

/// An address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) ready: bool,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) metadata: Meta,
    pub(super) spec: NodeSpec,
    pub(super) status: NodeStatus,
    /// Its condition Ready, which `status` holds as well.
    #[serde(skip)]
    pub(super) ready: Option<Condition>,
}

/// The lease of the orchestrator.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lease {
    pub(super) spec: LeaseSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LeaseSpec {
    pub(super) holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    renew_time: Option<String>,
}

impl LeaseSpec {
    /// When it was last renewed, by the clock of who holds it.
    pub(super) fn renewed(&self) -> Option<Timestamp> {
        time(self.renew_time.as_deref())
    }

    /// Whether its own times say that it is held at `now`.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let seconds = self.lease_duration_seconds.unwrap_or(LEASE_SECONDS).clamp(1, 3600);
        let lasts = Duration::from_secs(seconds.unsigned_abs()).saturating_add(SLACK);
        self.renewed().is_some_and(|at| after(at, lasts) >= now && at <= after(now, SLACK))
    }
}

/// A node from its text.
pub(super) fn node(text: &str) -> Option<Node> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Conditions {
        conditions: Option<Vec<Condition>>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        status: Conditions,
    }
    let (node, said): (Node, Said) = (serde_json::from_str(text).ok()?, serde_json::from_str(text).ok()?);
    let ready = condition(said.status.conditions.as_ref(), "Ready").cloned();
    Some(Node { ready, ..node })
}

/// What a CRD of fleets keeps, from its text.
pub(super) fn crd(text: &str) -> Option<Crd> {
    let crd: Value = serde_json::from_str(text).ok()?;
    let versions = crd["spec"]["versions"].as_array()?;
    let keeps = |version: &Value| {
        let properties = &version["schema"]["openAPIV3Schema"]["properties"];
        version["name"] == rayfleet_api::names::VERSION
            && version["served"] == true
            && properties["spec"]["properties"]["model"].is_object()
            && properties["status"]["properties"]["groups"].is_object()
    };
    Some(Crd {
        keeps_fields: versions.iter().any(keeps),
        deleting: !crd["metadata"]["deletionTimestamp"].is_null(),
    })
}

/// A fleet, and when its spec was last written, from its text.
pub(super) fn fleet(text: &str) -> Option<(RayClusterFleet, Option<Timestamp>)> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Entry {
        subresource: Option<String>,
        time: Option<String>,
        fields_v1: Option<Owned>,
    }
    #[derive(Deserialize)]
    struct Owned {
        #[serde(rename = "f:spec")]
        spec: Option<IgnoredAny>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Managed {
        managed_fields: Option<Vec<Entry>>,
        creation_timestamp: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Written {
        metadata: Managed,
    }
    let fleet = serde_json::from_str(&without_managed_fields(text)?).ok()?;
    let Written { metadata } = serde_json::from_str(text).unwrap_or_default();
    let entries = metadata.managed_fields.iter().flatten();
    let spec = entries.filter(|entry| entry.subresource.as_deref().is_none_or(str::is_empty));
    // Who annotates it alone has not written the spec.
    let spec = spec.filter(|entry| entry.fields_v1.as_ref().is_none_or(|fields| fields.spec.is_some()));
    let times = spec.filter_map(|entry| time(entry.time.as_deref()));
    Some((fleet, times.max().or_else(|| time(metadata.creation_timestamp.as_deref()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crd_without_our_fields_is_not_ours() {
        let ours = serde_json::to_value(rayfleet_api::crd()).unwrap();
        assert_eq!(crd(&ours.to_string()), Some(Crd { keeps_fields: true, deleting: false }));
        let mut theirs = ours.clone();
        let properties = &mut theirs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        properties["status"]["properties"].as_object_mut().unwrap().remove("groups");
        theirs["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
        assert_eq!(crd(&theirs.to_string()), Some(Crd { keeps_fields: false, deleting: true }));
        assert_eq!(crd("{}"), None);
    }

    #[test]
    fn a_write_of_the_status_is_none_of_the_spec() {
        let mut object = json!(crate::sample::upgrading());
        let written = |object: &Value| super::fleet(&object.to_string()).unwrap().1.unwrap().to_string();
        assert_eq!(written(&object), "2026-03-01T10:00:00Z", "its creation");
        object["metadata"]["managedFields"] = json!([
            {"manager": "kubectl", "time": "2026-03-01T11:00:00Z"},
            {"manager": "odd", "time": "9999-99-99"},
            {"manager": "rayfleet", "subresource": "status", "time": "2026-03-01T12:00:00Z"},
            {"manager": "kubectl-annotate", "time": "2026-03-01T12:30:00Z", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
        ]);
        assert_eq!(written(&object), "2026-03-01T11:00:00Z");
        object["metadata"]["managedFields"][0]["fieldsV1"] =
            json!({"f:metadata": {}, "f:spec": {"f:replicas": {}}});
        assert_eq!(written(&object), "2026-03-01T11:00:00Z");
    }

    #[test]
    fn pods_of_a_raycluster_are_counted_without_overflow() {
        let pods = |spec: Value| serde_json::from_value::<ClusterSpec>(spec).unwrap().pods();
        let of = |workers: Value| pods(json!({"headGroupSpec": {}, "workerGroupSpecs": workers}));
        assert_eq!(
            of(json!([{"replicas": 2, "numOfHosts": 4}, {"replicas": 1}, {"replicas": 9, "suspend": true}])),
            Some(10)
        );
        assert_eq!(of(Value::Null), Some(1));
        assert_eq!(of(json!([{"replicas": u32::MAX, "numOfHosts": 2}])), None);
        assert_eq!(of(json!([{"replicas": u32::MAX}, {"replicas": 1}])), None);
        assert_eq!(pods(json!({})), None);
    }
}
