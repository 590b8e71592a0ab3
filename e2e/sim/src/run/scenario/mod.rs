//! Scenarios: what is done to a fleet, what is waited for, and the expected final state. Plain data,
//! independent of where it is played: the simulation and a real cluster read the same files.

mod length;
mod patch;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rayfleet_api::status::Phase;
use serde::Deserialize;
use serde_json::Value;

pub use self::length::Length;
pub use self::patch::Patch;
pub use self::read::{ReadError, standard};
pub use super::faults::Why;
use super::faults::{Kind, Plan};

/// How much longer a step of a scenario may take with faults than without, however many they are.
const COST_OF_FAULTS: Duration = Duration::from_mins(5);

/// A scenario. It starts with the creation of its fleet.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its extension.
    pub name: String,
    /// Its purpose, in a sentence.
    pub about: String,
    /// The fleet as it is created.
    pub fleet: Value,
    /// Other objects that are created, such as Services of AIBrix's manifests.
    pub others: Vec<Value>,
    /// Nodes that the cluster must have.
    pub nodes: Vec<Node>,
    /// Requests that are sent as soon as a group takes traffic.
    pub load: Load,
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// The expected final state.
    pub expect: Expect,
    /// Whether a second replica of the orchestrator stands by.
    pub standby: bool,
    /// Whether AIBrix's controller has created the fleet's groups and was then switched off: Rayfleet
    /// adopts what it left.
    pub from_aibrix: bool,
    /// Why a real cluster cannot play it, if so.
    pub only_simulated: Option<String>,
}

impl Scenario {
    /// The same scenario for runs with further disturbances: the number of groups on the way is left to the
    /// rules that always hold.
    #[must_use]
    pub fn unbounded(&self) -> Self {
        let expect = Expect { min_ready: None, max_groups: None, ..self.expect.clone() };
        Self { expect, ..self.clone() }
    }

    /// The same scenario for a run with these faults. Together they may cost each step some handovers of the lease and calls that hang.
    /// A suspended group's pods are taken away under the requests that they answer, one of each client at the most. How many groups
    /// serve while the fleet is stalled is left open: after a gate patch that was lost the engine of a group that a scenario has out of
    /// traffic is restarted on a new pod, and serves too.
    #[must_use]
    pub fn under(&self, plan: &Plan) -> Self {
        let mut scenario = if plan.brings_outages() { self.unbounded() } else { self.clone() };
        if !plan.0.is_empty() {
            for step in &mut scenario.steps {
                if let Step::Until(until) = step {
                    until.within.0 += COST_OF_FAULTS;
                    until.ready = until.ready.filter(|_| until.stalled.is_none());
                }
            }
        }
        let suspensions = plan.0.iter().filter(|fault| fault.kind == Kind::Suspended).count();
        let clients = self.load.fresh + self.load.kept;
        scenario.expect.failed += clients * u32::try_from(suspensions).unwrap_or(u32::MAX);
        scenario
    }
}

/// A set of identical nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Name; with a count, the prefix before the number.
    pub name: String,
    /// Number of nodes.
    #[serde(default = "one")]
    pub count: u32,
    /// GPUs of each node.
    pub gpus: u32,
    /// Cordoned until a step uncordons it.
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

/// Load of the fleet's Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// Clients that open a new connection for each request.
    #[serde(default)]
    pub fresh: u32,
    /// Clients that keep their connection from one request to the next.
    #[serde(default)]
    pub kept: u32,
    /// Tokens of each request, each streamed as one chunk.
    #[serde(default)]
    pub tokens: u32,
    /// Pause of a client between two requests.
    #[serde(default)]
    pub pause: Length,
}

/// One action, or one condition to wait for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Step {
    /// The user changes the fleet; a refusal is an error.
    Apply(Patch),
    /// The user changes the fleet; a refusal is accepted too.
    Try(Patch),
    /// The user deletes the fleet.
    Delete,
    /// Something breaks.
    Kill(Victim),
    /// Something broken is repaired.
    Heal(Healed),
    /// A node is uncordoned.
    Uncordon(String),
    /// The API server refuses some calls from now on.
    Refuse(Refused),
    /// It refuses nothing from now on.
    Allow,
    /// The node of a group's pod is cordoned; its pods stay.
    Cordon(Member),
    /// `kubectl drain` of the node of a group's pod, until no pod of the fleet is left there.
    Drain(Member),
    /// Time passes.
    Wait(Length),
    /// Waits until all conditions hold at the same time.
    Until(Until),
}

