//! From what the bridge saw to what decisions are made from. Pure; remembers between looks what a quick
//! look leaves out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ray_bridge::CallError;
use ray_bridge::dashboard::JobStatus;
use ray_bridge::engine::{Health, Load, Phase};
use ray_bridge::observe::{EngineState, Placed, RayState};
use rayfleet_core::observed::{
    ObservedEngine, ObservedJob, ObservedLoad, ObservedProbe, ObservedRank, RayReport,
};
use rayfleet_text::cut;

use super::assignment::Submission;
use super::brief::brief;
use super::failure_detector::FailureDetector;
use super::launch_failure::{Kind, LaunchFailure};

/// Longest cause of an engine's end, with the last lines of its log.
const LONGEST_CAUSE: usize = 2000;
/// Ranks that are shown of an engine whose plan is not known.
const MOST_RANKS: usize = 1024;
/// Differences that are reported one by one.
const MOST_DIFFERENCES: usize = 8;

/// What earlier looks found.
#[derive(Debug, Default)]
pub(crate) struct ObservationCache {
    /// Ranks of the launch that was looked at last.
    ranks: Option<(Submission, ObservedEngine)>,
    /// What the launcher said of this launch when its log was read last.
    note: Option<(Submission, String)>,
    /// Outcome of the probe prompt, by launch.
    probe: Option<(Submission, ObservedProbe)>,
    /// Why a launch fails: the first words about failures of this kind.
    launch_error: Option<(Submission, Kind, String)>,
    /// The last report that Ray took part in.
    last: Option<RayReport>,
    /// Why the dashboard does not answer: the first words since it last did.
    unverified: Option<String>,
    /// What is known of Ray's nodes and of how the engine is.
    failures: FailureDetector,
}

impl ObservationCache {
    /// The report on an engine that the bridge launched.
    pub(crate) fn launched(&mut self, state: RayState, want: &Submission, now: Timestamp) -> RayReport {
        self.failures.learn(Some(want), now, &state);
        self.unverified = None;
        let failure = self.failures.failure(now, &state);
        let Some(engine) = state.engine else {
            return RayReport { nodes: self.addresses(), engine: self.nothing_there(want) };
        };
        let ranks = self.ranks_of(want, &engine);
        let probe = self.probe.as_ref().filter(|(of, _)| of == want).map(|(_, observed)| observed.clone());
        let healthy = engine.health == Some(Health::Serving);
        if healthy || engine.phase.is_some() || state.cluster.is_some() {
            self.note = engine.phase.as_ref().map(|phase| (want.clone(), words_of(phase)));
        }
        let note = self.note.as_ref().filter(|(of, _)| of == want).map(|(_, words)| words.clone());
        let alive = RayReport {
            nodes: self.addresses(),
            engine: ObservedEngine {
                launch: Some(want.launch.clone()),
                job: Some(job(&engine)),
                healthy,
                failure,
                answering: matches!(engine.health, Some(Health::Serving | Health::Unhealthy(_))),
                load: self.load(engine.load.as_ref()),
                probe: probe.unwrap_or_default(),
                note,
                ..ranks
            },
        };
        self.last = Some(alive.clone());
        alive
    }

    /// The probe prompt of a launch has this outcome: it is in reports from now on, also in those that go by an earlier look.
    pub(crate) fn probed(&mut self, of: Submission, outcome: ObservedProbe) {
        if let Some(last) = self.last.as_mut().filter(|last| last.engine.launch.as_ref() == Some(&of.launch))
        {
            last.engine.probe = outcome.clone();
        }
        self.probe = Some((of, outcome));
    }

    /// Whether this launch has answered its probe prompt as it should.
    pub(crate) fn has_passed(&self, of: &Submission) -> bool {
        self.probe.as_ref().is_some_and(|(probed, outcome)| probed == of && *outcome == ObservedProbe::Passed)
    }

