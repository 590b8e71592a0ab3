//! From a changed index to writes: look, check, decide, write the ledger, perform. Thin: the rules are in
//! `rayfleet-core`, the calls in the executor and the agents.

mod care;
mod deletion;
mod effects;
mod foreign_control;
mod foreign_owner;
mod listeners;
mod protect;
mod records;
mod state;
mod strays;
mod target_spec;
mod template_dry_run;
mod validation_cache;
mod write_failures;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use ray_bridge::SubmissionId;
use rayfleet_api::revision::Revision;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet};
use rayfleet_core::observed::ObservedGroup;
use rayfleet_core::{Decision, HoldReason, ReconcileInput, decide, max_write_delay};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use crate::agents::{Agents, Assignment, Engine, PollInterval};
use crate::clock;
use crate::kubernetes::{
    Executor, GroupPods, History, Index, Key, Model, Orphan, Records, Snapshot, WriteError, groups_of,
    orphans_of, owned_clusters, strays_of,
};
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::refusal;
use effects::{Outcome, TOGETHER};
use foreign_control::ForeignControl;
use state::{FleetState, States};
use target_spec::TargetSpec;

/// Fleets that are looked at at the same time.
const PARALLEL: usize = 16;
/// Time until what others decide is tried again: KubeRay may have been upgraded, a Service removed.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// The controller.
pub(crate) struct Controller {
    index: Arc<Index>,
    executor: Executor,
    agents: Agents,
    metrics: Arc<Metrics>,
    /// What is remembered of each fleet.
    states: States,
}

/// What a pass comes to.
enum Passed {
    /// Look again then.
    Again(Option<Timestamp>),
    /// The fleet is not there any more.
    Gone,
}

impl Controller {
    /// A controller that has looked at nothing yet.
    pub(crate) fn new(index: Arc<Index>, executor: Executor, agents: Agents, metrics: Arc<Metrics>) -> Self {
        Self { index, executor, agents, metrics, states: States::default() }
    }

    /// Works while this replica leads. Looks, agents and events end with this future.
    pub(crate) async fn run(self: Arc<Self>, mut leadership: Leadership) {
        let _agents = UntilDropped(&self.agents);
        let mut events = JoinSet::new();
        events.spawn(self.executor.clone().write_events());
        let mut turns = JoinSet::new();
        loop {
            leadership.gained().await;
            self.states.clear();
            self.index.mark_all();
            let mut lost = leadership.clone();
            loop {
                let has_room = turns.len() < PARALLEL;
                let key = tokio::select! {
                    // A lost lease comes before all. Looks that are over make room for the next ones.
                    biased;
                    () = lost.lost() => break,
                    Some(ended) = turns.join_next() => {
                        reported_if_wrong(ended);
                        continue;
                    }
                    key = self.index.queue.next(clock::monotonic), if has_room => key,
                };
                let this = self.clone();
                turns.spawn(async move { this.turn(&key).await });
            }
            self.agents.stop_all();
            // Looks that were under way end at their next call; until then they may start agents.
            while let Some(ended) = turns.join_next().await {
                reported_if_wrong(ended);
            }
            self.agents.stop_all();
        }
    }

    /// One look at one fleet, whatever comes of it. One that panics is taken again with growing waits, from nothing remembered.
    async fn turn(&self, key: &Key) {
        let started = clock::monotonic();
        let mut state = self.states.take(key);
        let outcome = AssertUnwindSafe(Box::pin(self.pass(key, &mut state))).catch_unwind().await;
        let took = clock::monotonic().saturating_duration_since(started);
        self.metrics.pass(&key.namespace, &key.name, took.as_secs_f64());
        let outcome = match outcome {
            Ok(outcome) => {
                if matches!(outcome, Ok(Passed::Gone)) {
                    self.metrics.forget(&key.namespace, &key.name);
                } else {
                    self.states.put(key, state);
                }
                outcome
            }
            Err(panic) => {
                self.metrics.panics.inc();
                let cause = words_of(&*panic);
                error!(fleet = %key, cause, "a look at a fleet panicked: this is a bug in Rayfleet; it is taken again");
                self.index.queue.done(key, Err(clock::monotonic()));
                return;
            }
        };
        let outcome = match outcome {
            Ok(Passed::Gone | Passed::Again(None)) => Ok(None),
            Ok(Passed::Again(Some(wake))) => Ok(Some(instant_of(wake, clock::now(), clock::monotonic()))),
            Err(error) => {
                if error.is_conflict() {
                    debug!(fleet = %key, %error, "the object changed meanwhile; looking again");
                } else {
                    warn!(fleet = %key, %error, "a look ended early; it is taken again");
                }
                Err(clock::monotonic())
            }
        };
        self.index.queue.done(key, outcome);
    }

