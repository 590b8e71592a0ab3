//! In which order the pods of a LeaderWorkerSet start, and whether its leader ever lets the workers.

use crate::finding::Findings;
use crate::probe::asks;
use crate::rule::Rule;
use crate::shell::Word;
use crate::vllm::Engine;
use crate::workload::{Role, Workload};

/// Options by which an engine, or vLLM's script before it, waits for so many pods.
const PODS: [&str; 2] = ["--ray_cluster_size", "--nnodes"];
/// Probes without which a pod is ready once its containers run.
const OF_READINESS: [&str; 2] = ["readinessProbe", "startupProbe"];

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    let policy = &workload.object.value["spec"]["startupPolicy"];
    let Some(leader) = workload.head().filter(|_| workload.lws && policy == "LeaderReady") else { return };
    if workload.pods() < 2 || !needs_workers(workload, leader) {
        return;
    }
    if let Some(probe) = OF_READINESS.iter().find(|probe| asks_engine(workload, leader, probe)) {
        let what = format!(
            "no group starts: the leader's {probe} answers once the engine has its workers, which are created once the leader is ready"
        );
        let cure = "take startupPolicy out, or write LeaderCreated";
        findings.push(Rule::LeaderWaitsForWorkers, (workload.object, "spec.startupPolicy"), what, cure);
    }
}

/// Whether the engine of a leader does not come up without the pods of its workers.
fn needs_workers(workload: &Workload<'_>, leader: &Role<'_>) -> bool {
    let commands = workload.launch.iter().flat_map(|launch| &launch.commands);
    let waits = commands.into_iter().any(|command| pods(&command.words).is_some_and(|pods| pods != "1"));
    let gpus = leader.gpus.filter(|gpus| *gpus > 0).map(u64::from);
    let ranks = match &workload.engine {
        Some((_, Engine::Vllm(vllm))) => vllm.ranks(),
        _ => return waits && workload.engine.is_some(),
    };
    waits || gpus.is_some_and(|gpus| ranks > gpus)
}

/// For how many pods a command waits, as it is written.
fn pods(words: &[Word]) -> Option<&str> {
    let mut words = words.iter().map(|word| word.text.as_str());
    while let Some(word) = words.next() {
        let (option, value) =
            word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
        if PODS.contains(&option) {
            return value.or_else(|| words.next());
        }
    }
    None
}

/// Whether a probe of the leader waits for its engine. Where the port is not known, requests by HTTP are meant for it: an engine opens
/// the port on which its workers join before that.
fn asks_engine(workload: &Workload<'_>, leader: &Role<'_>, probe: &str) -> bool {
    match &workload.engine {
        Some((_, Engine::Vllm(vllm))) => asks(leader.container(), probe, vllm.listens()),
        _ => leader.container()[probe]["httpGet"].is_object(),
    }
}
