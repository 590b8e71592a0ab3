//! What the clients of a run share: the plan, how far it is, what was written, and who is alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rayfleet_sim_kube::api::Call;
use tokio::sync::mpsc;

use super::{Obstacle, Plan};
use crate::run::rights::{Right, Rights};
use crate::run::trace::Trace;

/// What the world has to do about a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End a replica and start another in its place.
    Replace {
        /// Whom.
        who: String,
        /// The lists of the next one are old at first.
        stale: bool,
    },
    /// Let all dashboards be silent for so long.
    Dashboards(Duration),
    /// Let KubeRay be away for so long.
    Kuberay(Duration),
    /// Let somebody take all workers of a RayCluster away.
    Resize,
    /// Let somebody suspend a RayCluster for so long.
    Suspend(Duration),
    /// Let others make pods that look like the groups', and take them away after so long; and what else they do.
    Foreign(Duration),
}

/// A write of the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When it was sent.
    pub at: Duration,
    /// Which replica.
    pub who: String,
    /// What, in a few words.
    pub what: String,
    /// Whether it is a note for people only.
    pub is_event: bool,
}

/// What is known of the calls of a run.
pub struct State {
    /// The faults.
    pub plan: Plan,
    /// Writes so far, leases and trials left out.
    pub writes: Vec<Written>,
    /// Calls of any kind.
    pub calls: u64,
    /// Calls at the present moment: time stands still while a loop runs hot.
    pub(super) burst: (Duration, u32),
    /// Events of watches so far.
    pub events: u64,
    /// How late events are when nothing is wrong.
    pub(super) lags: fastrand::Rng,
    /// Replicas that have died: nothing that they send goes anywhere.
    pub(super) dead: BTreeSet<String>,
    /// Replicas that are cut off, and until when.
    pub(super) cut_off: BTreeMap<String, Duration>,
    /// Replicas that pods do not hear, nor they them.
    pub(super) deaf: BTreeSet<String>,
    /// All are, whoever they are.
    pub(super) all_deaf: bool,
    /// Replicas whose lists are old.
    pub(super) stale: BTreeSet<String>,
    /// What stands in the way now.
    pub(super) obstacles: Vec<Obstacle>,
    /// Until when the faults so far last.
    pub trouble: Duration,
    /// What the orchestrator may do; all, if nothing is said.
    pub rights: Option<Rights>,
    /// What of that it did.
    pub used: BTreeSet<Right>,
    /// Rules that the orchestrator broke.
    pub breaches: Vec<String>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

/// The state behind all clients of a run, and its trace.
#[derive(Clone)]
pub struct Shared {
    state: Arc<Mutex<State>>,
    /// What happened.
    pub trace: Trace,
}

impl Shared {
    /// Nothing has happened; orders go to `orders`. How late events are comes from the seed.
    pub fn new(seed: u64, plan: Plan, trace: Trace, orders: mpsc::UnboundedSender<Order>) -> Self {
        let state = State {
            plan,
            writes: Vec::new(),
            calls: 0,
            burst: (Duration::ZERO, 0),
            events: 0,
            lags: fastrand::Rng::with_seed(seed),
            dead: BTreeSet::new(),
            cut_off: BTreeMap::new(),
            deaf: BTreeSet::new(),
            all_deaf: false,
            stale: BTreeSet::new(),
            obstacles: Vec::new(),
            trouble: Duration::ZERO,
            rights: None,
            used: BTreeSet::new(),
            breaches: Vec::new(),
            orders,
        };
        Self { state: Arc::new(Mutex::new(state)), trace }
    }

    /// The state, locked.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what a replica sends arrives.
    pub fn reaches(&self, who: &str) -> bool {
        let now = self.trace.now();
        let state = self.state();
        !state.dead.contains(who) && state.cut_off.get(who).is_none_or(|until| now >= *until)
    }

    /// Whether the orchestrator's account may do this.
    pub(super) fn may(&self, call: &Call) -> bool {
        let mut state = self.state();
        let Some(rights) = &state.rights else { return true };
        let Some(right) = rights.allowing(call).cloned() else {
            let tried = rights.may_try(call);
            drop(state);
            if !tried {
                let Call { verb, kind, subresource, namespace, .. } = call;
                let subresource = subresource.as_deref().unwrap_or_default();
                self.breach(format!("no right to {verb:?} {kind} {subresource} in `{namespace}`"));
            }
            return false;
        };
        state.used.insert(right);
        true
    }

    /// Whether what a replica sends to pods arrives.
    pub fn hears(&self, who: &str) -> bool {
        let deaf = {
            let state = self.state();
            state.all_deaf || state.deaf.contains(who)
        };
        !deaf && self.reaches(who)
    }

    /// From now on what a replica sends to pods gets lost; without a name, what any does.
    pub fn deafen(&self, who: Option<&str>) {
        let mut state = self.state();
        match who {
            Some(who) => {
                state.deaf.insert(who.to_owned());
            }
            None => state.all_deaf = true,
        }
    }

    /// Pods hear all replicas again.
    pub fn undeafen(&self) {
        let mut state = self.state();
        state.deaf.clear();
        state.all_deaf = false;
    }

    /// A fault begins that lasts so long.
    pub(super) fn troubled(&self, length: Duration) {
        let end = self.trace.now() + length;
        let mut state = self.state();
        state.trouble = state.trouble.max(end);
    }

    /// Something stands in the way from now on.
    pub fn obstruct(&self, obstacle: Obstacle) {
        self.state().obstacles.push(obstacle);
    }

    /// Nothing that was put there by hand stands in the way any more.
    pub fn clear_the_way(&self) {
        self.state().obstacles.retain(|obstacle| obstacle.until.is_some());
    }

    /// What stands in the way now.
    pub(super) fn in_the_way(&self) -> Vec<Obstacle> {
        let now = self.trace.now();
        let mut state = self.state();
        state.obstacles.retain(|obstacle| obstacle.until.is_none_or(|until| now < until));
        state.obstacles.clone()
    }

    /// From now on nothing of a replica arrives.
    pub fn bury(&self, who: &str) {
        self.state().dead.insert(who.to_owned());
    }

    /// A replica's first lists are old.
    pub fn lags(&self, who: &str, lags: bool) {
        let mut state = self.state();
        if lags {
            state.stale.insert(who.to_owned());
        } else {
            state.stale.remove(who);
        }
    }

    /// A rule was broken.
    pub fn breach(&self, what: String) {
        self.trace.add("oracle", format!("BREACH: {what}"));
        self.state().breaches.push(what);
    }
}
