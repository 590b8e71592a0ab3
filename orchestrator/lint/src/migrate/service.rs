//! What stands beside fleets: Services select heads alone, those of a set the heads of the fleet that it became, and autoscalers of a set
//! scale that fleet.

use rayfleet_api::names;
use serde_json::json;

use super::log::Log;
use super::lws;
use super::new::New;
use crate::finding::Findings;
use crate::read::Object;
use crate::rules::selects;
use crate::workload::{LWS_KIND, Workload};

/// The Service after the migration; `None` where Rayfleet makes it.
pub(super) fn migrated(
    object: &Object,
    workloads: &[Workload<'_>],
    fleets: &[New],
    findings: &mut Findings,
) -> Option<New> {
    let mut log = Log { object, findings, changes: Vec::new() };
    let mut value = object.value.clone();
    let pairs = workloads
        .iter()
        .zip(fleets)
        .filter(|(workload, _)| workload.object.namespace() == object.namespace());
    for (workload, fleet) in pairs {
        let selector = object.value["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
        let role = |head: bool| {
            let mut roles = workload.roles.iter().filter(|role| role.head == head && role.pods > 0);
            roles.any(|role| selector.is_some_and(|selector| selects(selector, workload, role)))
        };
        if fleet.value["kind"] != names::KIND {
            continue;
        }
        let bridged = !fleet.value["spec"]["model"].is_null();
        if bridged && fleet.value["metadata"]["name"] == object.name() {
            let what = "the Service is left out: Rayfleet makes one of this name, for the engine's port of heads that serve";
            let cure = "delete it before you apply the fleet, or give it another name to keep further ports and annotations";
            log.dropped("metadata.name", what, cure);
            return None;
        }
        if !role(true) {
            continue;
        }
        if workload.lws {
            let (key, name) = lws::label(workload.object.name());
            value["spec"]["selector"] = json!({key: name, (names::RAY_LABEL_NODE_TYPE): "head"});
            log.changed("spec.selector", "the selector names the fleet's heads", "read it");
        } else if role(false) && object.value["spec"]["clusterIP"] != "None" {
            value["spec"]["selector"][names::RAY_LABEL_NODE_TYPE] = json!("head");
            log.changed("spec.selector", "the selector names heads alone", "workers answer no requests");
        }
    }
    let changes = log.changes;
    Some(New { value, changes })
}

/// A HorizontalPodAutoscaler after the migration.
pub(super) fn autoscaler(
    object: &Object,
    workloads: &[Workload<'_>],
    fleets: &[New],
    findings: &mut Findings,
) -> New {
    let mut log = Log { object, findings, changes: Vec::new() };
    let mut value = object.value.clone();
    let target = &object.value["spec"]["scaleTargetRef"];
    let scaled = workloads.iter().zip(fleets).find(|(workload, fleet)| {
        let is_it = workload.lws && target["kind"] == LWS_KIND && target["name"] == workload.object.name();
        is_it && workload.object.namespace() == object.namespace() && fleet.value["kind"] == names::KIND
    });
    if let Some((_, fleet)) = scaled {
        let of = |field: &str| fleet.value[field].clone();
        let name = &fleet.value["metadata"]["name"];
        value["spec"]["scaleTargetRef"] =
            json!({"apiVersion": of("apiVersion"), "kind": of("kind"), "name": name});
        log.changed(
            "spec.scaleTargetRef",
            "it scales the fleet",
            "see that its metrics are those of heads, by the new labels",
        );
    }
    let changes = log.changes;
    New { value, changes }
}
