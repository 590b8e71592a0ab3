//! From a changed index to writes: look, check, decide, write the ledger, perform. Thin: the rules are in
//! `rayfleet-core`, the calls in the executor and the agents.

mod checked;
mod listeners;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rayfleet_api::revision::Revision;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, ValidFleet};
use rayfleet_core::seen::GroupSeen;
use rayfleet_core::{Decision, Effect, World, decide, may_wait};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use crate::agents::{Agents, Assignment, Command, Engine, Launch, Pace};
use crate::clock;
use crate::cluster::{
    Executor, Gate, GroupPods, History, Index, Key, KubeRay, Model, Snapshot, WriteError, groups_of,
};
use crate::engines;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::unwritten::Unwritten;
use checked::Checked;
use templates::Templates;

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
    /// Fleets whose ledger has been read from the API server itself since this replica leads.
    fresh: Mutex<BTreeSet<Key>>,
    /// Statuses that wait for a write.
    unwritten: Unwritten,
    /// Templates that KubeRay's CRD was asked about.
    templates: Templates,
    /// Fleets as they were checked.
    checked: Checked,
    /// Fleets whose Service's name somebody else has, and when that was found.
    taken: Mutex<BTreeMap<Key, Instant>>,
}

impl Controller {
    /// A controller that has looked at nothing yet.
    pub(crate) fn new(index: Arc<Index>, executor: Executor, agents: Agents, metrics: Arc<Metrics>) -> Self {
        Self {
            index,
            executor,
            agents,
            metrics,
            fresh: Mutex::default(),
            unwritten: Unwritten::default(),
            templates: Templates::default(),
            checked: Checked::default(),
            taken: Mutex::default(),
        }
    }

