//! The objects that Rayfleet creates, from validated data. Pure.

mod gcs_storage;
mod head_service;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::core::{DynamicObject, TypeMeta};
use rayfleet_api::kuberay::WorkerSize;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{NodeName, RayClusterFleet, ValidFleet, names};
use serde_json::{Map, Value, json};

use super::route;
use super::size::Size;

/// First Ray version with token authentication.
const TOKEN_AUTH_SINCE: (u64, u64) = (2, 52);

/// What makes Kubernetes delete an object together with its fleet.
fn owner(name: String, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", names::GROUP, names::VERSION),
        kind: names::KIND.to_owned(),
        name,
        uid,
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The same of a fleet that may break rules.
pub(crate) fn owner_of(fleet: &RayClusterFleet) -> OwnerReference {
    owner(fleet.name_any(), fleet.uid().unwrap_or_default())
}

/// Metadata of an object of the fleet.
pub(crate) fn metadata(fleet: &ValidFleet, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let common = [(names::LABEL_FLEET, fleet.name.as_str()), (names::LABEL_MANAGED_BY, names::MANAGED_BY)];
    let labels = common.iter().chain(labels).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(fleet.namespace.clone()),
        labels: Some(labels.collect()),
        owner_references: Some(vec![owner(fleet.name.clone(), fleet.uid.clone())]),
        ..ObjectMeta::default()
    }
}

/// The RayCluster of a group. The engine's port is called `port_name`, if that is given, to be found beside those of other groups.
pub(crate) fn ray_cluster(fleet: &ValidFleet, group: &GroupStatus, port_name: Option<&str>) -> DynamicObject {
    let slot = group.slot.to_string();
    let own = [
        (names::LABEL_FLEET, fleet.name.as_str()),
        (names::LABEL_GROUP, group.name.as_str()),
        (names::LABEL_SLOT, slot.as_str()),
        (names::LABEL_POD_REVISION, group.revision.as_str()),
    ];
    let template = fleet.template.metadata.clone().unwrap_or_default();
    let mut meta = metadata(fleet, &group.name, &own);
    let mut labels = template.labels;
    labels.extend(meta.labels.take().unwrap_or_default());
    meta.labels = Some(labels);
    let mut spec = Value::clone(&fleet.template.spec);
    open_by_gate(&mut spec["headGroupSpec"]);
    route::spread_heads(&mut spec["headGroupSpec"], &fleet.name);
    let port = fleet.model.as_ref().map(|model| model.port);
    if let Some(port) = port.or(fleet.own_engine_port.filter(|_| port_name.is_some())) {
        route::name_port(&mut spec["headGroupSpec"], port, port_name);
    }
    head_service::publish_unready(&mut spec["headGroupSpec"]);
    label_pods(&mut spec["headGroupSpec"], &own);
    keep_off(&mut spec["headGroupSpec"], &group.avoid_nodes);
    let elastic = spec["enableInTreeAutoscaling"] == true;
    if let Some(workers) = spec.get_mut("workerGroupSpecs").and_then(Value::as_array_mut) {
        for workers in workers {
            label_pods(workers, &own);
            keep_off(workers, &group.avoid_nodes);
            if !elastic {
                fix_size(workers);
            }
        }
    }
    if fleet.model.is_some() {
        authenticate(&mut spec);
        without_service_links(&mut spec);
    }
    let mut annotations = template.annotations;
    // Every group would be replaced by one that is to be replaced.
    annotations.remove(names::ANNOTATION_REPLACE);
    gcs_storage::separate(&mut spec, &mut annotations, &group.name);
    annotations.insert(names::ANNOTATION_ATTEMPT.to_owned(), group.attempt.to_string());
    if let Ok(size) = serde_json::to_string(&Size::of(&spec)) {
        annotations.insert(names::ANNOTATION_SIZE.to_owned(), size);
    }
    meta.annotations = Some(annotations);
    DynamicObject {
        types: Some(TypeMeta { api_version: "ray.io/v1".to_owned(), kind: "RayCluster".to_owned() }),
        metadata: meta,
        data: json!({ "spec": spec }),
    }
}

/// Puts the serving gate into the head's pod template, so that Services follow the orchestrator.
fn open_by_gate(head: &mut Value) {
    let Some(pod) = object_at(head, &["template", "spec"]) else { return };
    let gates = pod.entry("readinessGates").or_insert_with(|| json!([]));
    if let Some(gates) = gates.as_array_mut()
        && !gates.iter().any(|gate| gate["conditionType"] == names::GATE_SERVING)
    {
        gates.push(json!({ "conditionType": names::GATE_SERVING }));
    }
}

fn label_pods(group: &mut Value, labels: &[(&str, &str)]) {
    let Some(found) = object_at(group, &["template", "metadata", "labels"]) else { return };
    for (key, value) in labels {
        found.insert((*key).to_owned(), json!(value));
    }
}

