//! From observations to a trouble. The rules are ordered from the one that explains most to the one that
//! explains least: a lost node explains its dead ranks, a dead rank its dead engine, a dead engine why there
//! is no progress.

use jiff::Timestamp;

use super::death::{Death, death};
use super::unreachable::unreachable;
use super::{Diagnosis, History, Observation, StallThresholds, Trouble};
use crate::NodeId;
use crate::dashboard::JobStatus;
use crate::engine::{DEFERRED_FACTOR, Health, PhaseKind};
use crate::observe::{ClusterState, EngineState, Placed, RankState, RayState};
use crate::placement::{FreeGpus, GroupState, Policy, plan};

/// The trouble at `now`, if there is one. `history` must have learned this observation before.
///
/// An engine that is still starting, that serves, or that was stopped on request has no trouble. Without
/// `patience` no engine hangs: the caller judges by [`History::still`].
pub fn diagnose(
    now: Timestamp,
    look: Observation<'_>,
    history: &History,
    patience: impl Into<Option<StallThresholds>>,
) -> Option<Diagnosis> {
    let patience = patience.into();
    let state = match look {
        Observation::Nothing(error, around) => return Some(unreachable(error, around)),
        Observation::Ray(state) => state,
    };
    if let Some(forgotten) = another_life(state, history) {
        return Some(forgotten);
    }
    let engine = state.engine.as_ref()?;
    if engine.status == JobStatus::Stopped {
        return None;
    }
    lost_nodes(state, engine, history)
        .or_else(|| dead_ranks(engine, history))
        .or_else(|| too_few_nodes(state, engine))
        .or_else(|| dead_engine(engine, history))
        .or_else(|| still(now, engine, history, patience?))
        .or_else(|| misplaced(engine))
}

/// A restarted head has lost its engines and has another session.
fn another_life(state: &RayState, history: &History) -> Option<Diagnosis> {
    let (before, cluster) = (history.session.as_ref()?, state.cluster.as_ref()?);
    if *before == cluster.session || state.engine.is_some() {
        return None;
    }
    let evidence = format!("Ray has restarted ({}, was {before}) and has lost its engines", cluster.session);
    Some(Diagnosis { trouble: Trouble::HeadLost, evidence: vec![evidence] })
}

fn lost_nodes(state: &RayState, engine: &EngineState, history: &History) -> Option<Diagnosis> {
    let plan = engine.plan.as_ref()?;
    let mut planned: Vec<&NodeId> = plan.ranks.iter().map(|slot| &slot.node_id).collect();
    planned.push(&plan.api_server_node);
    let with_node = engine.deaths.iter().filter(|rank| how(rank) == Some(Death::WithNode));
    let died_with = with_node.filter_map(|rank| rank.node_id.as_ref());
    let mut lost: Vec<&NodeId> = died_with.collect();
    if let Some(cluster) = &state.cluster {
        lost.extend(planned.iter().filter(|id| !lives(cluster, id)));
    }
    lost.sort_unstable();
    lost.dedup();
    if lost.is_empty() {
        return None;
    }
    let name = |id: &&NodeId| history.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let mut evidence: Vec<String> = lost
        .iter()
        .map(|id| {
            let why = history.node(id).and_then(|node| node.state_message.as_deref());
            format!("Ray on {}: {}", name(id), why.unwrap_or("its ranks died with it"))
        })
        .collect();
    if let Some(cluster) = &state.cluster
        && let Err(missing) = plan_on(cluster, engine)
    {
        evidence.push(missing);
    }
    let trouble = if lost.contains(&&plan.api_server_node) {
        Trouble::HeadLost
    } else {
        Trouble::NodeLost { nodes: lost.iter().map(name).collect() }
    };
    Some(Diagnosis { trouble, evidence })
}

fn dead_ranks(engine: &EngineState, history: &History) -> Option<Diagnosis> {
    let mut dead: Vec<&RankState> =
        engine.deaths.iter().filter(|rank| how(rank) == Some(Death::ByItself)).collect();
    dead.dedup_by_key(|rank| rank.rank);
    if dead.is_empty() {
        return None;
    }
    let mut evidence: Vec<String> = dead
        .iter()
        .map(|rank| {
            let node = rank.node_id.as_ref().and_then(|id| history.node(id));
            let node = node.map_or_else(String::new, |node| format!(" on {}", node.name));
            let engine = rank.data_rank.map_or_else(String::new, |engine| format!(" of engine DP{engine}"));
            format!("rank {}{engine}{node}: {}", rank.rank, rank.death.as_deref().unwrap_or_default())
        })
        .collect();
    evidence.extend(health_words(engine));
    let ranks = dead.iter().map(|rank| rank.rank).collect();
    Some(Diagnosis { trouble: Trouble::RankDied { ranks }, evidence })
}

