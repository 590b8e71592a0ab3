//! The possible events of a state, and their effects.

use rayfleet_api::{GroupName, LaunchId, ValidFleet};

use super::Case;
use super::world::{Engine, Group, Pods, State, now};
use crate::decide::{Decision, ReconcileInput, decide};
use crate::effect::Effect;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The controller observes, writes the ledger and acts.
    Pass,
    /// The controller crashes between the ledger and the effects.
    Crash,
    /// It decides from the state before the last event.
    LatePass,
    /// A step in progress of a group completes.
    Advance(GroupName),
    /// The time for which a group of the ledger waits has passed.
    Wait(usize),
    /// Nodes may be waited for again.
    PendAgain,
    /// A group's engine ends.
    EngineDies(GroupName),
    /// A group's RayCluster is deleted by somebody else.
    ClusterDeleted(GroupName),
    /// A group's pods are lost and re-created.
    PodsLost(GroupName),
    /// The spec changes.
    Spec(Change),
}

/// A change of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Pods(&'static str),
    Engine(&'static str),
    Replicas(u32),
    Partition(u32),
    Paused(bool),
}

impl Case {
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Pass);
        if state.left.crashes > 0 {
            actions.push(Action::Crash);
        }
        if state.before.is_some() {
            actions.push(Action::LatePass);
        }
        actions.extend(state.waiting().map(Action::Wait));
        if state.pends_later() {
            actions.push(Action::PendAgain);
        }
        for (name, group) in &state.groups {
            if state.can_advance(name, self.room) {
                actions.push(Action::Advance(name.clone()));
            }
            if state.left.faults > 0 && group.pods == Pods::Up {
                if matches!(group.job, Some((_, Engine::Loading | Engine::Healthy))) {
                    actions.push(Action::EngineDies(name.clone()));
                }
                actions.push(Action::ClusterDeleted(name.clone()));
                actions.push(Action::PodsLost(name.clone()));
            }
        }
        if state.left.changes > 0 {
            actions.extend(self.changes.iter().copied().map(Action::Spec));
        }
    }

    pub(super) fn happen(&self, state: &mut State, action: &Action) {
        let before = self.late.then(|| state.groups.clone());
        match action {
            Action::Pass => self.pass(state, true),
            Action::Crash => {
                state.left.crashes -= 1;
                self.pass(state, false);
            }
            Action::LatePass => self.late_pass(state),
            Action::Advance(name) => state.advance(name),
            Action::Wait(at) => state.wait_is_over(*at),
            Action::PendAgain => state.may_pend_again(),
            Action::Spec(change) => {
                state.left.changes -= 1;
                change_spec(state, *change);
            }
            Action::EngineDies(name) | Action::ClusterDeleted(name) | Action::PodsLost(name) => {
                state.left.faults -= 1;
                if let Some(group) = state.groups.get_mut(name) {
                    fail(group, action);
                }
            }
        }
        let acted = matches!(action, Action::Pass | Action::Crash | Action::LatePass);
        state.before = before.filter(|before| !acted && *before != state.groups);
    }

    /// The controller observes the current state; `acts` unless it crashes after writing the ledger.
    pub(super) fn pass(&self, state: &mut State, acts: bool) {
        let decision = self.decide(state, &state.groups);
        self.check(state, &decision);
        let effects = decision.effects;
        state.enter(decision.status);
        if acts {
            perform_all(state, effects);
        }
    }

    /// The ledger is always current: a write from an older one would be refused. All other observations may
    /// be late.
    fn late_pass(&self, state: &mut State) {
        let Some(before) = state.before.take() else { return };
        let decision = self.decide(state, &before);
        state.enter(decision.status);
        perform_all(state, decision.effects);
    }

    pub(super) fn decide(
        &self,
        state: &State,
        groups: &std::collections::BTreeMap<GroupName, Group>,
    ) -> Decision {
        let fleet = state.fleet(&self.fleet);
        let stable = state.status.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
        let stable = stable.map(|stable| ValidFleet { revision: stable.clone(), ..fleet.clone() });
        decide(&ReconcileInput {
            fleet: &fleet,
            stable: stable.as_ref(),
            held: None,
            failed_writes: &[],
            status: &state.status,
            groups: &state.observed(groups),
            capacity: Some(&state.capacity(self.room)),
            now: now(),
        })
    }
}