/// Keeps the pods off nodes: a further demand in every term of the required node affinity, as terms are alternatives.
fn keep_off(group: &mut Value, nodes: &[NodeName]) {
    if nodes.is_empty() {
        return;
    }
    let path =
        ["template", "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(required) = object_at(group, &path) else { return };
    let terms = required.entry("nodeSelectorTerms").or_insert_with(|| json!([{}]));
    for term in terms.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        let fields = term.entry("matchFields").or_insert_with(|| json!([]));
        if let Some(fields) = fields.as_array_mut() {
            for node in nodes {
                fields.push(json!({ "key": "metadata.name", "operator": "NotIn", "values": [node] }));
            }
        }
    }
}

/// A group's size never changes: its ranks are placed on exactly these pods. KubeRay wants both bounds, and takes a null for none.
/// Ray's autoscaler, where the template turns it on, keeps to the template's own bounds.
fn fix_size(group: &mut Value) {
    let size = WorkerSize::of(group).replicas();
    let Some(group) = group.as_object_mut() else { return };
    for bound in ["minReplicas", "maxReplicas"] {
        let bound = group.entry(bound).or_insert(Value::Null);
        if bound.is_null() {
            *bound = json!(size);
        }
    }
}

/// Keeps the namespace's Services out of the pods' environment where the template does not decide. The Service of a fleet with the name
/// `vllm` would set `VLLM_PORT` to an address there, which vLLM takes for its own setting and refuses
/// (<https://docs.vllm.ai/en/latest/configuration/env_vars/>).
fn without_service_links(spec: &mut Value) {
    let pods = |group: &mut Value| {
        if let Some(pod) = object_at(group, &["template", "spec"]) {
            pod.entry("enableServiceLinks").or_insert(Value::Bool(false));
        }
    };
    spec.get_mut("headGroupSpec").into_iter().for_each(pods);
    let workers = spec.get_mut("workerGroupSpecs").and_then(Value::as_array_mut);
    workers.into_iter().flatten().for_each(pods);
}

/// Turns Ray's token authentication on where Ray has it and the template does not decide.
fn authenticate(spec: &mut Value) {
    let version = spec["rayVersion"].as_str().and_then(major_minor);
    if version.is_some_and(|version| version >= TOKEN_AUTH_SINCE)
        && let Some(spec) = spec.as_object_mut()
    {
        spec.entry("authOptions").or_insert_with(|| json!({ "mode": "token" }));
    }
}

fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The object at a path, made where it is missing; `None` where something else is in the way.
fn object_at<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut at = value.as_object_mut()?;
    for step in path {
        at = at.entry(*step).or_insert_with(|| json!({})).as_object_mut()?;
    }
    Some(at)
}

