//! What was observed about one group, as plain data. The orchestrator fills it in from its watches
//! and from the group's Ray dashboard; nothing in here is a decision.

mod pod;

use jiff::Timestamp;
use rayfleet_api::status::FailureKind;
use rayfleet_api::{LaunchId, PodRevision};

use crate::heads::live_of;

pub use pod::{ContainerEnd, ObservedPod, PULLING, PodProblem, STUCK};

/// Everything known about one group at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedGroup {
    /// Its RayCluster, when it exists.
    pub cluster: Option<ObservedRayCluster>,
    /// Its pods, terminating ones included.
    pub pods: Vec<ObservedPod>,
    /// Whether an EndpointSlice still lists its head pod as ready. `None`: no Service selects it.
    pub endpoint_ready: Option<bool>,
    /// What its Ray dashboard and engine said, when they were last asked.
    pub ray: Option<ObservedRay>,
    /// Why its RayCluster could not be created when that was tried last: the object, the API server's words, and what happens next.
    pub refused: Option<String>,
    /// Whose RayCluster of its name is there, if it is none of this fleet.
    pub taken: Option<String>,
}

impl ObservedGroup {
    /// Kubernetes holds its pods ready, on nodes whose kubelets it hears: all that nobody is deleting, or where Ray's autoscaler decides
    /// the head and as many as there have to be. Not if there are none.
    pub fn pods_are_well(&self) -> bool {
        let live = || live_of(&self.pods);
        let ready = || live().filter(|pod| pod.containers_ready);
        let elastic = self.cluster.as_ref().filter(|cluster| cluster.elastic);
        let wanted = elastic.map_or(live().count(), |cluster| cluster.pods.unwrap_or(1));
        !live().any(|pod| pod.node_lost) && ready().any(|pod| pod.head) && ready().count() >= wanted
    }
}

/// A RayCluster object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedRayCluster {
    /// UID.
    pub uid: String,
    /// Resource version, the precondition of a delete.
    pub resource_version: String,
    /// Being deleted.
    pub deleting: bool,
    /// Since when it is being deleted.
    pub deleting_since: Option<Timestamp>,
    /// Finalizers: while it has one, the object of a RayCluster that is being deleted stays.
    pub finalizers: Vec<String>,
    /// Slot, from its label.
    pub slot: Option<u32>,
    /// Attempt, from its annotation.
    pub attempt: u32,
    /// Pod revision, from its label.
    pub pod_revision: PodRevision,
    /// Pods that it was made to have, the head included; the fewest where Ray's autoscaler decides. `None`: as many as the
    /// fleet's template.
    pub pods: Option<usize>,
    /// Ray's own autoscaler adds and removes workers.
    pub elastic: bool,
    /// Somebody has taken its pods away on purpose, or holds them back (`spec.suspend`, as Kueue does it): who, and when they
    /// come back.
    pub suspended: Option<String>,
    /// What somebody else changed in its size since it was made: `worker group w: replicas 0 instead of 1`.
    pub drift: Option<String>,
    /// `spec.managedBy`, where that is not KubeRay's operator here: it makes no pods then.
    pub managed_by: Option<String>,
    /// Message of KubeRay's `ReplicaFailure` condition, while it is True.
    pub replica_failure: Option<String>,
    /// Message of a recent warning that KubeRay gave instead of a status (invalid specs).
    pub warning: Option<String>,
    /// Port of the engine that its pods start themselves, as its labels name it.
    pub own_port: Option<u16>,
    /// What it costs to lose it, by its annotation; less goes first.
    pub deletion_cost: i32,
    /// Somebody asks, by its annotation, for another group in its place.
    pub replace: bool,
}

/// What a Ray dashboard and the engine said.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRay {
    /// When the question was asked.
    pub at: Timestamp,
    /// The answer, or why there was none.
    pub state: Result<RayReport, String>,
    /// Addresses of pods that took connections before and give no sign at all for some seconds now: their machine or
    /// the way to it is gone, whatever Ray still believes.
    pub unreachable_ips: Vec<String>,
    /// Whether anything at all is heard of the group.
    pub reach: Reach,
}

/// What of a group is reachable over the network, compared with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Something of it takes or refuses connections, or did a moment ago.
    #[default]
    Reachable,
    /// Nothing of it does, although others of its namespace are heard.
    Silent,
    /// Nothing of it does, and it is too early to say whether others do.
    Unsure,
    /// Nothing of it does, nor of any other of its namespace: the fault may well be on this side.
    AllSilent,
}

impl ObservedRay {
    /// Whether this look found anything that an earlier one did not. How long an engine has been idle, and on how many connections,
    /// changes with every look and is nothing new.
    pub fn differs_from(&self, earlier: &Self) -> bool {
        self.unreachable_ips != earlier.unreachable_ips
            || self.reach != earlier.reach
            || self.without_idle_time() != earlier.without_idle_time()
    }

    fn without_idle_time(&self) -> Result<RayReport, String> {
        let mut state = self.state.clone();
        if let Ok(RayReport { engine: ObservedEngine { load: Some(load), .. }, .. }) = &mut state {
            (load.idle_seconds, load.kept_connections) = (None, 0);
        }
        state
    }
}

