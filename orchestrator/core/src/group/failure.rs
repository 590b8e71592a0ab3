//! How a group fails: the kinds, what is known of each, and its words for people. When it has failed is decided
//! where that is seen; what follows is in `fail`.

use std::fmt;
use std::time::Duration;

use rayfleet_api::status::{FailureKind, Phase};
use rayfleet_api::{NodeName, PodName};

use crate::observed::EngineFailure;

/// A failure, with what is known of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// Ray says what died.
    Engine(EngineFailure),
    /// The engine's job has ended. Ray's cause names what came last; what came first, where that is known, goes before it.
    JobEnded { first: Option<EngineFailure>, cause: String },
    /// Ray does not know the job any more.
    JobForgotten,
    /// It answers, owes tokens and makes no step.
    Hung { requests: u32, deferred: bool, after: Duration },
    /// It says that it is not healthy.
    Unhealthy,
    /// Differences from the plan.
    WrongPlacement(Vec<String>),
    /// Why the probe prompt failed.
    ProbeFailed(String),
    /// It was not ready when its time was over.
    Late { kind: FailureKind, phase: Phase, doing: String },
    /// Its pods or Ray nodes were not up in time.
    NotFormed { seconds: i64, phase: Phase, doing: String },
    /// A kubelet is lost.
    NodeLost { node: Option<NodeName>, pod: PodName },
    /// A pod is gone; the state of the others.
    PodLost(String),
    /// A pod does not end.
    PodStuck { node: Option<NodeName>, pod: PodName },
    /// Its RayCluster has several heads.
    SeveralHeads(Vec<PodName>),
    /// The engine's job does not end.
    DoesNotStop,
    /// Whether the engine has ended is not known.
    DashboardUnreachable,
}

impl Failure {
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::JobEnded { first: None, .. } => FailureKind::JobEnded,
            // A rank of which no node is known may have died of the end itself.
            Self::JobEnded { first: Some(first), .. }
                if first.kind == FailureKind::RankDied && first.nodes.is_empty() =>
            {
                FailureKind::EngineDied
            }
            Self::Engine(failure) | Self::JobEnded { first: Some(failure), .. } => failure.kind,
            Self::JobForgotten => FailureKind::HeadLost,
            Self::Hung { .. } => FailureKind::Hung,
            Self::Unhealthy => FailureKind::Unhealthy,
            Self::WrongPlacement(_) => FailureKind::WrongPlacement,
            Self::ProbeFailed(_) => FailureKind::ProbeFailed,
            Self::Late { kind, .. } => *kind,
            Self::NotFormed { .. } => FailureKind::FormationTimedOut,
            Self::NodeLost { .. } => FailureKind::NodeLost,
            Self::PodLost(_) => FailureKind::PodLost,
            Self::PodStuck { .. } => FailureKind::PodStuck,
            Self::SeveralHeads(_) => FailureKind::SeveralHeads,
            Self::DoesNotStop => FailureKind::StopTimedOut,
            Self::DashboardUnreachable => FailureKind::DashboardUnreachable,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(failure) => f.write_str(&failure.evidence),
            Self::JobEnded { first: Some(first), cause } if !first.nodes.is_empty() => {
                write!(f, "{}; the engine ended: {cause}", first.evidence)
            }
            Self::JobEnded { cause, .. } => write!(f, "the engine ended: {cause}"),
            Self::JobForgotten => {
                f.write_str("Ray does not know the engine's job any more: its head was restarted")
            }
            Self::Hung { requests, deferred, after } => {
                let wait = if *deferred { "are deferred" } else { "wait" };
                let seconds = after.as_secs();
                write!(
                    f,
                    "the engine hangs: {requests} requests {wait} and it has made no step for {seconds} s"
                )
            }
            Self::Unhealthy => f.write_str("the engine reports that it is not healthy"),
            Self::WrongPlacement(differences) => {
                write!(f, "ranks are not where they should be: {}", differences.join("; "))
            }
            Self::ProbeFailed(cause) => write!(f, "the probe prompt failed: {cause}"),
            Self::Late { phase, doing, .. } => write!(f, "not ready in time, still {phase}: {doing}"),
            Self::NotFormed { seconds, phase, doing } => {
                write!(f, "not up after {seconds} s, still {phase}: {doing}")
            }
            Self::NodeLost { node, pod } => {
                let node = node.as_deref().unwrap_or("unknown");
                write!(f, "node {node} is lost, and with it pod {pod}")
            }
            Self::PodLost(others) => write!(f, "a pod of the group is gone: {others}"),
            Self::PodStuck { node, pod } => {
                let node = node.as_deref().unwrap_or("no node");
                write!(f, "pod {pod} on {node} does not end, so KubeRay does not replace it")
            }
            Self::SeveralHeads(pods) => {
                write!(f, "{}: its workers may join either", several_heads(pods))
            }
            Self::DoesNotStop => f.write_str("the engine does not stop"),
            Self::DashboardUnreachable => f.write_str("the Ray dashboard does not answer"),
        }
    }
}

/// What is the matter with a RayCluster of several heads: the same text as long as they are the same.
pub(super) fn several_heads(pods: &[impl ToString]) -> String {
    let names: Vec<String> = pods.iter().map(ToString::to_string).collect();
    format!(
        "its RayCluster has {} head pods, {}, and KubeRay makes no pods beside them",
        names.len(),
        names.join(" and ")
    )
}
