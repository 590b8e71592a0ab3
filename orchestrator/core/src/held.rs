//! What is held against a fleet from outside its groups: a refusal of what it asks for, and objects beside its groups that could not
//! be written. Plain data; a refusal holds the change, never the care of what is there.

use rayfleet_api::status::RolloutStep;

/// Why a fleet does not become what it asks for now. Gates, drains, repair and scaling go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReason {
    /// Step of the rollout, and reason of the conditions.
    pub reason: RolloutStep,
    /// Object, field and cure.
    pub message: String,
    /// The fleet that is decided about is an earlier revision, in place of the one that is refused.
    pub stands_in: bool,
    /// Whether RayClusters may be made of the fleet that is decided about.
    pub creates: bool,
    /// It may pass by itself, and is tried again: the progress deadline goes on counting.
    pub temporary: bool,
}

/// Whether a rollout stood at this step because somebody has to act: such a time is none without progress.
pub(crate) fn is_step(step: RolloutStep) -> bool {
    use RolloutStep::{InvalidSpec, InvalidTemplate, KubeRayMissing};
    matches!(step, InvalidSpec | InvalidTemplate | KubeRayMissing)
}

/// An object beside the groups that could not be written. It costs a condition of its own, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedWrite {
    /// Type of the condition, which is there for as long as the trouble lasts.
    pub condition: &'static str,
    /// One word for programs.
    pub reason: &'static str,
    /// Object, the API server's words, and the cure.
    pub message: String,
}