/// Only for an engine that waits for placement: a running engine has its nodes.
fn too_few_nodes(state: &RayState, engine: &EngineState) -> Option<Diagnosis> {
    let waits = engine.status == JobStatus::Pending
        || matches!(engine.placed, Some(Placed { group: Some(GroupState::Pending(_)), .. }))
        || engine.has_ended();
    let missing = plan_on(state.cluster.as_ref()?, engine).err().filter(|_| waits)?;
    Some(Diagnosis { trouble: Trouble::NotEnoughNodes, evidence: vec![missing] })
}

/// Why the living nodes could not hold the engine even if nothing else ran on them.
fn plan_on(cluster: &ClusterState, engine: &EngineState) -> Result<(), String> {
    let Some(planned) = &engine.plan else { return Ok(()) };
    let policy = Policy { free: FreeGpus::All, ..Policy::default() };
    plan(planned.shape, &cluster.nodes, &policy).map(|_| ()).map_err(|error| error.to_string())
}

fn dead_engine(engine: &EngineState, history: &History) -> Option<Diagnosis> {
    let mut evidence = Vec::new();
    let gave_up = engine.phase.as_ref().filter(|phase| phase.kind == PhaseKind::Failed);
    if engine.has_ended() {
        let cause = engine.cause.as_deref().unwrap_or("Ray gives no cause");
        evidence.push(format!("its job has ended: {}", cause.lines().next().unwrap_or_default()));
    } else if let Some(phase) = gave_up {
        evidence.push(phase.message.clone().unwrap_or_else(|| "the launcher gave up".to_owned()));
    } else if !history.served {
        return None;
    } else {
        evidence.extend(health_words(engine));
        if !engine.deaths.is_empty() {
            let s = if engine.deaths.len() == 1 { " was" } else { "s were" };
            evidence.push(format!("{} rank{s} taken down", engine.deaths.len()));
        }
        if evidence.is_empty() {
            return None;
        }
    }
    Some(Diagnosis { trouble: Trouble::EngineDied, evidence })
}

/// Why the engine's port counts as unhealthy. A reply that did not come in time is not handled here but by
/// [`still`].
fn health_words(engine: &EngineState) -> Option<String> {
    match engine.health.as_ref()? {
        Health::Serving | Health::Unreachable(_) => None,
        Health::Unhealthy(status) => Some(format!("GET /health answers {status}")),
        Health::NotYet => Some("nothing listens on the engine's port".to_owned()),
    }
}

fn still(
    now: Timestamp,
    engine: &EngineState,
    history: &History,
    patience: StallThresholds,
) -> Option<Diagnosis> {
    // While all waiting requests are deferred the engine is not late, unless it takes very long.
    let deferred = history.still.is_some_and(|still| still.deferred);
    let factor = if deferred { DEFERRED_FACTOR } else { 1 };
    let since = history.still.map(|still| still.since).or(history.silent_since)?;
    let lasted = std::time::Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let trouble = if lasted >= patience.hung_after.saturating_mul(factor) {
        Trouble::Hung { since }
    } else if lasted >= patience.slow_after.saturating_mul(factor) {
        Trouble::Slow { since }
    } else {
        return None;
    };
    let waiting = engine.load.as_ref().map_or(0, |load| load.awaiting);
    let all = if deferred { ", all are deferred" } else { "" };
    let s = if waiting == 1 { " waits" } else { "s wait" };
    let lasted = lasted.as_secs_f64();
    let evidence = match &engine.health {
        Some(Health::Unreachable(why)) => format!("GET /health gets no answer for {lasted:.0} s ({why})"),
        _ => format!("{waiting} request{s}, no step of the engine for {lasted:.0} s{all}"),
    };
    Some(Diagnosis { trouble, evidence: vec![evidence] })
}

fn misplaced(engine: &EngineState) -> Option<Diagnosis> {
    let placed = engine.placed.as_ref()?;
    let plan = engine.plan.as_ref()?;
    let all_alive = placed.ranks.iter().filter(|rank| rank.alive).count() >= plan.ranks.len();
    if placed.differences.is_empty() || !all_alive {
        return None;
    }
    let evidence = placed.differences.iter().map(ToString::to_string).collect();
    Some(Diagnosis { trouble: Trouble::WrongPlacement, evidence })
}

fn lives(cluster: &ClusterState, id: &NodeId) -> bool {
    cluster.nodes.iter().any(|node| node.id == *id && node.alive)
}

fn how(rank: &RankState) -> Option<Death> {
    rank.death.as_deref().map(death)
}
