//! Performs what was decided, in the order of what matters: gates that close, commands to engines, other gates and deletions, the records,
//! and only then what is made. What fails costs itself alone; calls of one kind go out together, so that a slow API server delays
//! the last as much as the first.

use futures::{StreamExt, stream};
use rayfleet_api::status::GroupStatus;
use rayfleet_api::{GroupName, LaunchId, RayClusterFleet, ValidFleet};
use rayfleet_core::Effect;
use tracing::{error, info, warn};

use super::FleetReconciler;
use super::state::FleetState;
use super::target_spec::TargetSpec;
use super::write_failures::Object;
use crate::agents::{Command, Launch, Submission};
use crate::clock;
use crate::kubernetes::{Gate, Key, Made, Records, WriteError};

/// Calls for one fleet at the same time.
pub(super) const TOGETHER: usize = 64;

/// What a pass works on once its ledger is written.
pub(super) struct ReconcilePass<'a> {
    /// The fleet, with the status that was decided.
    pub(super) raw: &'a RayClusterFleet,
    /// What was decided about.
    pub(super) basis: &'a TargetSpec,
    /// The fleet at the revision that was complete last.
    pub(super) stable: Option<&'a ValidFleet>,
    /// The ledger.
    pub(super) groups: &'a [GroupStatus],
}

impl ReconcilePass<'_> {
    /// No group of this template is there: a mistake in it shows before anything runs it. What runs is repaired as it was made.
    fn is_new(&self, group: &GroupStatus) -> bool {
        self.groups.iter().all(|other| other.uid.is_none() || other.revision != group.revision)
    }

    fn group(&self, name: &GroupName) -> Option<&GroupStatus> {
        self.groups.iter().find(|group| group.name == *name)
    }
}

/// How a pass went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    first: Option<WriteError>,
    /// Something stands in the way that did not before, or does not any more.
    pub(super) reports_changed: bool,
}

impl Outcome {
    /// A write failed that is decided again.
    pub(super) fn failed(&mut self, error: WriteError) {
        self.first.get_or_insert(error);
    }

    /// The first failure.
    pub(super) fn result(&mut self) -> Result<(), WriteError> {
        self.first.take().map_or(Ok(()), Err)
    }
}