    async fn pass(&self, key: &Key, state: &mut FleetState) -> Result<Passed, WriteError> {
        if !self.index.read(|known| known.is_synced(&key.namespace)) {
            return Ok(Passed::Again(None));
        }
        let known = || self.index.read(|known| known.fleets.get(key).cloned());
        // A fleet that was listed nowhere is not asked for: others' objects with its label may name any.
        if !state.is_fresh && known().is_some() {
            self.executor.fresh_fleet(key).await?;
            state.is_fresh = true;
        }
        let Some(stored) = known() else {
            self.agents.assign(key, Vec::new());
            return Ok(Passed::Gone);
        };
        let mut others = std::mem::take(&mut state.others);
        if stored.metadata.deletion_timestamp.is_some() {
            let outcome = Box::pin(self.leave_among_others(&stored, &mut others, state)).await;
            others.doubt |= matches!(outcome, Err(WriteError::Dropped(_)));
            state.others = others;
            return outcome.map(Passed::Again);
        }
        let outcome = Box::pin(self.among_others(&stored, &mut others, state)).await;
        others.doubt |= matches!(outcome, Err(WriteError::Dropped(_)));
        state.others = others;
        outcome.map(Passed::Again)
    }

    /// Works on a fleet that is as its user and this program left it.
    async fn among_others(
        &self,
        stored: &Arc<RayClusterFleet>,
        others: &mut ForeignControl,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        // Of a spec that is new others are asked first.
        let is_new = state.generation.replace(stored.metadata.generation) != Some(stored.metadata.generation);
        if is_new && let Some(fleet) = state.checked.last_valid().cloned() {
            let raw = state.unwritten.overlay(readable(stored));
            let held = Some(refusal::not_now("its spec is being checked"));
            self.close_gates_of_the_dead(&raw, &TargetSpec { fleet, held }).await;
        }
        if let Some(hands) = self.others(stored, others).await? {
            return self.look_on(stored, &hands, others).await;
        }
        let raw = others.restored(state.unwritten.overlay(readable(stored)));
        let wake = self.change(stored, raw, state).await?;
        self.remember(stored, others);
        Ok(wake)
    }

    /// Works on a fleet that nobody else works on.
    async fn change(
        &self,
        stored: &Arc<RayClusterFleet>,
        raw: RayClusterFleet,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        match self.basis(&raw, state).await? {
            Ok(_) if self.hold(stored, state).await? => Ok(None),
            Ok(basis) => Box::pin(self.work(stored, raw, &basis, state)).await,
            Err(held) => self.refuse(stored, &raw, &held, state).await,
        }
    }

    /// Keeps in mind how a pass leaves the fleet.
    fn remember(&self, began: &Arc<RayClusterFleet>, others: &mut ForeignControl) {
        let ended = self.index.read(|known| {
            let ended = known.fleets.get(&Key::of(&**began))?;
            Some((ended.clone(), !owned_clusters(known, began).is_empty()))
        });
        if let Some((ended, owns)) = ended {
            others.remember(began, &ended, owns);
        }
    }

    /// Nothing valid is known of the fleet, so nothing can be decided about it.
    async fn refuse(
        &self,
        stored: &RayClusterFleet,
        raw: &RayClusterFleet,
        held: &HoldReason,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        let before = raw.status.clone().unwrap_or_default();
        let now = clock::now();
        let status = refusal::status(held, &before, raw.metadata.generation, now);
        if status != before || stored.status.as_ref().is_some_and(|stored| !stored.unreadable.is_empty()) {
            self.executor.write_status(raw, status).await?;
            state.unwritten.forget();
            self.executor.tell(raw, true, held.reason.as_str(), &held.message);
            self.mended(stored);
        }
        Ok(Some(rayfleet_api::valid::after(now, TRY_AGAIN)))
    }

