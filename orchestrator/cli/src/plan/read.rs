//! Reads the inputs of a plan: the fleet with its new spec, and the present state of the cluster.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::{DynamicObject, Request};
use kube::{Resource, ResourceExt};
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet, names};
use rayfleet_cli_kit::{CliError, input};
use rayfleet_core::capacity::{
    About, Capacity, Claim, NodeRoom, NodeSpec, NodeStatus, PodSpec, Tally, Viewer,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::args::PlanArgs;
use crate::fleets::Fleets;
use crate::plan::apply;
use crate::revisions;

/// Largest manifest that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// The inputs of a plan.
pub(super) struct Inputs {
    pub(super) fleet: ValidFleet,
    /// The fleet at its last complete revision.
    pub(super) stable: Option<ValidFleet>,
    pub(super) status: RayClusterFleetStatus,
    pub(super) capacity: Capacity,
    pub(super) now: Timestamp,
}

pub(super) async fn inputs(args: &PlanArgs, fleets: &Fleets) -> Result<Inputs, CliError> {
    let (fleets, object) = match (&args.fleet, &args.file) {
        (Some(name), _) => (fleets.clone(), fleets.get(name).await?),
        (None, Some(file)) => applied(&manifest(file)?, fleets).await?,
        (None, None) => return Err(CliError::plain("which fleet? Give its name, or a manifest with -f")),
    };
    of(&object, args, &fleets).await
}

/// The inputs of the plan of a fleet as it would be.
pub(super) async fn of(object: &DynamicObject, args: &PlanArgs, fleets: &Fleets) -> Result<Inputs, CliError> {
    let raw = fleet_of(object, args)?;
    let mut fleet = valid(&raw, args)?;
    if let Some(recorded) = revisions::recorded(object) {
        fleet.revision = recorded;
    }
    let status = raw.status.clone().unwrap_or_default();
    let stable = stable(&raw, &status, object, fleets).await?;
    let cluster = |kind: &str| Request::new(format!("/api/v1/{kind}"));
    let nodes = fleets.all(&cluster("nodes"), ListParams::default(), "nodes", node).await?;
    let pods = fleets.all(&cluster("pods"), ListParams::default(), "pods", pod).await?;
    let quotas = Request::new(ResourceQuota::url_path(&(), Some(&fleets.namespace)));
    let quotas = fleets.all(&quotas, ListParams::default(), "ResourceQuotas", quota).await?;
    let capacity = capacity(&Viewer::of(&fleet), nodes, &pods, &quotas);
    Ok(Inputs { fleet, stable, status, capacity, now: fleets.now() })
}

/// The capacity of the nodes. Pods by their names.
pub(super) fn capacity(
    viewer: &Viewer,
    nodes: Vec<NodeRoom>,
    pods: &[(String, Claim)],
    quotas: &[ResourceQuota],
) -> Capacity {
    let mut tally = Tally::default();
    for node in nodes {
        tally.set_node(node.into());
    }
    for (name, claim) in pods {
        tally.add(name, claim);
    }
    tally.capacity(viewer, quotas)
}

/// An object of which only the fields that a plan needs are parsed, whatever else it contains.
#[derive(Deserialize)]
struct Lean<S, T = IgnoredAny> {
    #[serde(default)]
    metadata: Meta,
    spec: Option<S>,
    status: Option<T>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    namespace: String,
    name: String,
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "deletionTimestamp")]
    deleted: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Phase {
    phase: Option<String>,
}

/// The room of a node.
pub(crate) fn node(text: &str) -> Option<NodeRoom> {
    let node: Lean<NodeSpec, NodeStatus> = serde_json::from_str(text).ok()?;
    let labels = node.metadata.labels.unwrap_or_default();
    let (spec, status) = (node.spec.unwrap_or_default(), node.status.unwrap_or_default());
    Some(NodeRoom::of(node.metadata.name.into(), labels, spec, &status))
}

/// A pod's name and its claim.
fn pod(text: &str) -> Option<(String, Claim)> {
    let pod: Lean<PodSpec, Phase> = serde_json::from_str(text).ok()?;
    let Meta { namespace, name, labels, deleted } = pod.metadata;
    let phase = pod.status.unwrap_or_default().phase;
    let about = About {
        namespace: &namespace,
        labels: labels.as_ref(),
        phase: phase.as_deref(),
        deleting: deleted.is_some(),
    };
    Some((format!("{namespace}/{name}"), pod.spec.unwrap_or_default().claim(&about)))
}