    /// A try of a launch has ended, with this failure or none. The words of one that goes on stay as they are, so that it is
    /// reported once.
    pub(crate) fn launch_tried(&mut self, of: Submission, failure: Option<&LaunchFailure>) {
        let known = self.launch_error.take();
        self.launch_error = failure.map(|failure| {
            let goes_on = known.filter(|(before, kind, _)| *before == of && *kind == failure.kind());
            goes_on.unwrap_or_else(|| (of, failure.kind(), brief(&failure.to_string())))
        });
    }

    /// Whether this launch, or the pod's own engine, was healthy when the dashboard last answered.
    pub(crate) fn was_healthy(&self, of: Option<&Submission>) -> bool {
        self.last_of(of).is_some_and(|last| last.engine.healthy)
    }

    /// Whether this launch was on its way when it was looked at last, and nothing was wrong with it.
    pub(crate) fn starts(&self, of: &Submission) -> bool {
        self.last_of(Some(of)).is_some_and(|last| {
            let runs = matches!(last.engine.job, Some(ObservedJob::Pending | ObservedJob::Running));
            runs && !last.engine.healthy && last.engine.failure.is_none()
        })
    }

    fn last_of(&self, of: Option<&Submission>) -> Option<&RayReport> {
        let launch = of.map(|of| &of.launch);
        self.last.as_ref().filter(|last| last.engine.launch.as_ref() == launch)
    }

    /// The last report on this launch, or on the pod's own engine, as the engine alone confirms it. Without one: that its pods are there
    /// and that it serves.
    pub(crate) fn still_serves(
        &mut self,
        of: Option<&Submission>,
        pods: &[String],
        found: Option<&Load>,
        cause: &CallError,
        now: Timestamp,
    ) -> RayReport {
        self.failures.observe_load(of, now, found);
        let words = || brief(&format!("the Ray dashboard does not answer: {cause}"));
        let unverified = self.unverified.get_or_insert_with(words).clone();
        let known = self.last_of(of).cloned().unwrap_or_else(|| RayReport {
            nodes: pods.to_vec(),
            engine: ObservedEngine {
                launch: of.map(|of| of.launch.clone()),
                job: of.map(|_| ObservedJob::Running),
                ..ObservedEngine::default()
            },
        });
        let engine = ObservedEngine {
            healthy: true,
            answering: true,
            load: self.load(found),
            unverified: Some(unverified),
            ..known.engine
        };
        RayReport { engine, ..known }
    }

    /// The last report on this launch, as its watch confirms it; `None` without one.
    pub(crate) fn goes_on(
        &mut self,
        of: &Submission,
        found: Option<&Load>,
        now: Timestamp,
    ) -> Option<RayReport> {
        self.failures.observe_load(Some(of), now, found);
        let known = self.last_of(Some(of))?.clone();
        let engine = ObservedEngine { load: self.load(found), ..known.engine };
        Some(RayReport { engine, ..known })
    }

    /// The report on an engine that the pod's own command starts.
    pub(crate) fn own(
        &mut self,
        state: &RayState,
        engine: Option<&(Health, Option<Load>)>,
        now: Timestamp,
    ) -> RayReport {
        let (health, found) = (engine.map(|(health, _)| health), engine.and_then(|(_, load)| load.as_ref()));
        self.failures.learn(None, now, state);
        self.unverified = None;
        self.failures.observe_load(None, now, found);
        let alive = RayReport {
            nodes: self.addresses(),
            engine: ObservedEngine {
                healthy: health == Some(&Health::Serving),
                answering: matches!(health, Some(Health::Serving | Health::Unhealthy(_))),
                load: self.load(found),
                ..ObservedEngine::default()
            },
        };
        self.last = Some(alive.clone());
        alive
    }

