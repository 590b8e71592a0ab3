//! What a test says about the simulated world: its pods, how engines and dashboards behave, how long things take.

use std::collections::BTreeMap;
use std::time::Duration;

/// A container that runs `ray start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RayPod {
    /// The pod's address.
    pub ip: String,
    /// The Kubernetes node.
    pub host_node: String,
    /// The RayCluster, as `namespace/name`.
    pub cluster: String,
    /// It is the head.
    pub head: bool,
    /// Of a worker, the head that it joins; `None` takes whichever the cluster has.
    pub head_ip: Option<String>,
    /// GPUs that it gives to Ray.
    pub gpus: u32,
    /// Ray's labels of the node.
    pub labels: BTreeMap<String, String>,
    /// The cluster's token if authentication is on.
    pub token: Option<String>,
    /// Compatibility mode: the pod's own command serves on this port.
    pub own_engine_port: Option<u16>,
}

/// How an engine behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineBehaviour {
    /// From all ranks' start until it serves or fails.
    pub load: Duration,
    /// It does not start, and prints these last lines.
    pub fails: Option<String>,
    /// Time for each token of each request.
    pub token_time: Duration,
    /// What it answers to any prompt; `None` is some text.
    pub probe_answer: Option<String>,
    /// Its core is dead from the start: it answers 503.
    pub dead: bool,
}

impl Default for EngineBehaviour {
    fn default() -> Self {
        Self {
            load: Duration::from_secs(20),
            fails: None,
            token_time: Duration::from_millis(20),
            probe_answer: None,
            dead: false,
        }
    }
}

/// What a dashboard does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DashboardState {
    /// Answers.
    Well,
    /// Takes connections and never answers.
    Silent,
    /// Nothing listens on its port.
    Refusing,
    /// Answers later by this much.
    Slow(Duration),
    /// Answers with a page of somebody in between.
    Garbled,
    /// Does what it is asked, and its answers get lost.
    Unheard,
}

/// How long things take in Ray, as measured on real clusters.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the start of a head's container until its dashboard answers.
    pub head_start: Duration,
    /// From the start of a worker's container until it joins.
    pub worker_start: Duration,
    /// How long a worker looks for its head, or goes on without it, before it ends.
    pub without_head: Duration,
    /// Until Ray calls a node dead that has stopped answering: five health checks by default.
    pub node_dead_after: Duration,
    /// From a submit until the entrypoint runs.
    pub job_start: Duration,
    /// From the placement group until all ranks' actors live.
    pub ranks_start: Duration,
    /// By how much of itself each of these, and the load of an engine, is longer or shorter, at random from the seed: 0 to 1.
    pub spread: f64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            head_start: Duration::from_millis(5_500),
            worker_start: Duration::from_millis(2_500),
            without_head: Duration::from_mins(1),
            node_dead_after: Duration::from_secs(14),
            job_start: Duration::from_millis(1_500),
            ranks_start: Duration::from_secs(4),
            spread: 0.0,
        }
    }
}