    /// Works while this replica leads. Looks and agents end with this future.
    pub(crate) async fn run(self: Arc<Self>, mut leadership: Leadership) {
        let _agents = UntilDropped(&self.agents);
        let mut turns = JoinSet::new();
        loop {
            leadership.gained().await;
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.unwritten.clear();
            self.index.mark_all();
            let mut lost = leadership.clone();
            loop {
                let has_room = turns.len() < PARALLEL;
                let key = tokio::select! {
                    // A lost lease comes before all. Looks that are over make room for the next ones.
                    biased;
                    () = lost.lost() => break,
                    Some(ended) = turns.join_next() => {
                        told_if_wrong(ended);
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
                told_if_wrong(ended);
            }
            self.agents.stop_all();
        }
    }

    async fn turn(&self, key: &Key) {
        let started = clock::monotonic();
        let outcome = Box::pin(self.pass(key)).await;
        let took = clock::monotonic().saturating_duration_since(started);
        self.metrics.pass(&key.namespace, &key.name, took.as_secs_f64());
        let outcome = match outcome {
            Ok(wake) => Ok(wake.map(|wake| instant_of(wake, clock::now(), clock::monotonic()))),
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

    /// One look at one fleet.
    async fn pass(&self, key: &Key) -> Result<Option<Timestamp>, WriteError> {
        if !self.index.read(crate::cluster::Known::is_synced) {
            return Ok(None);
        }
        if !self.is_fresh(key) {
            self.executor.fresh_fleet(key).await?;
            self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        }
        let Some(stored) = self.index.read(|known| known.fleets.get(key).cloned()) else {
            self.forget(key);
            return Ok(None);
        };
        let raw = self.unwritten.over(key, RayClusterFleet::clone(&stored));
        let fleet = match self.check(&raw).await? {
            Ok(fleet) => fleet,
            Err(refusal) => return self.refuse(&raw, &refusal).await,
        };
        if fleet.deleting {
            return Ok(None);
        }
        Box::pin(self.work(&stored, raw, &fleet)).await
    }

    fn is_fresh(&self, key: &Key) -> bool {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn forget(&self, key: &Key) {
        self.agents.assign(key, Vec::new());
        self.metrics.forget(&key.namespace, &key.name);
        self.unwritten.forget(key);
        self.templates.forget(key);
        self.checked.forget(key);
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Whether the fleet can be worked on.
    async fn check(&self, raw: &RayClusterFleet) -> Result<Result<Arc<ValidFleet>, Refusal>, WriteError> {
        let fleet = match self.checked.fleet(raw) {
            Ok(fleet) => fleet,
            Err(problems) => return Ok(Err(Refusal::invalid(&problems))),
        };
        let problems = fleet.model.as_ref().map(engines::check).unwrap_or_default();
        if !problems.is_empty() {
            return Ok(Err(Refusal::invalid(&problems)));
        }
        if let KubeRay::Missing(words) = self.index.read(|known| known.kuberay.clone()) {
            return Ok(Err(Refusal::no_kuberay(&words)));
        }
        if fleet.deleting {
            return Ok(Ok(fleet));
        }
        let refused = self.templates.objection(&self.executor, &fleet).await?;
        Ok(refused.map_or(Ok(fleet), |words| Err(Refusal::template(&words))))
    }

    async fn refuse(
        &self,
        raw: &RayClusterFleet,
        refusal: &Refusal,
    ) -> Result<Option<Timestamp>, WriteError> {
        let before = raw.status.clone().unwrap_or_default();
        let now = clock::now();
        let status = refusal.status(&before, raw.metadata.generation, now);
        if status != before {
            self.executor.write_status(raw, status).await?;
            self.unwritten.forget(&Key::of(raw));
            self.executor.tell(raw, true, refusal.reason, &refusal.message).await;
        }
        Ok(Some(rayfleet_api::valid::after(now, TRY_AGAIN)))
    }

    /// Decides about a fleet that can be worked on, and does it. `raw` goes by what is decided, `stored` by what is written.
    async fn work(
        &self,
        stored: &RayClusterFleet,
        mut raw: RayClusterFleet,
        fleet: &Arc<ValidFleet>,
    ) -> Result<Option<Timestamp>, WriteError> {
        let key = Key::of(&raw);
        let before = raw.status.clone().unwrap_or_default();
        let wanted = before.rollout.as_ref().and_then(|rollout| rollout.stable.as_deref()).map(revision_of);
        let (seen, agents, capacity, stable) = self.index.read(|known| {
            let groups = groups_of(known, &raw);
            let (seen, agents) = split(groups);
            let history = History::new(fleet, &known.revisions);
            let stable = wanted.as_ref().and_then(|wanted| self.checked.at(&history, &raw, fleet, wanted));
            (seen, agents, Snapshot::of(known, &key.namespace), stable)
        });
        let stable = stable.as_deref();
        let world = World {
            fleet,
            stable,
            status: &before,
            groups: &seen,
            capacity: Some(&capacity),
            now: clock::now(),
        };
        let mut decision = decide(&world);
        self.number(fleet, &mut decision.status);
        let unwritten = self.enter(stored, &before, &decision).await?;
        raw.status = Some(decision.status.clone());
        self.metrics.fleet(&key.namespace, &key.name, &decision.status);
        self.executor.may("look after engines")?;
        self.assign(&key, fleet, &decision.status.groups, &agents);
        for (name, _) in seen.iter().filter(|(_, seen)| seen.endpoint_ready == Some(true)) {
            self.agents.opened(&key.sibling(name));
        }
        self.records(&raw, fleet, stable, &decision.status).await?;
        let mut first_error = None;
        for effect in decision.effects {
            // A group is made of the template that its entry names.
            let of = stable.filter(|stable| made_of(stable, &effect)).unwrap_or(fleet);
            if let Err(failed) = self.perform(&raw, of, &decision.status.groups, effect).await {
                error!(fleet = %key, error = %failed, "an effect failed; it is decided anew");
                first_error.get_or_insert(failed);
            }
        }
        first_error.map_or(Ok(decision.wake.into_iter().chain(unwritten).min()), Err)
    }

    /// Writes the status that was decided, or gives the time by which it has to be.
    async fn enter(
        &self,
        stored: &RayClusterFleet,
        before: &RayClusterFleetStatus,
        decision: &Decision,
    ) -> Result<Option<Timestamp>, WriteError> {
        let (key, next) = (Key::of(stored), &decision.status);
        if stored.status.as_ref() != Some(next) {
            let now = clock::monotonic();
            let written = stored.status.clone().unwrap_or_default();
            let wait = may_wait(&written, before, next, &decision.effects);
            if let Some(due) = self.unwritten.keep(stored, next.clone(), wait, now) {
                let rest = due.saturating_duration_since(now);
                return Ok(Some(rayfleet_api::valid::after(clock::now(), rest)));
            }
            self.executor.write_status(stored, next.clone()).await?;
        }
        self.unwritten.forget(&key);
        Ok(None)
    }

    /// Enters the number of the revision that the rollout goes to.
    fn number(&self, fleet: &ValidFleet, status: &mut RayClusterFleetStatus) {
        if let Some(rollout) = &mut status.rollout {
            let to = revision_of(&rollout.to);
            let number = self.index.read(|known| History::new(fleet, &known.revisions).number(&to));
            rollout.revision_number = number.or(rollout.revision_number);
        }
    }

    /// Keeps the history and the Service right.
    async fn records(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        stable: Option<&ValidFleet>,
        status: &RayClusterFleetStatus,
    ) -> Result<(), WriteError> {
        let run = status
            .groups
            .iter()
            .map(|group| Revision { pod: group.revision.clone(), engine: group.engine_revision.clone() });
        // What a partition keeps and a rollback goes back to.
        let proven = status.rollout.as_ref().and_then(|rollout| rollout.stable.as_deref()).map(revision_of);
        let in_use: Vec<Revision> = run.chain(proven).collect();
        let change = self.index.read(|known| History::new(fleet, &known.revisions).change(raw, &in_use));
        self.executor.write_history(&fleet.namespace, change).await?;
        self.service(raw, fleet, stable, status).await
    }

    /// Keeps the Service right; one of somebody else is looked at again once in a while.
    async fn service(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        stable: Option<&ValidFleet>,
        status: &RayClusterFleetStatus,
    ) -> Result<(), WriteError> {
        let (key, now) = (Key::of(raw), clock::monotonic());
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if taken.is_some_and(|found| now.saturating_duration_since(found) < TRY_AGAIN) {
            return Ok(());
        }
        let heads = self.listeners(fleet, &status.groups);
        let going_to = listeners::going_to(fleet, stable, status);
        if let Some(foreign) = self.executor.ensure_service(fleet, &heads, going_to).await? {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
            let message = format!(
                "Service {foreign} is there already and not this fleet's: it is left alone; \
                 delete or rename it to let Rayfleet make its own"
            );
            self.executor.tell(raw, true, "ServiceExists", &message).await;
        }
        Ok(())
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
            let pace = if group.phase == Phase::Ready { Pace::Steady } else { Pace::Quick };
            let pods = agents.get(&group.name)?.clone();
            Some(Assignment { group: fleet_key.sibling(&group.name), pods, engine, pace })
        });
        self.agents.assign(fleet_key, assignments.collect());
    }

    /// What a group runs, by its entry: the fleet may ask for another kind of engine by now.
    fn engine(&self, fleet: &ValidFleet, group: &GroupStatus, pods: &GroupPods) -> Option<Engine> {
        if group.engine_revision.is_none() {
            let older = fleet.model.is_some() || group.revision != fleet.revision.pod;
            return Some(Engine::Own { port: pods.own_port.filter(|_| older).or(fleet.own_engine_port) });
        }
        let model = self.model(fleet, group)?;
        let shape = engines::shape(&model).ok()?;
        Some(Engine::Launched { submission: engines::submission(group)?, port: model.port, shape })
    }

    /// The model block of the engine revision that a group runs.
    fn model(&self, fleet: &ValidFleet, group: &GroupStatus) -> Option<Model> {
        let revision = group.engine_revision.as_deref()?;
        self.index.read(|known| History::new(fleet, &known.revisions).model(revision))
    }

    async fn perform(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        effect: Effect,
    ) -> Result<(), WriteError> {
        let key = Key::of(raw);
        // Commands to engines are no calls to the API server, but the lease is for them, too.
        self.executor.may("perform an effect")?;
        let group_of = |name: &str| groups.iter().find(|group| group.name == name);
        match effect {
            Effect::CreateCluster { group } => self.create(raw, fleet, groups, &group).await?,
            Effect::DeleteCluster { name, uid, resource_version, reason } => {
                info!(fleet = %key, group = %name, %reason, "deleting the RayCluster");
                self.executor.delete_cluster(&key.sibling(name), uid, resource_version).await?;
            }
            Effect::SetGate { group, pod, pod_uid, open, launch, reason } => {
                info!(fleet = %key, %group, %pod, open, reason, "setting the serving gate");
                let gate = Gate { open, launch: &launch, reason };
                self.executor.set_gate(&key.sibling(pod), &pod_uid, gate).await?;
            }
            Effect::LaunchEngine { group, submission } => {
                if let Some(entry) = group_of(&group) {
                    self.launch(raw, fleet, entry, &submission).await;
                }
            }
            Effect::SetDraining { group, draining } => {
                self.agents.command(&key.sibling(group), Command::SetDraining(draining));
            }
            Effect::StopEngine { group, submission } => {
                if let Ok(submission) = ray_bridge::SubmissionId::new(submission) {
                    self.agents.command(&key.sibling(group), Command::Stop(submission));
                }
            }
            Effect::Probe { group, submission } => {
                let model = group_of(&group).and_then(|entry| self.model(fleet, entry));
                if let (Some(model), Ok(submission)) = (model, ray_bridge::SubmissionId::new(submission)) {
                    let probe = Box::new(engines::probe(&model));
                    self.agents.command(&key.sibling(group), Command::Probe(submission, probe));
                }
            }
            Effect::Event { warning, reason, message } => {
                info!(fleet = %key, reason, %message, "event");
                self.executor.tell(raw, warning, reason, &message).await;
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        group: &GroupStatus,
    ) -> Result<(), WriteError> {
        info!(fleet = %fleet.name, group = %group.name, "creating the RayCluster");
        let port_name = self.shared_port_name(fleet, groups, group);
        let created = self.executor.create_cluster(fleet, group, port_name.as_deref()).await;
        if let Err(failed) = &created
            && let Some(words) = failed.rejected()
        {
            let message = format!("RayCluster {}: the API server refuses it: {words}", group.name);
            self.executor.tell(raw, true, "CreateFailed", &message).await;
        }
        created
    }

    async fn launch(&self, raw: &RayClusterFleet, fleet: &ValidFleet, group: &GroupStatus, submission: &str) {
        let name = ray_bridge::SubmissionId::new(submission).map_err(|error| error.to_string());
        let Some(model) = self.model(fleet, group) else {
            let message = format!(
                "group {}: the model block of its engine revision {} is no longer in the history: \
                 raise spec.revisionHistoryLimit; the group is replaced by the current revision",
                group.name,
                group.engine_revision.as_deref().unwrap_or_default()
            );
            self.executor.tell(raw, true, "RevisionLost", &message).await;
            return;
        };
        match name.and_then(|name| engines::spec(name, &model)) {
            Ok(spec) => {
                let key = Key::new(&fleet.namespace, &group.name);
                self.agents.command(
                    &key,
                    Command::Launch(Box::new(Launch { spec, policy: engines::policy(&model) })),
                );
            }
            Err(cause) => warn!(group = %group.name, %cause, "the engine can not be launched"),
        }
    }
}

/// Ends all agents when it is dropped.
struct UntilDropped<'a>(&'a Agents);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.stop_all();
    }
}

fn told_if_wrong(ended: Result<(), JoinError>) {
    if let Err(wrong) = ended {
        error!(%wrong, "a look at a fleet broke off: this is a bug in Rayfleet; the fleet is left alone until a restart");
    }
}

/// A revision as the status has it.
fn revision_of(text: &str) -> Revision {
    let Ok(revision) = text.parse();
    revision
}

/// Whether an effect makes a group of this fleet's template.
fn made_of(fleet: &ValidFleet, effect: &Effect) -> bool {
    // One template may be there with a model and without.
    let of = |group: &GroupStatus| {
        group.revision == fleet.revision.pod && group.engine_revision.is_some() == fleet.model.is_some()
    };
    matches!(effect, Effect::CreateCluster { group } if of(group))
}

fn split(
    groups: BTreeMap<String, (GroupSeen, GroupPods)>,
) -> (BTreeMap<String, GroupSeen>, BTreeMap<String, GroupPods>) {
    let mut seen = BTreeMap::new();
    let mut pods = BTreeMap::new();
    for (name, (group, of)) in groups {
        seen.insert(name.clone(), group);
        pods.insert(name, of);
    }
    (seen, pods)
}

/// The monotonic moment of a time of day, given both clocks at one moment. What is over is now.
fn instant_of(when: Timestamp, now: Timestamp, monotonic: Instant) -> Instant {
    let wait = Duration::try_from(when.duration_since(now)).unwrap_or_default();
    monotonic.checked_add(wait).unwrap_or(monotonic)
}

#[cfg(test)]
mod tests;