    /// How busy the engine is, and since when it stands still.
    fn load(&self, found: Option<&Load>) -> Option<ObservedLoad> {
        let still = self.failures.still();
        found.map(|load| ObservedLoad {
            in_flight: u32::try_from(load.in_flight).unwrap_or(u32::MAX),
            draining: load.draining,
            kept_connections: u32::try_from(load.kept_connections).unwrap_or(u32::MAX),
            idle_seconds: load.idle.map(|idle| idle.as_secs_f64()),
            stalled_since: still.map(|still| still.since),
            deferred: still.is_some_and(|still| still.deferred),
        })
    }

    fn nothing_there(&self, want: &Submission) -> ObservedEngine {
        let error = self.launch_error.as_ref().filter(|(of, ..)| of == want);
        ObservedEngine {
            launch: Some(want.launch.clone()),
            launch_error: error.map(|(_, _, words)| words.clone()),
            ..ObservedEngine::default()
        }
    }

    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.failures.alive().map(|node| node.ip.clone()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Ranks as this look found them, or the last one that looked.
    fn ranks_of(&mut self, want: &Submission, engine: &EngineState) -> ObservedEngine {
        if let Some(placed) = &engine.placed {
            self.ranks = Some((want.clone(), ranks(engine, placed, &self.failures)));
        }
        match &self.ranks {
            Some((of, ranks)) if of == want => ranks.clone(),
            _ => ObservedEngine::default(),
        }
    }
}

fn words_of(phase: &Phase) -> String {
    match &phase.message {
        Some(message) => brief(&format!("{:?}: {message}", phase.kind)),
        None => format!("{:?} for {:.0} s", phase.kind, phase.seconds),
    }
}

fn ranks(engine: &EngineState, placed: &Placed, known: &FailureDetector) -> ObservedEngine {
    let planned: BTreeMap<u32, &str> = engine
        .plan
        .iter()
        .flat_map(|plan| &plan.ranks)
        .map(|slot| (slot.rank, slot.node_id.as_str()))
        .collect();
    let address = |id: &str| known.alive().find(|node| node.id.as_str() == id).map(|node| node.ip.clone());
    // A dashboard may list what it likes; what is shown is bounded by what was planned.
    let alive = placed
        .ranks
        .iter()
        .filter(|rank| rank.alive && (planned.is_empty() || planned.contains_key(&rank.rank)))
        .take(MOST_RANKS);
    let located = alive.filter_map(|rank| Some((rank, rank.node_id.as_ref()?.as_str())));
    let as_planned = located.clone().filter(|(rank, id)| planned.get(&rank.rank) == Some(id));
    // A rank that lives twice must not stand in for one that is missing.
    let as_planned: BTreeSet<u32> = as_planned.map(|(rank, _)| rank.rank).collect();
    ObservedEngine {
        ranks_placed: u32::try_from(as_planned.len()).unwrap_or(u32::MAX),
        ranks: located
            .map(|(rank, id)| ObservedRank {
                rank: rank.rank,
                data: rank.data_rank,
                tensor: rank.tensor_rank,
                stage: rank.stage,
                ip: address(id).unwrap_or_default(),
            })
            .collect(),
        differences: differences(placed),
        ..ObservedEngine::default()
    }
}

fn differences(placed: &Placed) -> Vec<String> {
    let mut reported: Vec<String> = placed
        .differences
        .iter()
        .take(MOST_DIFFERENCES)
        .map(|difference| brief(&difference.to_string()))
        .collect();
    if let Some(more) = placed.differences.len().checked_sub(MOST_DIFFERENCES).filter(|more| *more > 0) {
        reported.push(format!("and {more} more differences from the plan"));
    }
    reported
}

fn job(engine: &EngineState) -> ObservedJob {
    match engine.status {
        JobStatus::Pending => ObservedJob::Pending,
        JobStatus::Running | JobStatus::Unknown => ObservedJob::Running,
        JobStatus::Succeeded | JobStatus::Failed | JobStatus::Stopped => {
            let cause = engine.cause.as_deref().unwrap_or("no cause is known");
            ObservedJob::Ended(cut(cause, LONGEST_CAUSE))
        }
    }
}

#[cfg(test)]
mod tests;