    /// Decides about a fleet, and does it. `raw` goes by what is decided, `stored` by what is written.
    async fn work(
        &self,
        stored: &RayClusterFleet,
        mut raw: RayClusterFleet,
        basis: &TargetSpec,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        let key = Key::of(&raw);
        let mut outcome = Outcome::default();
        self.adopt_orphans(&raw, &mut outcome).await;
        let before = raw.status.clone().unwrap_or_default();
        let wanted = before.rollout.as_ref().and_then(|rollout| rollout.stable.as_deref()).map(revision_of);
        let (mut observed, agents, capacity, stable) = self.index.read(|known| {
            let (observed, agents) = split(groups_of(known, &raw));
            let records = Records::of(&raw, &known.revisions);
            let stable = wanted.as_ref().and_then(|wanted| state.checked.at(&records, &raw, wanted));
            (observed, agents, Snapshot::of(known, &basis.fleet), stable)
        });
        state.obstacles.enter(&mut observed);
        let failed_writes = state.obstacles.beside_groups();
        let world = ReconcileInput {
            fleet: &basis.fleet,
            stable: stable.as_deref(),
            held: basis.held.as_ref(),
            failed_writes: &failed_writes,
            status: &before,
            groups: &observed,
            capacity: capacity.as_ref().map(|capacity| capacity as _),
            now: clock::now(),
        };
        let mut decision = decide(&world);
        self.number(&basis.fleet, &mut decision.status);
        let dead =
            decision.effects.iter().filter(|effect| effect.ends_traffic_of_the_dead()).cloned().collect();
        self.gates(&key, dead, &mut outcome).await;
        let unwritten = self.enter(stored, &before, &decision, state).await?;
        raw.status = Some(decision.status.clone());
        self.metrics.fleet(&key.namespace, &key.name, &decision.status, &decision.failures);
        self.executor.may("look after engines")?;
        // Before RayClusters were listed nobody knows with which token an agent has to ask.
        if self.index.read(|known| known.lists_clusters(&key.namespace)) {
            self.assign(&key, &basis.fleet, &decision.status.groups, &agents);
        }
        for (name, _) in observed.iter().filter(|(_, observed)| observed.endpoint_ready == Some(true)) {
            self.agents.opened(&key.sibling(name));
        }
        let done = effects::ReconcilePass {
            raw: &raw,
            basis,
            stable: stable.as_deref(),
            groups: &decision.status.groups,
        };
        self.perform(&done, decision.effects, state, &mut outcome).await;
        self.protect(&raw, &basis.fleet, &decision.status.groups, &observed, state).await;
        if let Some(message) = state.strays.message(&self.index.read(|known| strays_of(known, &raw))) {
            self.executor.tell(&raw, true, "StrayPods", &message);
        }
        outcome.result()?;
        let now = clock::monotonic();
        let again = state.obstacles.next(now).into_iter().chain(state.templates.next(now)).min();
        let again = again.map(|again| rayfleet_api::valid::after(clock::now(), again.duration_since(now)));
        // What is in the way now is reported at once.
        let reported = outcome.is_news.then(clock::now);
        Ok(decision.wake.into_iter().chain(unwritten).chain(again).chain(reported).min())
    }

    /// Makes RayClusters the fleet's that are nobody's and were made for it: they may serve, and hold GPUs.
    async fn adopt_orphans(&self, raw: &RayClusterFleet, outcome: &mut Outcome) {
        let orphans = self.index.read(|known| orphans_of(known, raw));
        let calls = orphans.into_iter().map(|Orphan { key, uid, version }| async move {
            info!(fleet = %Key::of(raw), group = %key.name, "adopting the RayCluster that has no owner");
            let adopted = self.executor.adopt_cluster(raw, &key, &uid, &version).await;
            (key, adopted)
        });
        let mut calls = stream::iter(calls).buffer_unordered(TOGETHER);
        while let Some((key, adopted)) = calls.next().await {
            if let Err(error) = adopted {
                let message =
                    format!("RayCluster {} has no owner and cannot be adopted: {}", key.name, error.words());
                self.executor.tell(raw, true, "AdoptFailed", &message);
                outcome.failed(error);
            }
        }
    }

    /// Writes the status that was decided, or gives the time by which it has to be.
    async fn enter(
        &self,
        stored: &RayClusterFleet,
        before: &RayClusterFleetStatus,
        decision: &Decision,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        let next = &decision.status;
        if stored.status.as_ref() != Some(next) {
            let now = clock::monotonic();
            let written = stored.status.clone().unwrap_or_default();
            // A ledger that somebody dropped is in memory alone.
            let dropped = written.groups.is_empty() && !before.groups.is_empty();
            let wait = max_write_delay(&written, before, next, &decision.effects);
            if !dropped && let Some(due) = state.unwritten.defer(stored, next.clone(), wait, now) {
                let rest = due.saturating_duration_since(now);
                return Ok(Some(rayfleet_api::valid::after(clock::now(), rest)));
            }
            self.executor.write_status(stored, next.clone()).await?;
            self.mended(stored);
        }
        state.unwritten.forget();
        Ok(None)
    }

