//! What an agent is given: whom to ask, how often, what to do. Plain data.

use ray_bridge::engine::{EngineSpec, Probe};
use ray_bridge::placement::{FreeGpus, InvalidShape, Policy};
use ray_bridge::{InvalidSubmissionId, SubmissionId};
use rayfleet_api::LaunchId;
use rayfleet_api::status::Phase;
use rayfleet_api::valid::ValidModel;

use crate::kubernetes::{GroupKey, GroupPods};

/// Whom to ask and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The group.
    pub group: GroupKey,
    /// Addresses of its pods.
    pub pods: GroupPods,
    /// Its engine.
    pub engine: Engine,
    /// How often.
    pub pace: PollInterval,
}

/// The engine of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Launched by the bridge under this name.
    Launched {
        /// Its name.
        submission: Submission,
        /// Port of its API server.
        port: u16,
    },
    /// Started by the pod's own command; its port if that is known.
    Own {
        /// Port.
        port: Option<u16>,
    },
}

/// A launch, and the name that it has in Ray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submission {
    /// The launch.
    pub launch: LaunchId,
    /// Name of its job.
    pub id: SubmissionId,
}

impl Submission {
    /// The name of a launch. A ledger that others have written may have what Ray takes for none.
    pub(crate) fn of(launch: LaunchId) -> Result<Self, InvalidSubmissionId> {
        Ok(Self { id: SubmissionId::new(launch.to_string())?, launch })
    }
}

/// How often to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollInterval {
    /// It drains or is being ended: every moment without a request counts.
    Quick,
    /// It starts: a look comes later the longer nothing changes.
    Starting,
    /// It serves.
    Steady,
}

impl PollInterval {
    /// How often to ask a group in this phase.
    pub(crate) fn of(phase: Phase) -> Self {
        match phase {
            Phase::Draining | Phase::Stopping => Self::Quick,
            Phase::Ready => Self::Steady,
            Phase::Pending
            | Phase::Provisioning
            | Phase::Forming
            | Phase::Placing
            | Phase::Loading
            | Phase::Probing
            | Phase::Failed
            | Phase::Suspended => Self::Starting,
        }
    }
}

/// What to do. A command may come again; doing it twice does no harm.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Place and launch the engine.
    Launch(Box<Launch>),
    /// Tell the engine to drain, or not to.
    SetDraining(bool),
    /// Stop the engine's job.
    Stop(Submission),
    /// Send the probe prompt.
    Probe(Submission, Box<Probe>),
}

/// An engine to place and launch.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// What it is.
    pub submission: Submission,
    /// The engine.
    pub spec: EngineSpec,
    /// What guides its plan.
    pub policy: Policy,
}

impl Launch {
    /// A launch of a model under this name, on all GPUs of its group: a RayCluster of ours runs nothing but this engine, and Ray's own
    /// count of free GPUs is seconds old.
    pub(crate) fn of(model: &ValidModel, submission: Submission) -> Result<Self, InvalidShape> {
        let policy = Policy { free: FreeGpus::All, ..model.policy() };
        Ok(Self { spec: model.engine_spec(submission.id.clone())?, submission, policy })
    }
}
