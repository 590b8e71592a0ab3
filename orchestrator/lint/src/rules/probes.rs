//! What asks whether an engine answers: probes that are missing, that wait for what waits for them, and that end an engine which loads.

use rayfleet_api::valid::START_TIMEOUT;

use crate::finding::Findings;
use crate::probe::{PROBES, asks};
use crate::rule::Rule;
use crate::vllm::Engine;
use crate::workload::{Role, Workload};

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    let Some(head) = workload.head() else { return };
    if workload.bridged {
        if let Some(port) = workload.asked_port() {
            waiting(workload, head, port, findings);
        }
        return;
    }
    let Some((_, engine)) = &workload.engine else { return };
    if PROBES.iter().all(|probe| head.container()[probe].is_null()) {
        let what = "no probe asks the engine: its pod counts as ready while the engine loads, and nothing sees one that hangs";
        let cure = "add a startupProbe and a readinessProbe on /health of the engine's port; with spec.model Rayfleet does both itself";
        findings.push(Rule::NoEngineProbe, (workload.object, &head.container_field()), what, cure);
    }
    let port = match engine {
        Engine::Vllm(vllm) => Some(vllm.listens()),
        Engine::Other(_) => workload.asked_port(),
    };
    if let Some(port) = port {
        impatient(workload, head, port, findings);
    }
}

/// Probes of the head, in whatever container, that wait for the engine of the model block.
fn waiting(workload: &Workload<'_>, head: &Role<'_>, port: u16, findings: &mut Findings) {
    for (field, container) in head.containers() {
        for probe in PROBES.iter().filter(|probe| asks(container, probe, port)) {
            let what = format!(
                "the {probe} asks port {port}, on which nobody answers before the container is ready"
            );
            let cure = "take it out: Rayfleet asks the engine itself, and spec.model.startTimeout is how long it may load";
            findings.push(
                Rule::ProbeWaitsForEngine,
                (workload.object, &format!("{field}.{probe}")),
                what,
                cure,
            );
        }
    }
}

/// A liveness probe that counts while the engine loads.
fn impatient(workload: &Workload<'_>, head: &Role<'_>, port: u16, findings: &mut Findings) {
    let (container, probe) = (head.container(), "livenessProbe");
    if !container["startupProbe"].is_null() || !asks(container, probe, port) {
        return;
    }
    // Defaults of core/v1: at once, every ten seconds, three times.
    let number = |name: &str, default: u64| container[probe][name].as_u64().unwrap_or(default);
    let failing = number("periodSeconds", 10).saturating_mul(number("failureThreshold", 3));
    let seconds = number("initialDelaySeconds", 0).saturating_add(failing);
    if seconds < START_TIMEOUT.as_secs() {
        let what =
            format!("an engine that loads for more than about {seconds} s is restarted, and loads again");
        let cure = "add a startupProbe with the same question, whose periodSeconds x failureThreshold is the longest time that it may load";
        let field = format!("{}.{probe}", head.container_field());
        findings.push(Rule::NoStartupProbe, (workload.object, &field), what, cure);
    }
}
