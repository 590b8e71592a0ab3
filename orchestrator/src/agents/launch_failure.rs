//! Why a launch could not be done. Words are made where people read them; failures of one kind are alike.

use std::mem::{Discriminant, discriminant};

use ray_bridge::{CallError, CallErrorKind, LaunchError};

/// Why a launch could not be done; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchFailure {
    /// Ray's nodes could not be read.
    #[error(transparent)]
    Nodes(CallError),
    /// Two Ray nodes are alive at the address of one pod.
    #[error(
        "two Ray nodes are alive at {0}: one is of a container that has ended, which Ray strikes out within a minute"
    )]
    TwoNodes(String),
    /// The engine cannot be placed on the nodes.
    #[error("the plan does not fit: {0}")]
    Plan(String),
    /// The engine could not be submitted.
    #[error(transparent)]
    Submit(LaunchError),
}

/// What two failures of one kind have in common, whatever their words are.
pub(super) type Kind = (Discriminant<LaunchFailure>, Option<Discriminant<CallErrorKind>>);

impl LaunchFailure {
    /// Its kind, and that of the call that failed.
    pub(super) fn kind(&self) -> Kind {
        let call = match self {
            Self::Nodes(error) | Self::Submit(LaunchError::Call(error)) => Some(discriminant(&error.kind)),
            _ => None,
        };
        (discriminant(self), call)
    }
}
