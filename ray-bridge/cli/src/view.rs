//! The documents of the commands: the JSON that scripts read, and the source of all text. Pure.

use jiff::Timestamp;
use ray_bridge::dashboard::{Job, JobStatus};
use ray_bridge::diagnose::Diagnosis;
use ray_bridge::engine::{Health, LaunchRecord, PhaseKind, plan_of};
use ray_bridge::observe::{EngineState, Placed};
use ray_bridge::placement::{Placement, RankSlot, RayNode};
use ray_bridge::{NodeId, SubmissionId};
use serde::Serialize;

use crate::connect::Found;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slot {
    /// Rank in the engine.
    pub(crate) rank: u32,
    /// Its data-parallel engine, with data parallelism.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_rank: Option<u32>,
    /// Its stage among those of all data-parallel engines, which is what is drawn.
    #[serde(skip)]
    pub(crate) lane: u32,
    /// Rank within its stage.
    pub(crate) tensor_rank: u32,
    pub(crate) stage: u32,
    /// Ray's name of the node.
    pub(crate) node: String,
    pub(crate) node_ip: String,
    pub(crate) node_id: String,
    /// Index of its GPU among those of the engine on this node; Ray chooses the device.
    pub(crate) gpu: u32,
    /// `planned`, `alive`, `dead`, `starting`, or `elsewhere`: alive on this node, planned for another.
    pub(crate) state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Engine {
    /// Name of the engine and its job.
    pub(crate) name: String,
    /// The model's name in requests.
    pub(crate) model: Option<String>,
    /// Parallel shape, such as `TP2×PP2`.
    pub(crate) shape: Option<String>,
    /// State in a few words: `serving`, `loading`, `failed`, …
    pub(crate) state: String,
    /// Ray's state of the job.
    pub(crate) job: JobStatus,
    /// When it was submitted.
    pub(crate) since: Option<Timestamp>,
    /// Address of its API server.
    pub(crate) address: Option<String>,
    /// Requests in flight.
    pub(crate) in_flight: Option<u64>,
    /// Every rank is where it was planned; `None` if not read.
    pub(crate) as_planned: Option<bool>,
    /// Differences between plan and report.
    pub(crate) differences: Vec<String>,
    pub(crate) ranks: Vec<Slot>,
    /// Why it ended.
    pub(crate) cause: Option<String>,
    /// What is wrong, as far as one observation shows.
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// The ranks of a plan.
pub(crate) fn planned(plan: &Placement, nodes: &[RayNode]) -> Vec<Slot> {
    let slots = plan.ranks.iter().zip(plan.gpus());
    slots.map(|(slot, gpu)| rank(plan, (slot, gpu), &slot.node_id, "planned", nodes)).collect()
}

fn rank(
    plan: &Placement,
    (slot, gpu): (&RankSlot, u32),
    on: &NodeId,
    state: &'static str,
    nodes: &[RayNode],
) -> Slot {
    let node = nodes.iter().find(|node| node.id == *on);
    let ip = node.map_or_else(|| slot.node_ip.clone(), |node| node.ip.clone());
    Slot {
        rank: slot.rank,
        data_rank: slot.data_rank,
        lane: slot.rank / plan.shape.tensor(),
        tensor_rank: slot.tensor_rank,
        stage: slot.stage,
        node: node.map_or_else(|| ip.clone(), |node| node.name.clone()),
        node_ip: ip,
        node_id: on.to_string(),
        gpu,
        state,
    }
}

/// An engine from a deep observation.
pub(crate) fn engine(found: &Found, state: &EngineState, nodes: &[RayNode]) -> Engine {
    let plan = state.plan.as_ref();
    Engine {
        name: found.id.to_string(),
        model: found.record.as_ref().map(|record| record.model.clone()),
        shape: plan.map(|plan| plan.shape.to_string()),
        state: words(state),
        job: state.status,
        since: state.started,
        address: found.engine.as_ref().filter(|_| !state.has_ended()).map(|url| trimmed(url.as_str())),
        in_flight: state.load.as_ref().map(|load| load.in_flight),
        as_planned: plan.and(state.placed.as_ref()).map(|placed| placed.differences.is_empty()),
        differences: differences(state.placed.as_ref(), nodes),
        ranks: match (plan, &state.placed) {
            (Some(plan), Some(placed)) => reported(plan, placed, nodes),
            (Some(plan), None) if !state.has_ended() => planned(plan, nodes),
            _ => Vec::new(),
        },
        cause: state.cause.clone(),
        diagnosis: None,
    }
}

/// An engine from the list of jobs.
pub(crate) fn listed(id: &SubmissionId, job: &Job) -> Engine {
    Engine {
        name: id.to_string(),
        model: LaunchRecord::read(job).map(|record| record.model),
        shape: plan_of(job).map(|plan| plan.shape.to_string()),
        state: job_words(job.status).to_owned(),
        job: job.status,
        since: job.started,
        address: None,
        in_flight: None,
        as_planned: None,
        differences: Vec::new(),
        ranks: Vec::new(),
        cause: None,
        diagnosis: None,
    }
}

/// A URL without the slash of its empty path.
pub(crate) fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// Differences with names of nodes instead of ids.
pub(crate) fn differences(placed: Option<&Placed>, nodes: &[RayNode]) -> Vec<String> {
    let texts = placed.into_iter().flat_map(|placed| &placed.differences).map(ToString::to_string);
    texts
        .map(|text| nodes.iter().fold(text, |text, node| text.replace(node.id.as_str(), &node.name)))
        .collect()
}

fn reported(plan: &Placement, placed: &Placed, nodes: &[RayNode]) -> Vec<Slot> {
    let of = |(slot, gpu): (&RankSlot, u32)| {
        // For a restarted rank the living actor comes first.
        let seen = placed.ranks.iter().find(|r| r.rank == slot.rank);
        let on = seen.and_then(|seen| seen.node_id.as_ref()).unwrap_or(&slot.node_id);
        let state = match seen {
            Some(seen) if seen.alive && *on == slot.node_id => "alive",
            Some(seen) if seen.alive => "elsewhere",
            Some(seen) if seen.node_id.is_some() => "dead",
            _ => "starting",
        };
        rank(plan, (slot, gpu), on, state, nodes)
    };
    plan.ranks.iter().zip(plan.gpus()).map(of).collect()
}

fn job_words(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Pending => "pending",
        JobStatus::Running => "running",
        JobStatus::Succeeded | JobStatus::Failed => "failed",
        JobStatus::Stopped => "stopped",
        JobStatus::Unknown => "unknown",
    }
}

fn words(state: &EngineState) -> String {
    if state.status != JobStatus::Running {
        return job_words(state.status).to_owned();
    }
    let draining = state.load.as_ref().is_some_and(|load| load.draining == Some(true));
    match (&state.health, state.phase.as_ref().map(|phase| phase.kind)) {
        (Some(Health::Serving), _) if draining => "draining".to_owned(),
        (Some(Health::Serving), _) => "serving".to_owned(),
        (Some(Health::Unhealthy(status)), _) => format!("unhealthy ({status})"),
        (Some(Health::Unreachable(why)), Some(PhaseKind::Serving)) => {
            format!("serving, but not reached from here ({why})")
        }
        (_, Some(PhaseKind::Serving)) => "serving, but not reached from here".to_owned(),
        (_, Some(PhaseKind::PlacementGroup)) => "waiting for its placement group".to_owned(),
        (_, Some(PhaseKind::Ranks)) => "starting its ranks".to_owned(),
        (_, Some(PhaseKind::Loading)) => "loading".to_owned(),
        (_, Some(PhaseKind::Failed)) => "failing".to_owned(),
        (_, Some(PhaseKind::Unknown) | None) => "starting".to_owned(),
    }
}
