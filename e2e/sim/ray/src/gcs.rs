//! What one head remembers: nodes, jobs, placement groups, actors, packages. It is forgotten with the head.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::actor::Actor;
use super::ids::Address;
use super::spec::Spec;

/// How long the report of GPUs goes on to name a node that is dead.
const DEAD_REPORTED: Duration = Duration::from_secs(9);
/// Time between two reports of GPUs.
const REPORT: Duration = Duration::from_secs(5);

/// One life of a head.
#[derive(Debug)]
pub(super) struct Gcs {
    /// Number of this life.
    pub(super) life: u64,
    /// Address of the head.
    pub(super) ip: String,
    pub(super) session: String,
    pub(super) token: Option<String>,
    pub(super) since: Duration,
    /// By id, as Ray lists them; dead ones stay.
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) jobs: Vec<Job>,
    pub(super) groups: Vec<Group>,
    pub(super) actors: Vec<Actor>,
    pub(super) packages: BTreeMap<String, Package>,
    /// Logs by node and submission id: Ray goes on with the file of an earlier job of the same name.
    pub(super) logs: BTreeMap<(String, String), String>,
    /// GPUs in use as they changed.
    usage: Vec<(Duration, BTreeMap<String, [u32; 2]>)>,
}

/// One incarnation of a node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ip: String,
    pub(super) head: bool,
    pub(super) gpus: u32,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) began: Duration,
    /// Nothing runs on it any more, which Ray does not know yet.
    pub(super) gone: bool,
    /// When and why Ray called it dead.
    pub(super) dead: Option<(Duration, &'static str)>,
}

/// State of a job, in Ray's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Running,
    Succeeded,
    Failed,
    Stopped,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Stopped => "STOPPED",
        }
    }

    pub(super) fn ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) serial: u64,
    pub(super) id: String,
    pub(super) entrypoint: String,
    pub(super) metadata: Value,
    pub(super) runtime_env: Value,
    /// The node it is pinned to.
    pub(super) pin: Option<String>,
    pub(super) status: Status,
    pub(super) message: String,
    pub(super) error_type: Option<&'static str>,
    /// `None` of a job that was deleted and came back.
    pub(super) began: Option<Duration>,
    pub(super) ended: Option<Duration>,
    /// Where its entrypoint runs.
    pub(super) node: Option<String>,
    pub(super) exit_code: Option<i32>,
    pub(super) launch: Option<Launch>,
}

/// One launch.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) began: Duration,
    pub(super) spec: Spec,
    pub(super) phase: &'static str,
    pub(super) group: Option<String>,
    /// Where its engine answers or will.
    pub(super) at: Option<Address>,
    /// The launcher has given up or was stopped.
    pub(super) ending: bool,
}

/// State of a placement group, in Ray's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupState {
    Pending,
    Created,
    Rescheduling,
    Removed,
}

impl GroupState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Created => "CREATED",
            Self::Rescheduling => "RESCHEDULING",
            Self::Removed => "REMOVED",
        }
    }
}

/// A placement group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
    /// Serial number of the job that made it.
    pub(super) job: u64,
    pub(super) state: GroupState,
    pub(super) scheduling: &'static str,
    pub(super) bundles: Vec<Bundle>,
    pub(super) began: Duration,
}

/// One bundle.
#[derive(Debug)]
pub(super) struct Bundle {
    /// 1 for a rank, 0 for an API server on a node without ranks.
    pub(super) gpus: u32,
    /// The node it is pinned to.
    pub(super) pin: String,
    /// Where it is.
    pub(super) node: Option<String>,
}

/// A package of a working directory.
#[derive(Debug)]
pub(super) struct Package {
    /// Until then it is kept although no job uses it.
    pub(super) pinned: Duration,
    /// A job has used it, so it goes with the last one.
    pub(super) used: bool,
}

impl Gcs {
    pub(super) fn new(
        life: u64,
        ip: String,
        session: String,
        token: Option<String>,
        since: Duration,
    ) -> Self {
        Self {
            life,
            ip,
            session,
            token,
            since,
            nodes: BTreeMap::new(),
            jobs: Vec::new(),
            groups: Vec::new(),
            actors: Vec::new(),
            packages: BTreeMap::new(),
            logs: BTreeMap::new(),
            usage: Vec::new(),
        }
    }

    /// Ray counts the node in.
    pub(super) fn lives(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.dead.is_none())
    }

    /// Something can be started on the node.
    pub(super) fn answers(&self, node: &str) -> bool {
        self.lives(node) && self.nodes.get(node).is_some_and(|node| !node.gone)
    }

    pub(super) fn ip_of(&self, node: Option<&str>) -> String {
        node.and_then(|id| self.nodes.get(id)).map(|node| node.ip.clone()).unwrap_or_default()
    }

    pub(super) fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    pub(super) fn job_of(&mut self, serial: u64) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.serial == serial)
    }

    pub(super) fn group_of(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    /// GPUs of a node that placement groups have reserved.
    pub(super) fn reserved(&self, node: &str) -> u32 {
        let held = |group: &&Group| matches!(group.state, GroupState::Created | GroupState::Rescheduling);
        let bundles = self.groups.iter().filter(held).flat_map(|group| &group.bundles);
        bundles.filter(|bundle| bundle.node.as_deref() == Some(node)).map(|bundle| bundle.gpus).sum()
    }

    /// Takes note of what is in use now; the report shows it with its next round.
    pub(super) fn account(&mut self, now: Duration) {
        let seen = self.report_time(now);
        let all = self.nodes.iter().map(|(id, node)| (id.clone(), [self.reserved(id), node.gpus])).collect();
        self.usage.push((now, all));
        // What the last report was made of is still asked for; anything older never again.
        if let Some(last) = self.usage.iter().rposition(|(at, _)| *at <= seen) {
            self.usage.drain(..last);
        }
    }

    /// The report of GPUs: used and total by node. It is up to 5 s old, and keeps a dead node for 9 s.
    pub(super) fn report(&self, now: Duration) -> BTreeMap<String, [u32; 2]> {
        let seen = self.report_time(now);
        let Some((_, all)) = self.usage.iter().rev().find(|(at, _)| *at <= seen) else {
            return BTreeMap::new();
        };
        let reported = |id: &str| {
            let dead = self.nodes.get(id).and_then(|node| node.dead);
            dead.is_none_or(|(at, _)| now < at + DEAD_REPORTED)
        };
        all.iter().filter(|(id, _)| reported(id)).map(|(id, used)| (id.clone(), *used)).collect()
    }

    fn report_time(&self, now: Duration) -> Duration {
        let age = now.saturating_sub(self.since);
        self.since + Duration::from_secs(age.as_secs() / REPORT.as_secs() * REPORT.as_secs())
    }
}
