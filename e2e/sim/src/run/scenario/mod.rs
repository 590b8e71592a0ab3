//! Scenarios: what is done to a fleet, what is waited for, and how it must end. Plain data that says nothing of where it is
//! played: a simulation and a real cluster read the same files.

mod length;
mod patch;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use rayfleet_api::status::Phase;
use serde::Deserialize;
use serde_json::Value;

pub use self::length::Length;
pub use self::patch::Patch;
pub use self::read::{ReadError, standard};
pub use super::faults::Why;

/// A scenario, ready to be played. It begins with the creation of its fleet.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What it is about, in a sentence.
    pub about: String,
    /// The fleet as it is created.
    pub fleet: Value,
    /// What else is created, such as Services of AIBrix's manifests.
    pub others: Vec<Value>,
    /// Nodes that the cluster has to have.
    pub nodes: Vec<Node>,
    /// Requests that are sent from the first moment on at which somebody takes them.
    pub load: Load,
    /// One after the other.
    pub steps: Vec<Step>,
    /// How it must end.
    pub expect: Expect,
    /// A second replica of the orchestrator stands by.
    pub standby: bool,
    /// AIBrix's controller has made the fleet's groups, and is switched off: Rayfleet meets what it left.
    pub from_aibrix: bool,
    /// Why a real cluster cannot play it, if so.
    pub only_simulated: Option<String>,
}

impl Scenario {
    /// The same, where more happens than it tells of: how many groups there are on the way is left to the rules that always hold.
    #[must_use]
    pub fn unbounded(&self) -> Self {
        let expect = Expect { min_ready: None, max_groups: None, ..self.expect.clone() };
        Self { expect, ..self.clone() }
    }
}

/// Nodes that are alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Name; with a count, what comes before the number.
    pub name: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// GPUs of each.
    pub gpus: u32,
    /// No pods are scheduled to it until a step says so.
    #[serde(default)]
    pub cordoned: bool,
}

fn one() -> u32 {
    1
}

impl Node {
    /// Names of these nodes.
    pub fn names(&self) -> Vec<String> {
        if self.count == 1 {
            return vec![self.name.clone()];
        }
        (1..=self.count).map(|number| format!("{}{number}", self.name)).collect()
    }
}

/// Clients of the fleet's Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Clients with a fresh connection for each request.
    #[serde(default)]
    pub fresh: u32,
    /// Clients that keep their connection from one request to the next.
    #[serde(default)]
    pub kept: u32,
    /// Tokens of each request: a stream of so many pieces.
    #[serde(default)]
    pub tokens: u32,
    /// Wait of a client between two requests.
    #[serde(default)]
    pub pause: Length,
}

/// One thing that is done, or waited for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Step {
    /// The user changes the fleet.
    Apply(Patch),
    /// The user changes the fleet, or is refused: both are well.
    Try(Patch),
    /// The user deletes the fleet.
    Delete,
    /// Something breaks.
    Kill(Victim),
    /// What was broken works again.
    Heal(Healed),
    /// Pods may be scheduled to a node again.
    Uncordon(String),
    /// The API server refuses something from now on.
    Refuse(Refused),
    /// It refuses nothing any more.
    Allow,
    /// The node of a group's pod is cordoned; what runs there is left alone.
    Cordon(Member),
    /// `kubectl drain` of the node of a group's pod, until no pod of the fleet is left there.
    Drain(Member),
    /// Time passes.
    Wait(Length),
    /// Waits until all of it holds at the same time.
    Until(Until),
}

/// What the API server refuses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// Kinds: `RayCluster`, `Service`, `ControllerRevision`.
    pub kinds: Vec<String>,
    /// Why.
    pub why: Why,
    /// For a quota: how many there may be.
    #[serde(default)]
    pub limit: usize,
}

