//! State shared by the clients of a run: the plan and its progress, the writes, and which replicas are
//! alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rayfleet_sim_kube::api::Call;
use tokio::sync::mpsc;

use super::{Obstacle, Plan};
use crate::run::rights::{Right, Rights};
use crate::run::trace::Trace;

/// What the world has to do to carry out a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End a replica and start another in its place.
    Replace {
        /// Name of the replica.
        who: String,
        /// The first lists of the successor are stale.
        stale: bool,
    },
    /// Silence all dashboards for this long.
    Dashboards(Duration),
    /// Stop KubeRay for this long.
    Kuberay(Duration),
    /// Scale all workers of a RayCluster to zero.
    Resize,
    /// Suspend a RayCluster for this long.
    Suspend(Duration),
    /// Create pods that look like the groups', and delete them after this long, with the other changes of
    /// `Kind::Foreign`.
    Foreign(Duration),
}

/// A write of the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// When it was sent.
    pub at: Duration,
    /// Name of the replica.
    pub who: String,
    /// The write in a few words.
    pub what: String,
    /// Whether it is an Event.
    pub is_event: bool,
}

/// What is known about the calls of a run.
pub struct State {
    /// The planned faults.
    pub plan: Plan,
    /// Writes so far, without leases and dry runs.
    pub writes: Vec<Written>,
    /// Number of calls of any kind.
    pub calls: u64,
    /// The present moment and the number of calls in it: time stands still while a loop runs hot.
    pub(super) burst: (Duration, u32),
    /// Number of events of watches so far.
    pub events: u64,
    /// Delays of events without faults.
    pub(super) lags: fastrand::Rng,
    /// Replicas that have died: everything that they send is lost.
    pub(super) dead: BTreeSet<String>,
    /// Replicas that are cut off, and until when.
    pub(super) cut_off: BTreeMap<String, Duration>,
    /// Replicas that cannot reach pods, nor pods them.
    pub(super) without_pods: BTreeSet<String>,
    /// Whether this holds for all replicas, later ones included.
    pub(super) all_without_pods: bool,
    /// Replicas whose lists are stale.
    pub(super) stale: BTreeSet<String>,
    /// Present obstacles.
    pub(super) obstacles: Vec<Obstacle>,
    /// Until when the faults so far last.
    pub trouble: Duration,
    /// Rights of the orchestrator; `None` allows everything.
    pub rights: Option<Rights>,
    /// Rights that it has used.
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
    /// The initial state; orders are sent to `orders`. Delays of events come from the seed.
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
            without_pods: BTreeSet::new(),
            all_without_pods: false,
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

    /// Whether anything that a replica sends arrives.
    pub fn reaches(&self, who: &str) -> bool {
        let now = self.trace.now();
        let state = self.state();
        !state.dead.contains(who) && state.cut_off.get(who).is_none_or(|until| now >= *until)
    }

    /// Whether the orchestrator's account may make this call.
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
    pub fn reaches_pods(&self, who: &str) -> bool {
        let without_pods = {
            let state = self.state();
            state.all_without_pods || state.without_pods.contains(who)
        };
        !without_pods && self.reaches(who)
    }

    /// From now on everything that a replica sends to pods is lost; without a name, that of any replica.
    pub fn cut_from_pods(&self, who: Option<&str>) {
        let mut state = self.state();
        match who {
            Some(who) => {
                state.without_pods.insert(who.to_owned());
            }
            None => state.all_without_pods = true,
        }
    }

    /// Pods can be reached by all replicas again.
    pub fn reconnect_pods(&self) {
        let mut state = self.state();
        state.without_pods.clear();
        state.all_without_pods = false;
    }

    /// Records a fault that lasts this long.
    pub(super) fn troubled(&self, length: Duration) {
        let end = self.trace.now() + length;
        let mut state = self.state();
        state.trouble = state.trouble.max(end);
    }

    /// Adds an obstacle.
    pub fn obstruct(&self, obstacle: Obstacle) {
        self.state().obstacles.push(obstacle);
    }

    /// Removes the obstacles that have no end of their own.
    pub fn clear_the_way(&self) {
        self.state().obstacles.retain(|obstacle| obstacle.until.is_some());
    }

    /// Present obstacles.
    pub(super) fn in_the_way(&self) -> Vec<Obstacle> {
        let now = self.trace.now();
        let mut state = self.state();
        state.obstacles.retain(|obstacle| obstacle.until.is_none_or(|until| now < until));
        state.obstacles.clone()
    }

    /// From now on nothing from a replica arrives.
    pub fn mark_dead(&self, who: &str) {
        self.state().dead.insert(who.to_owned());
    }

    /// Sets whether a replica's lists are stale.
    pub fn lags(&self, who: &str, lags: bool) {
        let mut state = self.state();
        if lags {
            state.stale.insert(who.to_owned());
        } else {
            state.stale.remove(who);
        }
    }

    /// Records a broken rule.
    pub fn breach(&self, what: String) {
        self.trace.add("oracle", format!("BREACH: {what}"));
        self.state().breaches.push(what);
    }
}