    /// A status was written in the place of one that had fields which cannot be read.
    fn mended(&self, stored: &RayClusterFleet) {
        let odd: Vec<String> =
            stored.status.iter().flat_map(|status| &status.unreadable).map(ToString::to_string).collect();
        if !odd.is_empty() {
            let message = format!(
                "{}; written again without that: only Rayfleet may write the status of a fleet, see who else has the right to",
                odd.join("; ")
            );
            warn!(fleet = %Key::of(stored), what = %message, "the status had fields that cannot be read");
            self.executor.tell(stored, true, "StatusUnreadable", &message);
        }
    }

    /// Enters the number of the revision that the rollout goes to.
    fn number(&self, fleet: &ValidFleet, status: &mut RayClusterFleetStatus) {
        if let Some(rollout) = &mut status.rollout {
            let to = revision_of(&rollout.to);
            let number = self.index.read(|known| History::new(fleet, &known.revisions).number(&to));
            rollout.revision_number = number.or(rollout.revision_number);
        }
    }

    fn assign(
        &self,
        fleet_key: &Key,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        agents: &BTreeMap<String, GroupPods>,
    ) {
        let assignments = groups.iter().filter_map(|group| {
            let engine = self.engine(fleet, group, agents.get(&group.name)?)?;
            let pace = if group.phase == Phase::Ready { PollInterval::Steady } else { PollInterval::Quick };
            let pods = agents.get(&group.name)?.clone();
            Some(Assignment { group: fleet_key.sibling(&group.name), pods, engine, pace })
        });
        self.agents.assign(fleet_key, assignments.collect());
    }

    /// What a group runs, by its entry: the fleet may ask for another kind of engine by now.
    fn engine(&self, fleet: &ValidFleet, group: &GroupStatus, pods: &GroupPods) -> Option<Engine> {
        let Some(revision) = group.engine_revision.as_deref() else {
            let older = fleet.model.is_some() || group.revision != fleet.revision.pod;
            return Some(Engine::Own { port: pods.own_port.filter(|_| older).or(fleet.own_engine_port) });
        };
        let submission = SubmissionId::new(group.launch_id().to_string()).ok()?;
        Some(Engine::Launched { submission, port: self.model(fleet, Some(revision))?.port })
    }

    /// The model block of an engine revision: the fleet's own, or one of the history, as engines that run may have.
    fn model(&self, fleet: &ValidFleet, revision: Option<&str>) -> Option<Model> {
        self.index.read(|known| History::new(fleet, &known.revisions).model(revision?))
    }
}

/// Ends all agents when it is dropped.
struct UntilDropped<'a>(&'a Agents);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.stop_all();
    }
}

fn reported_if_wrong(ended: Result<(), JoinError>) {
    if let Err(wrong) = ended {
        error!(%wrong, "the task of a look at a fleet broke off: this is a bug in Rayfleet");
    }
}

/// What a panic says of itself.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

/// The fleet as far as it can be read. What could not be read of its status is reported once it has been written again.
fn readable(stored: &RayClusterFleet) -> RayClusterFleet {
    let mut raw = stored.clone();
    if let Some(status) = &mut raw.status {
        status.unreadable.clear();
    }
    raw
}

/// A revision as the status has it.
fn revision_of(text: &str) -> Revision {
    let Ok(revision) = text.parse();
    revision
}

fn split(
    groups: BTreeMap<String, (ObservedGroup, GroupPods)>,
) -> (BTreeMap<String, ObservedGroup>, BTreeMap<String, GroupPods>) {
    let mut observed = BTreeMap::new();
    let mut pods = BTreeMap::new();
    for (name, (group, of)) in groups {
        observed.insert(name.clone(), group);
        pods.insert(name, of);
    }
    (observed, pods)
}

/// The monotonic moment of a time of day, given both clocks at one moment. What is over is now.
fn instant_of(when: Timestamp, now: Timestamp, monotonic: Instant) -> Instant {
    let wait = Duration::try_from(when.duration_since(now)).unwrap_or_default();
    monotonic.checked_add(wait).unwrap_or(monotonic)
}

#[cfg(test)]
mod tests;
