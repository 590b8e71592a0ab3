//! The Services beside fleets: they select heads alone, and those of a set select the heads of the fleet that it became.

use rayfleet_api::names;
use serde_json::json;

use super::{Log, New, lws};
use crate::finding::Findings;
use crate::read::Object;
use crate::rules::selects;
use crate::workload::Workload;

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
            let roles = workload.roles.iter().filter(|role| role.head == head && role.pods > 0);
            roles.map(|role| selector.is_some_and(|selector| selects(selector, workload, role))).any(|is| is)
        };
        let is_fleet = fleet.value["kind"] == names::KIND;
        if !is_fleet || !role(true) {
            continue;
        }
        let bridged = !fleet.value["spec"]["model"].is_null();
        if bridged && fleet.value["metadata"]["name"] == object.name() {
            let what = "the Service is left out: Rayfleet makes one of this name, for the engine's port of heads that serve";
            let cure = "delete it before you apply the fleet, or give it another name to keep further ports and annotations";
            log.dropped("metadata.name", what, cure);
            return None;
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