fn change_spec(state: &mut State, change: Change) {
    let before = state.spec.clone();
    match change {
        Change::Pods(pods) => state.spec.pods = pods,
        Change::Engine(engine) => state.spec.engine = engine,
        Change::Replicas(replicas) => state.spec.replicas = replicas,
        Change::Partition(partition) => state.spec.partition = partition,
        Change::Paused(paused) => state.spec.paused = paused,
    }
    if state.spec != before {
        state.spec.generation += 1;
    }
}

fn fail(group: &mut Group, fault: &Action) {
    match fault {
        Action::ClusterDeleted(_) => end(group),
        Action::PodsLost(_) => {
            group.pods = Pods::Waiting;
            group.job = None;
            group.gate = false;
        }
        _ => kill(group),
    }
}

fn kill(group: &mut Group) {
    if let Some((_, engine)) = &mut group.job {
        *engine = Engine::Dead;
    }
}

fn end(group: &mut Group) {
    group.pods = Pods::Ending;
    group.job = None;
    group.gate = false;
}

fn perform_all(state: &mut State, effects: Vec<Effect>) {
    for effect in effects {
        perform(state, effect);
    }
}

/// Performs the effects. Preconditions reject those that no longer match the state.
fn perform(state: &mut State, effect: Effect) {
    match effect {
        Effect::CreateCluster { group } => create(state, &group),
        Effect::DeleteCluster { name, .. } => {
            if let Some(group) = state.groups.get_mut(&name).filter(|group| group.pods != Pods::Ending) {
                if group.serves() {
                    state.breach.get_or_insert(format!("{name} was deleted while it served"));
                }
                if group.pods == Pods::Waiting {
                    state.groups.remove(&name);
                } else {
                    end(group);
                }
            }
        }
        Effect::SetGate { launch, open, .. } => {
            if let Some(group) = state.groups.get_mut(&launch.group).filter(|group| group.pods == Pods::Up) {
                group.gate = open;
            }
        }
        Effect::LaunchEngine { launch: of } => launch(state, of),
        Effect::StopEngine { launch } => {
            let job = state
                .groups
                .get_mut(&launch.group)
                .filter(|group| group.job.as_ref().is_some_and(|(running, _)| *running == launch));
            if let Some(group) = job {
                if group.serves() {
                    state.breach.get_or_insert(format!("{launch} was stopped while it served"));
                }
                kill(group);
            }
        }
        Effect::SetDraining { .. }
        | Effect::Probe { .. }
        | Effect::RepairCluster { .. }
        | Effect::Event { .. } => {}
    }
}

fn create(state: &mut State, entry: &rayfleet_api::status::GroupStatus) {
    match state.groups.get(&entry.name) {
        Some(group) if group.pods == Pods::Ending => {
            let ending = format!("{} was made beside its own ending pods", entry.name);
            state.breach.get_or_insert(ending);
        }
        Some(_) => {}
        None => {
            let group = Group {
                slot: entry.slot,
                attempt: entry.attempt,
                revision: entry.revision.clone(),
                pods: Pods::Waiting,
                job: None,
                gate: false,
            };
            state.groups.insert(entry.name.clone(), group);
        }
    }
}

fn launch(state: &mut State, launch: LaunchId) {
    let Some(group) = state.groups.get_mut(&launch.group).filter(|group| group.pods == Pods::Up) else {
        return;
    };
    match &group.job {
        Some((running, _)) if *running == launch => {}
        Some((running, Engine::Loading | Engine::Healthy)) => {
            let beside = format!("{launch} was launched beside {running}");
            state.breach.get_or_insert(beside);
        }
        _ => group.job = Some((launch, Engine::Loading)),
    }
}