/// A Ray cluster that answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RayReport {
    /// Addresses of the nodes that are alive.
    pub nodes: Vec<String>,
    /// The engine: the job that the ledger's launch names; in compatibility mode the server of the template.
    pub engine: ObservedEngine,
}

/// The engine of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedEngine {
    /// Launch that the rest of this speaks of. `None` in compatibility mode. An answer about an
    /// earlier launch is not taken for one about the current launch.
    pub launch: Option<LaunchId>,
    /// State of the job of that launch. `None`: there is no such job.
    pub job: Option<ObservedJob>,
    /// Ranks that are alive on the node that the plan names.
    pub ranks_placed: u32,
    /// Where each rank is.
    pub ranks: Vec<ObservedRank>,
    /// Differences between the plan and what Ray reports, for people.
    pub differences: Vec<String>,
    /// It is broken for good although its job may still run.
    pub failure: Option<EngineFailure>,
    /// `/health` answered 200.
    pub healthy: bool,
    /// Ray's dashboard does not answer, and the first words of why; the rest is what the engine itself and the last answer say.
    pub unverified: Option<String>,
    /// Whether the engine's port answered at all (compatibility mode: a server may be absent for good).
    pub answering: bool,
    /// Requests in flight, when the engine tells.
    pub load: Option<ObservedLoad>,
    /// What happened to the probe prompt of this launch.
    pub probe: ObservedProbe,
    /// What the launcher last reported, for people: `Loading`, `Ranks 3/4`.
    pub note: Option<String>,
    /// Why this launch is not there although it was asked for: "the plan does not fit: …", or what Ray said when it refused
    /// package or job: the first words since a try last succeeded. Bounded. `None` once there is a job, and before the first try.
    pub launch_error: Option<String>,
}

/// A rank that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRank {
    /// Rank in the engine.
    pub rank: u32,
    /// Its data-parallel engine; `None` without data parallelism.
    pub data: Option<u32>,
    /// Rank within its stage.
    pub tensor: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Address of its node; empty if that is not known.
    pub ip: String,
}

/// How an engine is broken for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFailure {
    /// What died.
    pub kind: FailureKind,
    /// What says so, for people.
    pub evidence: String,
    /// Addresses of the nodes that this came from, as far as that is known: of dead ranks, and of lost Ray nodes.
    pub nodes: Vec<String>,
}

/// State of an engine's Ray job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedJob {
    /// Submitted, not yet started.
    Pending,
    /// Running.
    Running,
    /// Over, whatever Ray calls it: a service that ends has failed. With the cause.
    Ended(String),
}

/// Load of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ObservedLoad {
    /// Requests in flight.
    pub in_flight: u32,
    /// Whether the engine has a drain request. `None`: it accepts none.
    pub draining: Option<bool>,
    /// Connections that a response left open, on which a client may send its next request.
    pub kept_connections: u32,
    /// Seconds since the last request began or ended. `None`: not known.
    pub idle_seconds: Option<f64>,
    /// Since when it owes answers and makes no step. `None`: it moves, nobody waits for it, or that is not known.
    pub stalled_since: Option<Timestamp>,
    /// All that it owes since then waits for something else than a step of it, such as a grammar that is being compiled.
    pub deferred: bool,
}

/// Outcome of the probe prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ObservedProbe {
    /// Not sent yet, or still being answered.
    #[default]
    Unknown,
    /// Answered as expected.
    Passed,
    /// Answered wrongly or not at all.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_for(seconds: f64, in_flight: u32) -> ObservedRay {
        let load = ObservedLoad {
            in_flight,
            draining: Some(false),
            kept_connections: 0,
            idle_seconds: Some(seconds),
            stalled_since: None,
            deferred: false,
        };
        let engine = ObservedEngine { load: Some(load), ..ObservedEngine::default() };
        ObservedRay {
            at: Timestamp::UNIX_EPOCH,
            state: Ok(RayReport { engine, ..RayReport::default() }),
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        }
    }

    #[test]
    fn pods_are_well_that_kubernetes_holds_ready_on_nodes_that_it_hears() {
        let pod = |head: bool| ObservedPod { head, containers_ready: true, ..ObservedPod::default() };
        let well = |elastic: bool, edit: fn(&mut Vec<ObservedPod>)| {
            let mut pods = vec![pod(true), pod(false)];
            edit(&mut pods);
            let cluster = Some(ObservedRayCluster {
                pods: elastic.then_some(1),
                elastic,
                ..ObservedRayCluster::default()
            });
            ObservedGroup { cluster, pods, ..ObservedGroup::default() }.pods_are_well()
        };
        assert!(well(false, |_| {}));
        assert!(!well(false, Vec::clear));
        assert!(!well(false, |pods| pods[1].containers_ready = false));
        assert!(
            well(true, |pods| pods[1].containers_ready = false),
            "what the autoscaler adds need not be up"
        );
        assert!(!well(true, |pods| pods[0].containers_ready = false));
        assert!(!well(false, |pods| pods[1].node_lost = true));
        assert!(well(false, |pods| pods.push(ObservedPod {
            deleting: true,
            node_lost: true,
            ..ObservedPod::default()
        })));
    }

    #[test]
    fn being_idle_for_longer_is_nothing_new() {
        assert!(!idle_for(2.0, 0).differs_from(&idle_for(1.0, 0)));
        assert!(idle_for(2.0, 1).differs_from(&idle_for(1.0, 0)));
    }
}
