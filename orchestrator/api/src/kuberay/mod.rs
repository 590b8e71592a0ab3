//! What KubeRay makes of a RayClusterSpec: how many pods, which GPUs Ray is told of, which ports Ray takes. Read without
//! KubeRay's types, as its versions 1.6 and 1.7 compute it; what Rayfleet allows of it is in [`crate::valid`].

mod accelerators;
mod ports;
mod size;

pub(crate) use accelerators::{OTHERS, SLICES};
pub use accelerators::{gpus, uncounted};
pub use ports::taken;
pub(crate) use ports::{FIXED, parameter};
pub use size::{WorkerSize, pods};
