//! What `top` knows, as rows: a group with its figures, and its Ray nodes with their ranks and GPUs. Pure.

use std::collections::BTreeMap;

use rayfleet_telemetry::ray::Gpus;
use serde::Serialize;

use super::ask::Fault;
use super::target::{RayPod, Target};
use super::window::{Figures, Window};

/// One group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) fleet: String,
    pub(super) group: String,
    pub(super) phase: String,
    pub(super) head: Option<String>,
    pub(super) metrics: Option<Figures>,
    /// Why there are no metrics.
    pub(super) error: Option<String>,
    /// What else is to be said.
    pub(super) note: Option<String>,
    /// Its Ray nodes; empty if they were not asked.
    pub(super) nodes: Vec<NodeRow>,
}

/// One Ray node of a group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeRow {
    pub(super) node: String,
    pub(super) pod: String,
    /// Ranks on it, as far as the status has them.
    pub(super) ranks: Vec<i64>,
    pub(super) gpus: Vec<GpuRow>,
    /// Why its GPUs are unknown.
    pub(super) error: Option<String>,
}

/// One GPU of a node, whoever uses it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GpuRow {
    pub(super) index: u32,
    #[serde(rename = "usedMiB")]
    pub(super) used_mib: Option<f64>,
    #[serde(rename = "freeMiB")]
    pub(super) free_mib: Option<f64>,
    /// Busy part of the time, 0 to 1.
    pub(super) busy: Option<f64>,
}

/// Namespace, and a group or a pod in it.
pub(super) type Key = (String, String);

/// What was answered so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// By group.
    pub(super) engines: BTreeMap<Key, Window>,
    /// By pod.
    pub(super) gpus: BTreeMap<Key, Result<Gpus, Fault>>,
}

/// Key of a target.
pub(super) fn key(target: &Target) -> Key {
    (target.namespace.clone(), target.group.name.to_string())
}

/// A row for each target.
pub(super) fn rows(targets: &[Target], pods: &[RayPod], answers: &Answers) -> Vec<Row> {
    targets.iter().map(|target| row(target, pods, answers)).collect()
}

fn row(target: &Target, pods: &[RayPod], answers: &Answers) -> Row {
    let group = &target.group;
    let window = answers.engines.get(&key(target));
    let (error, note) = match (target.engine(), window) {
        (Err(why), _) => (None, Some(why)),
        (Ok(_), Some(window)) => (window.fault().map(Fault::words), window.note().map(str::to_owned)),
        (Ok(_), None) => (None, Some("measuring".to_owned())),
    };
    let mut own: Vec<&RayPod> = pods.iter().filter(|pod| group.name == pod.group).collect();
    own.sort_by_key(|pod| (!pod.is_head, &pod.node, &pod.name));
    Row {
        namespace: target.namespace.clone(),
        fleet: target.fleet.clone(),
        group: group.name.to_string(),
        phase: group.phase.clone(),
        head: group.head.as_ref().map(ToString::to_string),
        metrics: window.filter(|_| target.engine().is_ok()).and_then(Window::figures),
        error,
        note,
        nodes: own.into_iter().map(|pod| node(target, pod, answers)).collect(),
    }
}

fn node(target: &Target, pod: &RayPod, answers: &Answers) -> NodeRow {
    let answer = answers.gpus.get(&(target.namespace.clone(), pod.name.clone()));
    let here = target.group.placement.iter().filter(|rank| rank.node == *pod.node);
    let gpus = answer.and_then(|answer| answer.as_ref().ok());
    NodeRow {
        node: pod.node.clone(),
        pod: pod.name.clone(),
        ranks: here.map(|rank| rank.number).collect(),
        gpus: gpus
            .into_iter()
            .flat_map(Gpus::all)
            .map(|(index, gpu)| GpuRow {
                index,
                used_mib: gpu.used_mib,
                free_mib: gpu.free_mib,
                busy: gpu.busy,
            })
            .collect(),
        error: answer.and_then(|answer| answer.as_ref().err()).map(Fault::words),
    }
}
