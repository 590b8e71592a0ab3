//! From a changed index to writes: look, check, decide, write the ledger, perform. Thin: the rules are in
//! `rayfleet-core`, the calls in the executor and the agents.

mod care;
mod deletion;
mod effects;
mod foreign_control;
mod foreign_owner;
mod foreign_pods;
mod listeners;
mod protect;
mod records;
mod state;
mod target_spec;
mod template_dry_run;
mod validation_cache;
mod write_failures;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{EngineRevision, GroupName, RayClusterFleet, RayClusterFleetStatus, ValidFleet};
use rayfleet_core::observed::ObservedGroup;
use rayfleet_core::{Decision, HoldReason, ReconcileInput, decide, max_write_delay};
use rayfleet_runtime::{Next, Queue, Reconciler, clock};
use tracing::{Span, info, info_span, warn};

use crate::agents::{Agents, Assignment, Engine, PollInterval, Submission};
use crate::kubernetes::{
    Executor, GroupPods, History, Index, Key, Model, Protected, Records, Snapshot, WriteError,
    foreign_pods_of, groups_of, orphans_of, owned_clusters,
};
use crate::metrics::Metrics;
use crate::refusal;
use effects::{Outcome, TOGETHER};
use foreign_control::ForeignControl;
use state::FleetState;
use target_spec::TargetSpec;
use template_dry_run::AdmittedTemplates;

/// Time until what others decide is tried again: KubeRay may have been upgraded, a Service removed.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// The controller of fleets.
pub(crate) struct FleetReconciler {
    index: Arc<Index>,
    executor: Executor,
    agents: Agents,
    metrics: Arc<Metrics>,
    admitted: AdmittedTemplates,
}

impl Reconciler for FleetReconciler {
    type Key = Key;
    type State = FleetState;
    /// What a pass waits for are answers of the API server. More of them at a time only wait longer (`docs/decisions.md`, 60).
    const PARALLEL: usize = 16;

    fn queue(&self) -> &Queue<Key> {
        &self.index.fleet_queue
    }

    fn span(key: &Key) -> Span {
        info_span!("reconcile", fleet = %key)
    }

    async fn reconcile(&self, key: &Key, state: &mut FleetState) -> Result<Next, WriteError> {
        if !self.index.read(|known| known.is_synced(&key.namespace)) {
            return Ok(Next::WhenMarked);
        }
        let known = || self.index.read(|known| known.fleets.get(key).cloned());
        // A fleet that was listed nowhere is not asked for: others' objects with its label may name any. For one without a status the
        // first write tells whether it has none by now, by a conflict: it needs the version that was read.
        if !state.is_fresh && known().is_some_and(|fleet| state.conflicted || !is_untouched(&fleet)) {
            self.executor.fresh_fleet(key).await?;
            state.is_fresh = true;
        }
        let Some(stored) = known() else {
            return Ok(Next::Gone);
        };
        let mut others = std::mem::take(&mut state.others);
        let wake = if stored.metadata.deletion_timestamp.is_some() {
            Box::pin(self.leave_among_others(&stored, &mut others, state)).await
        } else {
            Box::pin(self.among_others(&stored, &mut others, state)).await
        };
        state.is_fresh |= wake.is_ok();
        state.conflicted = wake.as_ref().is_err_and(WriteError::is_conflict);
        others.doubt |= matches!(wake, Err(WriteError::Dropped(..)));
        if state.conflicted {
            others.forget_answer();
        }
        state.others = others;
        wake.map(Next::from)
    }

    fn leads(&self) {
        self.index.unprotect_all();
        self.index.mark_all();
    }

    fn stopped(&self) {
        self.agents.stop_all();
    }

    fn measured(&self, key: &Key, took: Duration) {
        self.metrics.pass(key, took.as_secs_f64());
    }

    fn forgotten(&self, key: &Key) {
        self.agents.assign(key, Vec::new());
        self.index.unprotect(key);
        self.metrics.forget(key);
    }
}

