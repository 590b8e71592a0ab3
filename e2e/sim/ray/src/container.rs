//! Containers that run `ray start`.

use super::behaviour::RayPod;

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    Starting,
    Up,
    /// Its main process has ended with this code.
    Ended(i32),
    /// Its machine has lost its power.
    Gone,
}

/// How a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Asked to.
    Stopped,
    /// By itself or by a fault.
    Died,
    /// With its machine.
    Lost,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) pod: RayPod,
    pub(super) life: u64,
    pub(super) run: Run,
    /// Life of the head that it has joined, and its id there.
    pub(super) joined: Option<(u64, String)>,
    /// Nothing of Ray runs in it any more, and nobody in it minds.
    pub(super) ray_stopped: bool,
}

impl Container {
    /// Its raylet and the agent beside it run.
    pub(super) fn raylet(&self) -> bool {
        self.run == Run::Up && self.joined.is_some() && !self.ray_stopped
    }
}