fn quota(text: &str) -> Option<ResourceQuota> {
    let quota: Lean<ResourceQuotaSpec, ResourceQuotaStatus> = serde_json::from_str(text).ok()?;
    let metadata = ObjectMeta { name: Some(quota.metadata.name), ..ObjectMeta::default() };
    Some(ResourceQuota { metadata, spec: quota.spec, status: quota.status })
}

fn fleet_of(object: &DynamicObject, args: &PlanArgs) -> Result<RayClusterFleet, CliError> {
    let name = object.name_any();
    let read = serde_json::to_value(object).and_then(serde_json::from_value);
    read.map_err(|error| unusable(args, format!("fleet \"{name}\": {error}")))
}

fn valid(raw: &RayClusterFleet, args: &PlanArgs) -> Result<ValidFleet, CliError> {
    ValidFleet::new(raw).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        unusable(args, format!("fleet \"{}\" would be refused: {}", raw.name_any(), problems.join("; ")))
    })
}

/// A fleet that cannot be planned: one of a manifest is input that cannot be used, a live one is a failure.
fn unusable(args: &PlanArgs, message: String) -> CliError {
    if args.file.is_some() { CliError::usage(message, FIELD) } else { CliError::plain(message) }
}

/// The fleet at its last complete revision, if its history has it.
async fn stable(
    raw: &RayClusterFleet,
    status: &RayClusterFleetStatus,
    object: &DynamicObject,
    fleets: &Fleets,
) -> Result<Option<ValidFleet>, CliError> {
    let Some(wanted) = status.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref()) else {
        return Ok(None);
    };
    let stored = fleets.revisions(&raw.name_any()).await?;
    let owned = revisions::owned(&stored, object);
    let record = owned.iter().find(|record| record.hash().is_ok_and(|hash| hash == *wanted));
    Ok(record.and_then(|record| {
        let mut then = raw.clone();
        then.spec.template = serde_json::from_value(record.template.clone()).ok()?;
        then.spec.model = serde_json::from_value(record.model.clone()).ok()?;
        let mut then = ValidFleet::recorded(&then).ok()?;
        then.revision.clone_from(wanted);
        Some(then)
    }))
}

/// What helps where a field of a manifest cannot be used.
const FIELD: &str = "correct the field in the manifest";
/// What helps where a manifest cannot be used.
const FILE: &str = "give a manifest with one RayClusterFleet with -f, or - for input";

/// The one fleet in a manifest.
fn manifest(file: &Path) -> Result<Value, CliError> {
    let shown = file.display();
    let text = input::read(file, LARGEST)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}"), FILE))?;
    fleet_in(&text).map_err(|problem| CliError::usage(format!("{shown}: {problem}"), FILE))
}

fn fleet_in(text: &str) -> Result<Value, String> {
    let objects = rayfleet_lint::read::objects(text.as_bytes()).map_err(|error| error.to_string())?;
    let mut fleets = objects.into_iter().filter(|object| object["kind"] == names::KIND);
    match (fleets.next(), fleets.next()) {
        (Some(fleet), None) => Ok(fleet),
        (None, _) => Err(format!("has no {}", names::KIND)),
        (Some(_), Some(_)) => Err(format!("has more than one {}: plan them one by one", names::KIND)),
    }
}

