//! What is concluded: the links of the chain, how each was found, and what is wrong with its cure. Plain data
//! that is also the document of `-o json`; the field names are therefore fixed.

use serde::Serialize;

/// A link of the chain, in its order: a cause comes before its consequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Link {
    ApiServer,
    FleetCrd,
    KubeRay,
    Orchestrator,
    Control,
    Spec,
    RayClusters,
    Nodes,
    Pods,
    Ray,
    Engine,
    Placement,
    Traffic,
    Rollout,
    Now,
}

impl Link {
    /// The name of its line.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::ApiServer => "API server",
            Self::FleetCrd => "CRD of fleets",
            Self::KubeRay => "KubeRay",
            Self::Orchestrator => "orchestrator",
            Self::Control => "control",
            Self::Spec => "spec",
            Self::RayClusters => "RayClusters",
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Ray => "Ray",
            Self::Engine => "engine",
            Self::Placement => "placement",
            Self::Traffic => "traffic",
            Self::Rollout => "rollout",
            Self::Now => "now",
        }
    }
}

/// How a link was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Something is under way that ends by itself.
    Waits,
    /// It could not be checked.
    Unknown,
    /// The finding says what is wrong.
    Wrong,
}

/// One link that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// `namespace/name` of the fleet; none where it concerns them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fleet: Option<String>,
    pub(super) link: Link,
    pub(super) state: State,
    /// What was found, in a few words.
    pub(super) says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finding: Option<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) subject: Subject,
    /// Field, condition or kind of failure that it is about: `spec.model`, `Stalled/NoRoom`, `RankDied`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<String>,
    /// Object and what is wrong with it.
    pub(super) what: String,
    /// What shows it: the words of those who know, and where they stand.
    pub(super) evidence: Vec<String>,
    /// What the reader can do; else what happens next, and when.
    pub(super) cure: String,
}

/// The object of a finding; of several with the same trouble the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Subject {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Subject {
    pub(super) fn new(kind: &'static str, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// The result of one check.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Ok(String),
    Waits(String),
    Unknown(String),
    Wrong(Finding),
}

impl Verdict {
    /// The step of a link, of one fleet or of all.
    pub(super) fn step(self, link: Link, fleet: Option<&str>) -> Step {
        let (state, says, finding) = match self {
            Self::Ok(says) => (State::Ok, says, None),
            Self::Waits(says) => (State::Waits, says, None),
            Self::Unknown(says) => (State::Unknown, says, None),
            Self::Wrong(finding) => (State::Wrong, finding.what.clone(), Some(finding)),
        };
        Step { fleet: fleet.map(str::to_owned), link, state, says, finding }
    }
}
