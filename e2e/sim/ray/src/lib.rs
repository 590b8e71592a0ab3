//! Ray dashboards, engines and their clients, as `ray-bridge` sees them.
//!
//! [`RayWorld`] is the handle of all of it. Its network is a [`ray_bridge::Wire`], its time is tokio's, which is to be paused,
//! and nothing in it runs by itself: what is due happens when somebody looks. What Ray and vLLM answer is held to recorded
//! replies, how they break to what real ones showed.

mod actor;
mod behaviour;
mod clients;
mod clock;
mod container;
mod dashboard;
mod engine;
mod faults;
mod gcs;
mod handle;
mod ids;
mod jobs;
mod launch;
mod lifecycle;
mod message;
pub mod ordered_notify;
mod placing;
mod port;
mod reach;
mod serving;
mod shared;
mod snapshot;
mod spec;
mod stream;
#[cfg(test)]
mod tests;
mod watch;
mod wire;
mod world;

pub use behaviour::{DashboardState, EngineBehaviour, RayPod, Timing};
pub use clients::{Connection, Outcome};
pub use handle::RayWorld;