/// The Service in front of the fleet's heads.
pub(crate) fn service(fleet: &ValidFleet, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: metadata(fleet, &fleet.name, &[(names::LABEL_SERVICE, &fleet.name)]),
        spec: Some(ServiceSpec {
            selector: Some(BTreeMap::from([
                (names::LABEL_FLEET.to_owned(), fleet.name.clone()),
                (names::RAY_LABEL_NODE_TYPE.to_owned(), "head".to_owned()),
            ])),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::fleet;

    fn built() -> Value {
        let group =
            GroupStatus { name: "f-abc-0".into(), revision: "abc".into(), attempt: 2, ..Default::default() };
        serde_json::to_value(ray_cluster(&fleet(), &group, None)).unwrap()
    }

    #[test]
    fn avoided_nodes_are_kept_off_in_every_alternative() {
        let mut workers = json!({"template": {"spec": {"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "tpu", "operator": "Exists"}]}
            ]}
        }}}}});
        let before = workers.clone();
        keep_off(&mut workers, &[]);
        assert_eq!(workers, before);
        keep_off(&mut workers, &["node-1".into()]);
        let path = "/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let terms = workers.pointer(path).unwrap()["nodeSelectorTerms"].as_array().unwrap();
        let off = json!([{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]);
        assert!(terms.len() == 2 && terms.iter().all(|term| term["matchFields"] == off), "{terms:?}");

        let mut bare = json!({"template": {"spec": {}}});
        keep_off(&mut bare, &["node-1".into()]);
        assert_eq!(bare.pointer(path).unwrap()["nodeSelectorTerms"], json!([{ "matchFields": off }]));
    }

    #[test]
    fn only_the_head_waits_for_the_gate() {
        let cluster = built();
        let gates = |group: &Value| group["template"]["spec"]["readinessGates"].clone();
        assert_eq!(gates(&cluster["spec"]["headGroupSpec"])[0]["conditionType"], names::GATE_SERVING);
        assert_eq!(gates(&cluster["spec"]["workerGroupSpecs"][0]), Value::Null);
    }

    #[test]
    fn the_head_is_found_by_its_service_before_its_gate_opens() {
        let service = &built()["spec"]["headGroupSpec"]["headService"]["spec"];
        assert_eq!(service, &json!({"clusterIP": "None", "publishNotReadyAddresses": true}));
    }

    #[test]
    fn all_pods_carry_the_group_and_their_own_labels() {
        let cluster = built();
        let labels = &cluster["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"];
        assert_eq!(labels[names::LABEL_GROUP], "f-abc-0");
        assert_eq!(labels["app"], "worker");
        assert_eq!(cluster["metadata"]["annotations"][names::ANNOTATION_ATTEMPT], "2");
    }

    #[test]
    fn a_template_cannot_ask_for_another_group_in_place_of_each() {
        let mut fleet = fleet();
        let metadata = fleet.template.metadata.get_or_insert_default();
        for key in [names::ANNOTATION_REPLACE, "team"] {
            metadata.annotations.insert(key.to_owned(), "true".to_owned());
        }
        let cluster = ray_cluster(&fleet, &GroupStatus::default(), None);
        let annotations = cluster.metadata.annotations.unwrap();
        assert!(annotations.contains_key("team") && !annotations.contains_key(names::ANNOTATION_REPLACE));
    }

    #[test]
    fn the_owner_is_the_fleet() {
        let owner = &built()["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["controller"]), (&json!("u-1"), &json!(true)));
    }

    #[test]
    fn token_authentication_is_on_unless_the_template_says_otherwise() {
        assert_eq!(built()["spec"]["authOptions"]["mode"], "token");
        let mut old = json!({"rayVersion": "2.46.0"});
        authenticate(&mut old);
        assert_eq!(old["authOptions"], Value::Null);
        let mut decided = json!({"rayVersion": "2.60.0", "authOptions": {"mode": "disabled"}});
        authenticate(&mut decided);
        assert_eq!(decided["authOptions"]["mode"], "disabled");
    }

    #[test]
    fn no_service_of_the_namespace_sets_what_an_engine_reads_unless_the_template_says_so() {
        let links = |spec: &Value| {
            let of = |group: &Value| group["template"]["spec"]["enableServiceLinks"].clone();
            [of(&spec["headGroupSpec"]), of(&spec["workerGroupSpecs"][0])]
        };
        assert_eq!(links(&built()["spec"]), [json!(false), json!(false)]);
        let mut decided = json!({
            "headGroupSpec": {"template": {"spec": {"enableServiceLinks": true}}},
            "workerGroupSpecs": [{"template": {"spec": {"enableServiceLinks": null}}}],
        });
        without_service_links(&mut decided);
        assert_eq!(links(&decided), [json!(true), Value::Null]);
        let mut own = fleet();
        own.model = None;
        let cluster = ray_cluster(&own, &GroupStatus { name: "g".into(), ..Default::default() }, None);
        assert_eq!(
            links(&cluster.data["spec"]),
            [Value::Null, Value::Null],
            "what starts in its pods is its own"
        );
    }

    #[test]
    fn a_group_remembers_the_size_that_it_was_made_with() {
        let cluster = built();
        let size = serde_json::from_str::<Size>(
            cluster["metadata"]["annotations"][names::ANNOTATION_SIZE].as_str().unwrap(),
        );
        assert_eq!(size.unwrap(), Size::of(&cluster["spec"]));
    }

    #[test]
    fn the_bounds_of_rays_autoscaler_are_the_templates() {
        let mut fleet = fleet();
        fleet.template.spec["enableInTreeAutoscaling"] = json!(true);
        fleet.template.spec["workerGroupSpecs"][0]["maxReplicas"] = json!(4);
        let cluster = ray_cluster(&fleet, &GroupStatus { name: "g".into(), ..Default::default() }, None);
        let workers = &cluster.data["spec"]["workerGroupSpecs"][0];
        assert_eq!((&workers["minReplicas"], &workers["maxReplicas"]), (&Value::Null, &json!(4)));
    }

    #[test]
    fn a_group_has_one_size() {
        let cluster = built();
        let workers = &cluster["spec"]["workerGroupSpecs"][0];
        assert_eq!((&workers["minReplicas"], &workers["maxReplicas"]), (&json!(1), &json!(1)));
        for (group, bounds) in [
            (json!({"minReplicas": 2}), (2, 2)),
            (json!({"replicas": 3, "maxReplicas": 2}), (2, 2)),
            (json!({"replicas": 1, "minReplicas": 1, "maxReplicas": 5}), (1, 5)),
            (json!({"replicas": 2, "minReplicas": null, "suspend": true}), (2, 2)),
            (json!({}), (0, 0)),
        ] {
            let mut fixed = group.clone();
            fix_size(&mut fixed);
            assert_eq!(
                (&fixed["minReplicas"], &fixed["maxReplicas"]),
                (&json!(bounds.0), &json!(bounds.1)),
                "{group}"
            );
        }
    }
}