/// What the API server refuses.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// Kinds: `RayCluster`, `Service`, `ControllerRevision`.
    pub kinds: Vec<String>,
    /// Why calls are refused.
    pub why: Why,
    /// For a quota: most objects allowed.
    #[serde(default)]
    pub limit: usize,
}

/// What breaks. Groups are numbered by slot, from 0.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Victim {
    /// The leading replica of the orchestrator; another one starts some seconds later.
    Orchestrator,
    /// KubeRay's operator is away for this long.
    Kuberay(Length),
    /// Power loss of the node of a group's pod.
    NodeOf(Member),
    /// A cloud provider announces by a taint that it reclaims the machine of a group's pod, and does so.
    Notice {
        /// Index of the group.
        group: usize,
        /// The machine of its head; else of its first worker.
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
        /// Index of the group.
        group: usize,
        /// Rank.
        rank: usize,
    },
    /// A group's engine dies.
    Engine(usize),
    /// A group's engine hangs: it makes no progress and reports no error.
    Hang(usize),
    /// The container of a group's pod dies.
    Container(Member),
    /// Somebody deletes a pod of a group.
    Pod(Member),
    /// Somebody deletes the RayCluster of a group.
    RayCluster(usize),
    /// A group's dashboard accepts connections and never answers.
    Dashboard(usize),
    /// `ray stop` inside a group's pod: its container goes on, and its Ray node never joins again.
    Ray(Member),
    /// Somebody puts a finalizer on the RayCluster of a group.
    Finalizer(usize),
    /// Somebody suspends the RayCluster of a group, as Kueue does it.
    Suspend(usize),
    /// Somebody sets the replicas of all worker groups of a group's RayCluster.
    Resize {
        /// Index of the group.
        group: usize,
        /// Replicas.
        replicas: u32,
    },
    /// Somebody removes all worker groups from a group's RayCluster.
    RemoveWorkers(usize),
    /// Somebody adds a copy of the first worker group to a group's RayCluster.
    AddWorkers(usize),
    /// KubeRay makes a second head pod for a group.
    SecondHead(usize),
    /// AIBrix's CRD replaces the fleet's.
    FleetCrd,
    /// The network between the orchestrator and pods is cut.
    Network(Cut),
}

/// Whose network is cut. Traffic to and from pods is lost; the API server can still be reached.
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
    /// Index of the group.
    pub group: usize,
    /// Its head; else its first worker.
    #[serde(default)]
    pub head: bool,
}

/// What is repaired.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Healed {
    /// The node that last lost power or was shut down; an announcing taint is removed.
    Node,
    /// A group's dashboard.
    Dashboard(usize),
    /// The finalizers that were put on RayClusters are removed.
    Finalizers,
    /// Nodes that were cordoned or drained are uncordoned.
    Cordons,
    /// The RayCluster of a group is resumed.
    Resume(usize),
    /// The fleet's own CRD is applied again.
    FleetCrd,
    /// All cut networks.
    Network,
}

/// Conditions to wait for. All that are given must hold.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Until {
    /// Number of groups that take traffic.
    pub ready: Option<u32>,
    /// Number of groups of the current revision.
    pub updated: Option<u32>,
    /// Number of groups in the ledger.
    pub groups: Option<usize>,
    /// A group of the newest revision is in this phase or a later one. (An exact phase may go unreported
    /// when the write that reports it is lost.)
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
    /// Longest wait.
    #[serde(default = "half_an_hour")]
    pub within: Length,
}

/// Only the conditions that are set.
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

/// The expected final state, and bounds over the whole run.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Number of groups that take traffic.
    pub ready: u32,
    /// Number of groups of the current revision.
    pub updated: Option<u32>,
    /// Number of groups that exist.
    pub groups: Option<usize>,
    /// Conditions as `<status>` or `<status>/<reason>`, by type.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Most requests that drain deadlines may cut off.
    #[serde(default)]
    pub lost: i64,
    /// Most requests that may fail besides those: a dead engine takes its requests in flight with it.
    #[serde(default)]
    pub failed: u32,
    /// Most requests that may end by the death of the engine that answers them; `None` is any number.
    pub died: Option<u32>,
    /// Fewest groups that took traffic at any time after all groups of the first spec did.
    pub min_ready: Option<u32>,
    /// Most RayClusters that existed at any time.
    pub max_groups: Option<usize>,
    /// The fleet and all that it owned are gone.
    #[serde(default)]
    pub gone: bool,
}