impl FleetReconciler {
    /// Everything that follows the ledger. Gates that were closed before it are not closed again.
    pub(super) async fn perform(
        &self,
        pass: &ReconcilePass<'_>,
        effects: Vec<Effect>,
        state: &mut FleetState,
        outcome: &mut Outcome,
    ) {
        let key = Key::of(pass.raw);
        let (closings, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().filter(|effect| !effect.ends_traffic_of_the_dead()).partition(Effect::closes);
        self.together(&key, closings, outcome).await;
        let (mut calls, mut repairs, mut creates) = (Vec::new(), Vec::new(), Vec::new());
        for effect in rest {
            match effect {
                Effect::CreateCluster { group } => creates.push(group),
                Effect::RepairCluster { name, uid } => repairs.push((name, uid)),
                Effect::DeleteCluster { .. } | Effect::SetGate { .. } => calls.push(effect),
                command => self.command(pass, command, outcome),
            }
        }
        self.together(&key, calls, outcome).await;
        let repairs = repairs.into_iter().map(|(name, uid)| self.repair(pass, name, uid));
        finish(repairs, outcome).await;
        // Of a fleet that is being deleted nothing new is kept.
        if !pass.basis.fleet.deleting {
            self.records(pass, state, outcome).await;
        }
        self.create(pass, creates, state, outcome).await;
    }

    /// Gates and deletions, at the same time.
    pub(super) async fn together(&self, fleet: &Key, effects: Vec<Effect>, outcome: &mut Outcome) {
        finish(effects.into_iter().map(|effect| self.call(fleet, effect)), outcome).await;
    }

    /// Sets a RayCluster back that somebody else changed.
    async fn repair(&self, pass: &ReconcilePass<'_>, name: GroupName, uid: String) -> Result<(), WriteError> {
        let fleet = Key::of(pass.raw);
        let made = pass.group(&name).and_then(|group| {
            let then = self.template_of(pass, group);
            let then = then.inspect_err(
                |words| warn!(group = %name, %words, "a worker group that was removed cannot be put back"),
            );
            Some((then.ok()?, group))
        });
        info!(group = %name, "setting the RayCluster back to its size");
        let made = made.as_ref().map(|(then, group)| (then, *group));
        self.executor.repair_cluster(&fleet.sibling(name), &uid, made).await
    }

    async fn call(&self, fleet: &Key, effect: Effect) -> Result<(), WriteError> {
        match effect {
            Effect::DeleteCluster { name, uid, resource_version, reason } => {
                info!(group = %name, %reason, "deleting the RayCluster");
                self.executor.delete_cluster(&fleet.sibling(name), uid, resource_version).await
            }
            Effect::SetGate { pod, pod_uid, open, launch, reason } => {
                info!(group = %launch.group, %pod, open, reason, "setting the serving gate");
                let gate = Gate { open, launch: &launch, reason };
                self.executor.set_gate(&fleet.sibling(pod), &pod_uid, gate).await
            }
            _ => Ok(()),
        }
    }

    /// What is no call to the API server. The lease is for it all the same.
    fn command(&self, pass: &ReconcilePass<'_>, effect: Effect, outcome: &mut Outcome) {
        if let Err(error) = self.executor.writer.may("perform an effect") {
            outcome.failed(error);
            return;
        }
        let (key, fleet) = (Key::of(pass.raw), &pass.basis.fleet);
        match effect {
            Effect::LaunchEngine { launch } => self.launch(pass.raw, fleet, &launch),
            Effect::SetDraining { group, draining } => {
                self.agents.command(&key.sibling(group), Command::SetDraining(draining));
            }
            Effect::StopEngine { launch } => {
                if let Ok(submission) = Submission::of(launch) {
                    let group = key.sibling(submission.launch.group.clone());
                    self.agents.command(&group, Command::Stop(submission));
                }
            }
            Effect::Probe { launch } => {
                let model = launch.engine.as_ref().and_then(|engine| self.model(fleet, engine));
                if let (Some(model), Ok(submission)) = (model, Submission::of(launch)) {
                    let group = key.sibling(submission.launch.group.clone());
                    self.agents.command(&group, Command::Probe(submission, Box::new(model.probe())));
                }
            }
            Effect::Event { warning, reason, message } => {
                info!(reason, %message, "event");
                self.executor.record_event(pass.raw, warning, reason, &message);
            }
            Effect::CreateCluster { .. }
            | Effect::DeleteCluster { .. }
            | Effect::RepairCluster { .. }
            | Effect::SetGate { .. } => {}
        }
    }

    /// Creates the RayClusters of groups, as far as they are due and their revision is on record.
    async fn create(
        &self,
        pass: &ReconcilePass<'_>,
        groups: Vec<GroupStatus>,
        state: &mut FleetState,
        outcome: &mut Outcome,
    ) {
        state.obstacles.keep_groups(|name| pass.group(name).is_some());
        let now = clock::monotonic();
        let due = |group: &GroupStatus| state.obstacles.is_due(&Object::RayCluster(group.name.clone()), now);
        let due: Vec<GroupStatus> = groups.into_iter().filter(|group| due(group)).collect();
        let calls = due.into_iter().map(|group| async move {
            let made = match self.template_of(pass, &group) {
                Ok(fleet) => {
                    let port_name = self.shared_port_name(&fleet, pass.groups, &group);
                    let strict = pass.is_new(&group);
                    let made = self.executor.create_cluster(&fleet, &group, port_name.as_deref(), strict);
                    made.await.map_err(Failed::Write)
                }
                Err(words) => Err(Failed::NotTried(words)),
            };
            (group.name, made)
        });
        let mut calls = stream::iter(calls).buffer_unordered(TOGETHER);
        while let Some((name, made)) = calls.next().await {
            let object = Object::RayCluster(name.clone());
            let now = clock::monotonic();
            let met = |words: String, taken: bool, state: &mut FleetState| {
                state.obstacles.met(object.clone(), "CreateFailed", &words, taken, now).then_some(words)
            };
            let changed = match made {
                Ok(Made::Ours) => {
                    outcome.reports_changed |= state.obstacles.over(&object);
                    None
                }
                // The group itself says whose it is.
                Ok(Made::Taken(whose)) => {
                    outcome.reports_changed |= met(whose, true, state).is_some();
                    None
                }
                Err(Failed::NotTried(words)) => met(words, false, state),
                Err(Failed::Write(error)) if error.is_not_leader() || error.is_conflict() => {
                    outcome.failed(error);
                    None
                }
                Err(Failed::Write(error)) => {
                    warn!(group = %name, %error, "the RayCluster cannot be created now");
                    met(format!("RayCluster {name} cannot be created: {}", error.words()), false, state)
                }
            };
            if let Some(message) = changed {
                outcome.reports_changed = true;
                self.executor.record_event(pass.raw, true, "CreateFailed", &message);
            }
        }
    }

    /// The fleet with the template that a group is made of; else why it cannot be made now.
    fn template_of(&self, pass: &ReconcilePass<'_>, group: &GroupStatus) -> Result<ValidFleet, String> {
        self.index.read(|known| {
            let records = Records::of(pass.raw, &known.revisions);
            if !records.has_pods(&group.revision) {
                return Err(format!(
                    "RayCluster {} is not created before its revision {} is on record: see the condition HistoryFailed",
                    group.name, group.revision
                ));
            }
            let near = [Some(&*pass.basis.fleet), pass.stable].into_iter().flatten();
            // One template may be there with a model and without.
            let of = |fleet: &&ValidFleet| {
                fleet.revision.pod == group.revision && fleet.model.is_some() == group.engine_revision.is_some()
            };
            if let Some(fleet) = near.into_iter().find(of) {
                return Ok(fleet.clone());
            }
            let wanted = group.revisions();
            records.fleet_at(pass.raw, &wanted).ok_or_else(|| {
                format!("RayCluster {}: its revision {wanted} cannot be read from the history", group.name)
            })
        })
    }

    fn launch(&self, raw: &RayClusterFleet, fleet: &ValidFleet, launch: &LaunchId) {
        let submission = Submission::of(launch.clone()).map_err(|error| error.to_string());
        let LaunchId { group, engine, .. } = launch;
        let Some(model) = engine.as_ref().and_then(|engine| self.model(fleet, engine)) else {
            let message = format!(
                "group {}: the model block of its engine revision {} is no longer in the history: \
                 raise spec.revisionHistoryLimit; the group is replaced by the current revision",
                group,
                engine.as_deref().unwrap_or_default()
            );
            self.executor.record_event(raw, true, "RevisionLost", &message);
            return;
        };
        match submission.and_then(|of| Launch::of(&model, of).map_err(|error| error.to_string())) {
            Ok(launch) => {
                let key = Key::new(&fleet.namespace, group.clone());
                self.agents.command(&key, Command::Launch(Box::new(launch)));
            }
            Err(cause) => warn!(%group, %cause, "the engine cannot be launched"),
        }
    }
}

/// Calls at the same time; what fails is decided again.
async fn finish(
    calls: impl Iterator<Item = impl Future<Output = Result<(), WriteError>>>,
    outcome: &mut Outcome,
) {
    let mut calls = stream::iter(calls).buffer_unordered(TOGETHER);
    while let Some(done) = calls.next().await {
        if let Err(failed) = done {
            error!(error = %failed, "an effect failed; it is decided again");
            outcome.failed(failed);
        }
    }
}

/// Why a RayCluster was not created.
enum Failed {
    /// It was not asked for.
    NotTried(String),
    /// It was, and this came of it.
    Write(WriteError),
}
