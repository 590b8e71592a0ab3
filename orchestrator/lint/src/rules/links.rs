//! The variables by which Kubernetes tells pods of the Services in their namespace, and vLLM, which reads one of them as its own.

use rayfleet_api::names;
use serde_json::Value;

use crate::finding::Findings;
use crate::read::{Manifest, Object};
use crate::rule::Rule;
use crate::workload::Workload;

/// The name of a Service from which `VLLM_PORT` comes.
const NAME: &str = "vllm";

pub(super) fn check(manifest: &Manifest, workloads: &[Workload<'_>], findings: &mut Findings) {
    for object in manifest.objects.iter().filter(|object| object.name() == NAME) {
        let fleet = object.is(names::GROUP, names::KIND) && !object.value["spec"]["model"].is_null();
        let service = object.is("", "Service") && has_address(&object.value["spec"]);
        if (service || fleet) && !safe(object, manifest, workloads) {
            let what = format!(
                "the Service {NAME} puts VLLM_PORT=tcp://... into pods of its namespace, and vLLM does not start with it"
            );
            let cure = "give it another name, or write enableServiceLinks: false into the spec of all pods with vLLM";
            findings.push(Rule::ServiceNamedVllm, (object, "metadata.name"), what, cure);
        } else if fleet {
            let what = format!(
                "Rayfleet's Service {NAME} puts VLLM_PORT=tcp://... into pods of its namespace that start later"
            );
            let cure = "give the fleet another name if vLLM runs in other pods of the namespace, or write enableServiceLinks: false into theirs";
            findings.push(Rule::FleetNamedVllm, (object, "metadata.name"), what, cure);
        }
    }
}

/// Services without an address of their own are in no variable.
fn has_address(spec: &Value) -> bool {
    spec["clusterIP"] != "None" && spec["type"] != "ExternalName"
}

/// Whether there are pods in the manifest beside a Service, and none of them gets such variables.
fn safe(service: &Object, manifest: &Manifest, workloads: &[Workload<'_>]) -> bool {
    let beside = |object: &Object| object.namespace() == service.namespace();
    let of_workloads = workloads.iter().filter(|workload| beside(workload.object)).flat_map(|workload| {
        let unset = workload.bridged;
        workload.roles.iter().map(move |role| without_links(&role.template["spec"], unset))
    });
    let others = manifest.objects.iter().filter(|object| beside(object));
    let others = others.map(|object| &object.value["spec"]["template"]["spec"]);
    let others = others.filter(|pod| pod["containers"].is_array()).map(|pod| without_links(pod, false));
    let pods: Vec<bool> = of_workloads.chain(others).collect();
    !pods.is_empty() && pods.into_iter().all(|without| without)
}

/// `unset`: what an unset field means; Rayfleet sets it for pods of fleets with a model block.
fn without_links(pod: &Value, unset: bool) -> bool {
    pod["enableServiceLinks"].as_bool().map_or(unset, |links| !links)
}