/// The fleet after an apply, and its namespace.
async fn applied(manifest: &Value, fleets: &Fleets) -> Result<(Fleets, DynamicObject), CliError> {
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or(&fleets.namespace).to_owned();
    let fleets = Fleets { namespace, ..fleets.clone() };
    let Some(name) = manifest["metadata"]["name"].as_str() else {
        return Err(CliError::usage("the manifest has no metadata.name", FILE));
    };
    let live = serde_json::to_value(fleets.find(name).await?);
    let object =
        live.and_then(|live| serde_json::from_value(apply::merged(manifest, &live, &fleets.namespace)));
    let object = object.map_err(|error| CliError::usage(format!("fleet \"{name}\": {error}"), FIELD))?;
    Ok((fleets, object))
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::sample;
    use crate::simulated::fleets;

    /// A server that answers by what a path ends with: an object, or the items of a list.
    fn answering(answers: Vec<(&'static str, Value)>) -> Client {
        let answer = move |request: Request<Body>| {
            let found = answers.iter().find(|(path, _)| request.uri().path().ends_with(path));
            let (code, body) = match found {
                Some((_, items @ Value::Array(_))) => {
                    (200, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
                }
                Some((_, object)) => (200, object.clone()),
                None => {
                    let status =
                        json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
                    (404, status)
                }
            };
            let body = Body::from(body.to_string().into_bytes());
            std::future::ready(Response::builder().status(code).body(body))
        };
        Client::new(tower::service_fn(answer), "serving")
    }

    #[test]
    fn the_fleet_is_found_among_other_objects() {
        let text = "kind: Service\n---\nkind: RayClusterFleet\nmetadata: {name: llama}\n";
        assert_eq!(fleet_in(text).unwrap()["metadata"]["name"], "llama");
        let modes = "kind: RayClusterFleet\nmodes: [0400, 08]\nsha: 12e4567\n";
        let read = json!({"kind": "RayClusterFleet", "modes": [256, 8], "sha": "12e4567"});
        assert_eq!(fleet_in(modes).unwrap(), read, "as kubectl reads them");
        for (text, problem) in [
            ("kind: Service\n", "has no RayClusterFleet"),
            ("kind: RayClusterFleet\n---\nkind: RayClusterFleet\n", "more than one"),
            ("a: [", "is no YAML"),
        ] {
            assert!(fleet_in(text).unwrap_err().contains(problem), "{text}");
        }
    }

    #[test]
    fn only_a_manifest_is_input_that_cannot_be_used() {
        let named = PlanArgs { fleet: Some("llama".to_owned()), ..PlanArgs::default() };
        let given = PlanArgs { file: Some("llama.yaml".into()), ..PlanArgs::default() };
        let (mut unreadable, mut refused) = (sample::upgrading(), sample::upgrading());
        unreadable.data["spec"]["replicas"] = json!("two");
        refused.data["spec"]["replicas"] = json!(-1);
        let fault = |fleet: &DynamicObject, args: &PlanArgs| {
            let fault = fleet_of(fleet, args).and_then(|raw| valid(&raw, args)).unwrap_err();
            (fault.code(), fault.cure)
        };
        for fleet in [unreadable, refused] {
            assert_eq!(fault(&fleet, &given), (2, Some(FIELD.to_owned())), "{:?}", fleet.data);
            assert_eq!(fault(&fleet, &named), (1, None), "{:?}", fleet.data);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_object_does_not_prevent_a_plan() {
        let never = json!([{"manager": "other", "time": "9999-12-31T23:59:59Z"}]);
        let poisoned = |mut object: Value| {
            object["metadata"]["managedFields"] = never.clone();
            object
        };
        let pod = |name: &str, node: &str| {
            let asked = json!({"requests": {"nvidia.com/gpu": "1"}});
            let spec = json!({"nodeName": node, "containers": [{"name": "c", "resources": asked}]});
            poisoned(json!({
                "metadata": {"name": name, "namespace": "other"}, "spec": spec,
                "status": {"phase": "Running", "startTime": "9999-12-31T23:59:59Z"}
            }))
        };
        let node = |name: &str| {
            poisoned(json!({
                "metadata": {"name": name}, "spec": {},
                "status": {"allocatable": {"nvidia.com/gpu": "8"}, "conditions": [{"type": "Ready", "status": "True"}]}
            }))
        };
        let mut fleet = json!(sample::upgrading());
        fleet["metadata"]["managedFields"] = never.clone();
        let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.nvidia.com/gpu": "4"}}});
        let fleets = fleets(answering(vec![
            ("/rayclusterfleets/llama", fleet.clone()),
            ("/rayclusterfleets", json!([fleet])),
            ("/nodes", json!([node("a"), {"metadata": {"name": "odd", "labels": 1}}, node("b")])),
            ("/pods", json!([pod("p", "a"), {"metadata": {"name": "odd"}, "spec": 1}, pod("q", "a")])),
            ("/resourcequotas", json!([poisoned(quota)])),
        ]));
        let args = PlanArgs { fleet: Some("llama".to_owned()), ..PlanArgs::default() };
        let inputs = inputs(&args, &fleets).await.unwrap();
        let free: Vec<i128> = inputs.capacity.nodes.iter().map(|node| node.free("nvidia.com/gpu")).collect();
        assert_eq!(free, [6_000, 8_000]);
        assert_eq!(inputs.capacity.quotas.len(), 1);
        let names: Vec<_> = fleets.list(true).await.unwrap().iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["llama"]);
        assert!(fleets.find("llama").await.unwrap().is_some());
        assert!(fleets.find("other").await.unwrap().is_none());
    }
}