impl FleetReconciler {
    /// A controller that has looked at nothing yet.
    pub(crate) fn new(index: Arc<Index>, executor: Executor, agents: Agents, metrics: Arc<Metrics>) -> Self {
        Self { index, executor, agents, metrics, admitted: AdmittedTemplates::default() }
    }

    /// Works on a fleet that is as its user and this program left it.
    async fn among_others(
        &self,
        stored: &Arc<RayClusterFleet>,
        others: &mut ForeignControl,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        // Of a spec that is new others are asked first.
        let generation = stored.metadata.generation.unwrap_or_default();
        let is_new = std::mem::replace(&mut state.generation, generation) != generation;
        if is_new && let Some(fleet) = state.checked.last_valid().cloned() {
            // Whoever wrote the spec may have dropped the ledger.
            let raw = others.restored(state.pending_status.overlay(readable(stored)));
            let held = Some(refusal::not_now("its spec is being checked"));
            self.close_gates_of_the_dead(&raw, &TargetSpec { fleet, held }).await;
        }
        if let Some(owner) = self.others(stored, others).await? {
            return self.keep_gates(stored, &owner, others).await;
        }
        let raw = others.restored(state.pending_status.overlay(readable(stored)));
        let wake = self.change(stored, raw, state).await?;
        self.remember(stored, others);
        Ok(wake.into_iter().chain(others.ask_again()).min())
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
        self.index.unprotect(&Key::of(stored));
        let before = raw.status.clone().unwrap_or_default();
        let now = clock::now();
        let status = refusal::status(held, &before, raw.metadata.generation, now);
        if status != before || stored.status.as_ref().is_some_and(|stored| !stored.unreadable.is_empty()) {
            self.executor.write_status(raw, status).await?;
            state.pending_status.forget();
            self.executor.record_event(raw, true, held.reason.as_str(), &held.message);
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
        let wanted = before.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
        let (mut observed, agents, capacity, stable) = self.index.read(|known| {
            let (observed, agents) = split(groups_of(known, &raw));
            let records = Records::of(&raw, &known.revisions);
            let stable = wanted.and_then(|wanted| state.checked.at(&records, &raw, wanted));
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
        // It has every node of the cluster, and what follows waits for the API server.
        drop(capacity);
        self.number(&basis.fleet, &mut decision.status);
        let dead =
            decision.effects.iter().filter(|effect| effect.ends_traffic_of_the_dead()).cloned().collect();
        self.together(&key, dead, &mut outcome).await;
        let write_due = self.enter(stored, &before, &decision, state).await?;
        raw.status = Some(decision.status.clone());
        self.metrics.fleet(&key, &decision.status, &decision.failures);
        self.executor.writer.may("look after engines")?;
        self.assign(&key, &basis.fleet, &decision.status.groups, &agents);
        for (name, _) in observed.iter().filter(|(_, observed)| observed.endpoint_ready == Some(true)) {
            self.agents.opened(&key.sibling(name.clone()));
        }
        let done = effects::ReconcilePass {
            raw: &raw,
            basis,
            stable: stable.as_deref(),
            groups: &decision.status.groups,
        };
        self.perform(&done, decision.effects, state, &mut outcome).await;
        let protected = protect::groups(&raw, &basis.fleet, &decision.status.groups, &observed);
        self.index.protect(&key, Protected { fleet: basis.fleet.clone(), groups: protected });
        if let Some(message) =
            state.foreign_pods.message(&self.index.read(|known| foreign_pods_of(known, &raw)))
        {
            self.executor.record_event(&raw, true, "StrayPods", &message);
        }
        outcome.result()?;
        let now = clock::monotonic();
        let again = state.obstacles.next(now).into_iter().chain(state.templates.next(now)).min();
        let again = again.map(|again| rayfleet_api::valid::after(clock::now(), again.duration_since(now)));
        // What is in the way now is reported at once.
        let reported = outcome.reports_changed.then(clock::now);
        Ok(decision.wake.into_iter().chain(write_due).chain(again).chain(reported).min())
    }

    /// Makes RayClusters the fleet's that are nobody's and were made for it: they may serve, and hold GPUs.
    async fn adopt_orphans(&self, raw: &RayClusterFleet, outcome: &mut Outcome) {
        let orphans = self.index.read(|known| orphans_of(known, raw));
        let calls = orphans.into_iter().map(|cluster| async move {
            info!(group = %cluster.name_any(), "adopting the RayCluster that has no owner");
            let adopted = self.executor.adopt_cluster(raw, &cluster).await;
            (cluster, adopted)
        });
        let mut calls = stream::iter(calls).buffer_unordered(TOGETHER);
        while let Some((cluster, adopted)) = calls.next().await {
            if let Err(error) = adopted {
                let (name, words) = (cluster.name_any(), error.words());
                let message = format!("RayCluster {name} has no owner and cannot be adopted: {words}");
                self.executor.record_event(raw, true, "AdoptFailed", &message);
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
            if !dropped && let Some(due) = state.pending_status.defer(stored, next.clone(), wait, now) {
                let rest = due.saturating_duration_since(now);
                return Ok(Some(rayfleet_api::valid::after(clock::now(), rest)));
            }
            self.executor.write_status(stored, next.clone()).await?;
            self.mended(stored);
        }
        state.pending_status.forget();
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
            warn!(what = %message, "the status had fields that cannot be read");
            self.executor.record_event(stored, true, "StatusUnreadable", &message);
        }
    }

    /// Enters the number of the revision that the rollout goes to.
    fn number(&self, fleet: &ValidFleet, status: &mut RayClusterFleetStatus) {
        if let Some(rollout) = &mut status.rollout {
            let number = self.index.read(|known| History::new(fleet, &known.revisions).number(&rollout.to));
            rollout.revision_number = number.or(rollout.revision_number);
        }
    }

    fn assign(
        &self,
        fleet_key: &Key,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        agents: &BTreeMap<GroupName, GroupPods>,
    ) {
        let ports = self.engine_ports(fleet, groups);
        let assignments = groups.iter().filter_map(|group| {
            let engine = engine(fleet, group, agents.get(&group.name)?, &ports)?;
            let pods = agents.get(&group.name)?.clone();
            let (name, pace) = (group.name.clone(), PollInterval::of(group.phase));
            Some(Assignment { group: fleet_key.sibling(name), pods, engine, pace })
        });
        self.agents.assign(fleet_key, assignments.collect());
    }

    /// The model block of an engine revision: the fleet's own, or one of the history, as engines that run may have.
    fn model(&self, fleet: &ValidFleet, revision: &EngineRevision) -> Option<Model> {
        self.index.read(|known| History::new(fleet, &known.revisions).model(revision))
    }
}

/// What a group runs, by its entry: the fleet may ask for another kind of engine by now.
fn engine(
    fleet: &ValidFleet,
    group: &GroupStatus,
    pods: &GroupPods,
    ports: &BTreeMap<EngineRevision, u16>,
) -> Option<Engine> {
    let Some(revision) = &group.engine_revision else {
        let older = fleet.model.is_some() || group.revision != fleet.revision.pod;
        return Some(Engine::Own { port: pods.own_port.filter(|_| older).or(fleet.own_engine_port) });
    };
    let submission = Submission::of(group.launch_id()).ok()?;
    Some(Engine::Launched { submission, port: *ports.get(revision)? })
}

/// Nobody has decided anything about this fleet yet, as far as this replica knows.
fn is_untouched(fleet: &RayClusterFleet) -> bool {
    fleet.status.is_none() && fleet.metadata.deletion_timestamp.is_none()
}

/// The fleet as far as it can be read. What could not be read of its status is reported once it has been written again.
fn readable(stored: &RayClusterFleet) -> RayClusterFleet {
    let mut raw = stored.clone();
    if let Some(status) = &mut raw.status {
        status.unreadable.clear();
    }
    raw
}

fn split(
    groups: BTreeMap<GroupName, (ObservedGroup, GroupPods)>,
) -> (BTreeMap<GroupName, ObservedGroup>, BTreeMap<GroupName, GroupPods>) {
    groups.into_iter().map(|(name, (group, pods))| ((name.clone(), group), (name, pods))).unzip()
}

#[cfg(test)]
mod tests;