/// What breaks. Groups are numbered by slot, from 0.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Victim {
    /// The leading replica of the orchestrator; another starts some seconds later.
    Orchestrator,
    /// KubeRay's operator is away for so long.
    Kuberay(Length),
    /// Power loss of the node of a group's pod.
    NodeOf(Member),
    /// A cloud announces by a taint that it takes the machine of a group's pod, and takes it.
    Notice {
        /// Group.
        group: usize,
        /// The machine of its head, or of its first worker.
        #[serde(default)]
        head: bool,
        /// Key of the taint.
        taint: String,
        /// Time from the taint to the end of the machine.
        after: Length,
    },
    /// The machine of a group's pod is shut down, with a kubelet that lets pods end first.
    Shutdown(Member),
    /// One rank of a group's engine dies.
    Rank {
        /// Group.
        group: usize,
        /// Rank.
        rank: usize,
    },
    /// A group's engine dies.
    Engine(usize),
    /// A group's engine stands still and says nothing.
    Hang(usize),
    /// The container of a group's pod dies.
    Container(Member),
    /// Somebody deletes a pod of a group.
    Pod(Member),
    /// Somebody deletes the RayCluster of a group.
    RayCluster(usize),
    /// A group's dashboard takes connections and never answers.
    Dashboard(usize),
    /// `ray stop` inside a group's pod: its container goes on, and its Ray node never joins again.
    Ray(Member),
    /// Somebody puts a finalizer on the RayCluster of a group.
    Finalizer(usize),
    /// Somebody suspends the RayCluster of a group, as Kueue does it.
    Suspend(usize),
    /// Somebody sets the replicas of all worker groups of a group's RayCluster.
    Resize {
        /// Group.
        group: usize,
        /// Replicas.
        replicas: u32,
    },
    /// Somebody removes all worker groups from a group's RayCluster.
    RemoveWorkers(usize),
    /// Somebody adds a worker group to a group's RayCluster, like its first one.
    AddWorkers(usize),
    /// AIBrix's CRD is applied over the fleet's.
    FleetCrd,
    /// The network between the orchestrator and pods.
    Network(Cut),
}

/// Whose network is cut. What it sends to pods, or is sent, gets lost; the API server is reached.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Cut {
    /// That of the leading replica.
    Leader,
    /// That of all replicas.
    Replicas,
    /// That of a group's pods.
    Group(usize),
}

/// A pod of a group.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Group.
    pub group: usize,
    /// Its head, or its first worker.
    #[serde(default)]
    pub head: bool,
}

/// What works again.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Healed {
    /// The node that lost its power, or was shut down, last; what announced that is taken back.
    Node,
    /// A group's dashboard.
    Dashboard(usize),
    /// The finalizers that were put on RayClusters are taken off.
    Finalizers,
    /// Nodes that were cordoned or drained.
    Cordons,
    /// The RayCluster of a group is resumed.
    Resume(usize),
    /// The fleet's own CRD is applied again.
    FleetCrd,
    /// All that was cut of the network.
    Network,
}

/// What is waited for. All that is given has to hold.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Until {
    /// Groups that take traffic.
    pub ready: Option<u32>,
    /// Groups of the current revision.
    pub updated: Option<u32>,
    /// Groups in the ledger.
    pub groups: Option<usize>,
    /// A group of the newest revision has come so far: it is in this phase or a later one. (That a group is in a phase may be
    /// reported by nobody, when what tells of it is lost.)
    pub reached: Option<Phase>,
    /// The rollout of the newest spec is complete.
    #[serde(default)]
    pub complete: bool,
    /// The condition Stalled is True with this reason.
    pub stalled: Option<String>,
    /// The fleet is back on the revision before the one that failed.
    #[serde(default)]
    pub rolled_back: bool,
    /// The fleet and all that it owned are gone.
    #[serde(default)]
    pub gone: bool,
    /// How long at most.
    #[serde(default = "half_an_hour")]
    pub within: Length,
}

/// Only what is waited for.
impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ready, updated, groups, reached, complete, stalled, rolled_back, gone, within: _ } = self;
        let number = |name: &str, number: Option<u64>| number.map(|number| format!("{name} {number}"));
        let parts = [
            number("ready", ready.map(u64::from)),
            number("updated", updated.map(u64::from)),
            number("groups", groups.and_then(|groups| u64::try_from(groups).ok())),
            reached.map(|phase| format!("a new group {}", phase.as_str())),
            complete.then(|| "complete".to_owned()),
            stalled.as_ref().map(|reason| format!("Stalled {reason}")),
            rolled_back.then(|| "rolled back".to_owned()),
            gone.then(|| "gone".to_owned()),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn half_an_hour() -> Length {
    Length::minutes(30)
}

/// How it must end, and what must never have been.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Groups that take traffic.
    pub ready: u32,
    /// Groups of the current revision.
    pub updated: Option<u32>,
    /// Groups that exist.
    pub groups: Option<usize>,
    /// Conditions as `<status>` or `<status>/<reason>`, by type.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Requests that drain deadlines may have cut off.
    #[serde(default)]
    pub lost: i64,
    /// Requests that may have failed beside those: a death takes what it was answering with it.
    #[serde(default)]
    pub failed: u32,
    /// Requests that may have been cut off by the end of what answered them; without it any number.
    pub died: Option<u32>,
    /// Fewest groups that took traffic at any time after all of the first spec did.
    pub min_ready: Option<u32>,
    /// Most RayClusters that existed at any time.
    pub max_groups: Option<usize>,
    /// The fleet and all that it owned are gone.
    #[serde(default)]
    pub gone: bool,
}
