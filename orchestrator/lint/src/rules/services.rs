//! Services and PodDisruptionBudgets beside fleets in the same manifest: whom they select, and where they send requests.

use rayfleet_api::names;
use serde_json::{Map, Value};

use super::fleet::taken_by_ray;
use crate::finding::Findings;
use crate::read::{Manifest, Object};
use crate::rule::Rule;
use crate::vllm::Engine;
use crate::workload::{Role, Workload};

/// LWS's label with the name of the set, on every pod.
pub(crate) const LWS_NAME: &str = "leaderworkerset.sigs.k8s.io/name";
/// LWS's label with the number of a pod in its group; leaders have 0.
pub(crate) const LWS_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Name that Rayfleet gives to the engine's port unless the template has one.
const RAYFLEET_PORT: &str = "rayfleet-http";

pub(super) fn check(manifest: &Manifest, workloads: &[Workload<'_>], findings: &mut Findings) {
    for object in &manifest.objects {
        let beside = workloads.iter().filter(|workload| workload.object.namespace() == object.namespace());
        let beside: Vec<&Workload<'_>> = beside.collect();
        if object.is("", "Service") {
            service(object, &beside, findings);
        } else if object.is("policy", "PodDisruptionBudget") {
            budget(object, &beside, findings);
        }
    }
}

/// Whether labels select the pods of a role.
pub(crate) fn selects(selector: &Map<String, Value>, workload: &Workload<'_>, role: &Role<'_>) -> bool {
    selector.iter().all(|(key, value)| {
        let Some(value) = value.as_str() else { return false };
        let of_set = workload.lws && key == LWS_NAME && value == workload.object.name();
        let of_leader = workload.lws && key == LWS_INDEX && role.head && value == "0";
        let of_fleet = !workload.lws && key == names::LABEL_FLEET && value == workload.object.name();
        of_set || of_leader || of_fleet || role.has(key, value, workload.lws)
    })
}

fn service(object: &Object, beside: &[&Workload<'_>], findings: &mut Findings) {
    let spec = &object.value["spec"];
    for fleet in beside.iter().filter(|fleet| fleet.bridged && fleet.object.name() == object.name()) {
        let what = format!(
            "the fleet {} has a Service of this name from Rayfleet, which leaves this one alone",
            fleet.object.name()
        );
        let cure = "leave it out, or give it another name";
        findings.push(Rule::ServiceOfFleetsName, (object, "metadata.name"), what, cure);
    }
    let Some(selector) = spec["selector"].as_object().filter(|selector| !selector.is_empty()) else { return };
    // Without an address of its own it is for finding pods, not for requests.
    let for_requests = spec["clusterIP"] != "None";
    let mut selected = 0;
    for workload in beside {
        let (heads, workers): (Vec<_>, Vec<_>) = workload
            .roles
            .iter()
            .filter(|role| selects(selector, workload, role))
            .partition(|role| role.head);
        selected += heads.len() + workers.len();
        let workers = workers.iter().filter(|role| role.pods > 0).count();
        let Some(head) = heads.first() else { continue };
        if workers > 0 && for_requests {
            let label = if workload.lws { LWS_INDEX } else { names::RAY_LABEL_NODE_TYPE };
            let value = if workload.lws { "\"0\"" } else { "head" };
            let what =
                format!("selects the workers of {} too, which answer no requests", workload.object.name());
            findings.push(
                Rule::ServiceSelectsWorkers,
                (object, "spec.selector"),
                what,
                format!("add {label}: {value} to the selector"),
            );
        }
        if for_requests && spec["publishNotReadyAddresses"] == true {
            let what = format!("sends requests to heads of {} that do not serve", workload.object.name());
            findings.push(
                Rule::ServiceIgnoresReadiness,
                (object, "spec.publishNotReadyAddresses"),
                what,
                "take publishNotReadyAddresses out",
            );
        }
        ports(object, workload, head, findings);
    }
    if selected == 0 {
        nothing(object, selector, beside, findings);
    }
}

/// Labels that a fleet or its template has, and no pod.
fn nothing(
    object: &Object,
    selector: &Map<String, Value>,
    beside: &[&Workload<'_>],
    findings: &mut Findings,
) {
    let meant = beside.iter().find(|workload| {
        let value = &workload.object.value;
        let places = [&value["metadata"]["labels"], &value["spec"]["template"]["metadata"]["labels"]];
        let above = |key: &str, label: &Value| places.iter().any(|labels| labels[key] == *label);
        let on_head = |key: &str, label: &Value| {
            let head = workload.head();
            label.as_str().is_some_and(|label| head.is_some_and(|head| head.has(key, label, workload.lws)))
        };
        !workload.lws && selector.iter().all(|(key, label)| above(key, label) || on_head(key, label))
    });
    if let Some(workload) = meant {
        let what = format!(
            "selects no pod: its labels are those of {} or its template, not of pods",
            workload.object.name()
        );
        let cure = "write the labels into headGroupSpec.template.metadata.labels as well";
        findings.push(Rule::ServiceSelectsNothing, (object, "spec.selector"), what, cure);
    }
}

fn ports(object: &Object, workload: &Workload<'_>, head: &Role<'_>, findings: &mut Findings) {
    let declared: Vec<&Value> = head
        .containers()
        .flat_map(|(_, container)| container["ports"].as_array().into_iter().flatten())
        .collect();
    let engine = match &workload.engine {
        Some((_, Engine::Vllm(vllm))) if !workload.bridged => Some(vllm.listens()),
        _ => workload.valid.as_ref().and_then(|fleet| fleet.model.as_ref()).map(|model| model.port),
    };
    for (index, port) in object.value["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let reached = match (target.as_u64(), target.as_str(), engine) {
            (Some(number), _, Some(engine)) => {
                let number = u16::try_from(number).unwrap_or_default();
                let of_ray = !workload.lws && taken_by_ray(&workload.object.value, number).is_some();
                number == engine || of_ray || declared.iter().any(|port| port["containerPort"] == number)
            }
            (None, Some(name), _) => {
                (workload.bridged && name == RAYFLEET_PORT)
                    || declared.iter().any(|port| port["name"] == name)
            }
            _ => true,
        };
        if !reached {
            let listens = engine.map(|port| format!(", the engine listens on {port}")).unwrap_or_default();
            let what =
                format!("no container of {}'s heads has port {target}{listens}", workload.object.name());
            let field = format!("spec.ports[{index}].targetPort");
            findings.push(Rule::ServicePort, (object, &field), what, "name the engine's port");
        }
    }
}

fn budget(object: &Object, beside: &[&Workload<'_>], findings: &mut Findings) {
    let selector = &object.value["spec"]["selector"];
    let expressions = selector["matchExpressions"].as_array().is_some_and(|all| !all.is_empty());
    let labels = selector["matchLabels"].as_object().cloned().unwrap_or_default();
    if expressions || !selector.is_object() {
        return;
    }
    for fleet in beside.iter().filter(|workload| !workload.lws) {
        let annotations = &fleet.object.value["metadata"]["annotations"];
        let without = annotations[names::ANNOTATION_DISRUPTION_BUDGET] == "false";
        if !without && fleet.roles.iter().any(|role| selects(&labels, fleet, role)) {
            let what =
                format!("selects pods of {}, for which Rayfleet has a budget already", fleet.object.name());
            let cure = format!(
                "leave it out, or annotate the fleet {}: \"false\"",
                names::ANNOTATION_DISRUPTION_BUDGET
            );
            findings.push(Rule::SecondBudget, (object, "spec.selector"), what, cure);
        }
    }
}
