//! A pod as it was observed: where it is, how far it is, how a container of it ended, what keeps it from running. No decisions here.

use std::fmt;

use jiff::Timestamp;
use rayfleet_api::{LaunchId, NodeName, PodName};

use crate::capacity::Closing;

/// One pod of a group.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedPod {
    /// Name.
    pub name: PodName,
    /// UID.
    pub uid: String,
    /// Whether it is the head.
    pub head: bool,
    /// Kubernetes node, once scheduled.
    pub node: Option<NodeName>,
    /// Address, once it has one.
    pub ip: Option<String>,
    /// Being deleted.
    pub deleting: bool,
    /// Its containers have ended for good: its phase is `Succeeded` or `Failed`.
    pub over: bool,
    /// When its grace period is over, while it is being deleted.
    pub ends_at: Option<Timestamp>,
    /// All containers are ready. Not the pod's own Ready, which waits for the serving gate.
    pub containers_ready: bool,
    /// Whether the serving gate is True.
    pub gate_open: bool,
    /// Since when the gate is as it is; `None` if it was never set.
    pub gate_since: Option<Timestamp>,
    /// The launch that it was opened for; `None` if it is closed.
    pub opened_for: Option<LaunchId>,
    /// It is a head without the serving gate, made by AIBrix and taken over: its Services do not follow the orchestrator.
    pub ungated: bool,
    /// Its node is lost: its kubelet has not been heard of for so long that Kubernetes says `Unknown`. A kubelet that
    /// itself says "not ready" is not lost: its containers may well run.
    pub node_lost: bool,
    /// Its node is to be emptied, or ends soon, and what says so.
    pub node_closing: Option<Closing>,
    /// The init container that runs now, while its containers wait for that.
    pub init_container: Option<String>,
    /// The end of a container that made its containers not ready.
    pub ended: Option<ContainerEnd>,
    /// What keeps it from running: unschedulable, image pull, crash loop, with the message. Empty if fine.
    pub problem: Option<PodProblem>,
}

impl ObservedPod {
    /// Whether its node ends soon, whatever is done.
    pub fn node_ends(&self) -> bool {
        self.node_closing.as_ref().is_some_and(Closing::is_lost_soon)
    }

    /// Whether its containers are being ended, as its node is being shut down.
    pub fn node_shuts_down(&self) -> bool {
        self.node_closing.as_ref().is_some_and(Closing::shuts_down)
    }

    /// Whether it holds what it asked for, GPUs among it. A pod that ends holds that until its containers have ended; one on
    /// a lost node stays for ever, and one that never had a node held nothing.
    pub fn holds(&self) -> bool {
        !self.over && !(self.deleting && (self.node_lost || self.node.is_none()))
    }
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerEnd {
    /// The container.
    pub container: String,
    /// Its exit code.
    pub exit_code: i64,
    /// Kubernetes' reason: `OOMKilled`, `Error`, …; empty if it gives none.
    pub reason: String,
}

impl fmt::Display for ContainerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, exit_code, reason } = self;
        write!(f, "container {container} ended with exit code {exit_code}")?;
        if reason.is_empty() { Ok(()) } else { write!(f, " ({reason})") }
    }
}

/// Reason of a pod whose image is on its way: nothing is wrong so far.
pub const PULLING: &str = "Pulling";

/// Reasons of a waiting container that do not pass by themselves within moments.
pub const STUCK: [&str; 8] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What keeps a pod from running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodProblem {
    /// Kubernetes' reason: `Unschedulable`, `ImagePullBackOff`, `CrashLoopBackOff`, `FailedMount`, …, or [`PULLING`].
    pub reason: String,
    /// The container or volume that it is about; empty if it is the pod itself.
    pub subject: String,
    /// Kubernetes' message: the first one of this trouble. It words one and the same in changing ways.
    pub message: String,
}

impl PodProblem {
    /// Whether this is the trouble that `other` was. The kubelet reports that of an image by turns in two ways.
    pub fn goes_on_from(&self, other: &Self) -> bool {
        self.subject == other.subject && (self.reason == other.reason || self.no_image() && other.no_image())
    }

    /// The image is not there: a matter of the registry or of the template, not of the group.
    pub fn no_image(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "InvalidImageName" | "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull"
        )
    }

    /// Its image is on its way.
    pub fn pulls(&self) -> bool {
        self.reason == PULLING
    }

    /// A volume is held elsewhere. That is a matter of the claim, and another pod would want the same one.
    pub fn not_attached(&self) -> bool {
        self.reason == "FailedAttachVolume"
    }
}
