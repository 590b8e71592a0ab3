//! Ray dashboards, engines and their clients, as `ray-bridge` sees them.
//!
//! [`RayWorld`] is the handle of all of it. Its network is a [`ray_bridge::Wire`] and its time is tokio's,
//! which must be paused. Nothing runs in the background: steps that are due are executed at the next
//! access. Replies of Ray and vLLM are tested against recorded ones, faults against the behaviour of real
//! ones.

mod clients;
mod clock;
mod container;
mod dashboard;
mod death;
mod engine;
mod faults;
mod gcs;
mod ids;
mod jobs;
mod launch;
mod placing;
mod port;
mod reach;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ray_bridge::Wire;
use serde_json::Value;

pub use clients::{Connection, Outcome};
pub use world::Timing;

use clock::Clock;
use container::{End, Run};
use wire::Simulated;
use world::World;

use crate::ordered_notify::{Listener, News};

/// A container that runs `ray start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RayPod {
    /// The pod's address.
    pub ip: String,
    /// The Kubernetes node.
    pub host_node: String,
    /// The RayCluster, as `namespace/name`.
    pub cluster: String,
    /// Whether it is the head.
    pub head: bool,
    /// For a worker, the head that it joins; `None` takes the cluster's current one.
    pub head_ip: Option<String>,
    /// GPUs that it offers to Ray.
    pub gpus: u32,
    /// Ray's labels for the node.
    pub labels: BTreeMap<String, String>,
    /// The cluster's token, if authentication is on.
    pub token: Option<String>,
    /// Compatibility mode: the pod's own command serves on this port.
    pub own_engine_port: Option<u16>,
}

/// How an engine behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineBehaviour {
    /// From the start of all ranks until it serves or fails.
    pub load: Duration,
    /// If set, it does not start, and prints these last lines.
    pub fails: Option<String>,
    /// Time for each token of each request.
    pub token_time: Duration,
    /// Its answer to any prompt; `None` is some text.
    pub probe_answer: Option<String>,
}

impl Default for EngineBehaviour {
    fn default() -> Self {
        Self {
            load: Duration::from_secs(20),
            fails: None,
            token_time: Duration::from_millis(20),
            probe_answer: None,
        }
    }
}

/// How a dashboard treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DashboardState {
    /// Answers normally.
    Well,
    /// Takes connections and never answers.
    Silent,
    /// Nothing listens on its port.
    Refusing,
    /// Answers with this delay.
    Slow(Duration),
    /// Answers with the page of a proxy in between.
    Garbled,
    /// Executes requests, and its answers are lost.
    Unheard,
}

/// All Ray clusters. Clones are handles of the same world.
#[derive(Clone)]
pub struct RayWorld(Arc<Shared>);

pub(crate) struct Shared {
    clock: Clock,
    world: Mutex<World>,
    /// The last version of the world that listeners were notified of.
    reported: AtomicU64,
    changed: News,
}

impl Shared {
    /// Accesses the world after executing everything that is due.
    fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.clock.now());
        let done = work(&mut world);
        let version = world.version;
        drop(world);
        if self.reported.swap(version, Ordering::Relaxed) != version {
            self.changed.tell();
        }
        done
    }

    fn change(&self, work: impl FnOnce(&mut World)) {
        self.with(|world| {
            work(world);
            world.touch();
        });
    }

    /// Waits until something changes, something is due, or `until` is reached.
    async fn next(&self, mut changes: Listener, until: Option<Duration>) {
        let due = self.with(|world| world.next_due());
        let wake = due.into_iter().chain(until).min();
        let slept = async {
            match wake {
                Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = slept => {}
        }
    }
}

impl RayWorld {
    /// An empty world, whose ids and jitter come from the seed. Its time of day starts at
    /// 2030-01-01T00:00:00Z.
    pub fn new(seed: u64) -> Self {
        let world = Mutex::new(World::new(seed));
        Self(Arc::new(Shared {
            clock: Clock::begin(),
            world,
            reported: AtomicU64::new(0),
            changed: News::default(),
        }))
    }

    /// The network for the bridge to use.
    pub fn wire(&self) -> Arc<dyn Wire> {
        Arc::new(Simulated(self.0.clone()))
    }

    /// Sets how long things take from now on.
    pub fn timing(&self, timing: Timing) {
        self.0.change(|world| world.timing = timing);
    }

    /// Sets the behaviour of engines that are started from now on, by model source and the remaining
    /// arguments. An engine that a pod runs by itself is looked up with neither. The function must not use
    /// the world.
    pub fn models(&self, behaviour: impl Fn(&str, &[String]) -> EngineBehaviour + Send + 'static) {
        self.0.change(|world| world.models = Box::new(behaviour));
    }

    /// Starts `ray start` in a container. A container that still runs at the address is ended first.
    pub fn start(&self, pod: RayPod) {
        self.0.change(|world| world.start(pod));
    }

    /// Stops all processes of a container in order. Its address refuses connections from then on.
    pub fn stop(&self, ip: &str) {
        self.0.change(|world| world.end(ip, 0, End::Stopped));
    }

    /// As [`stop`](Self::stop), but as a death: out of memory, or evicted without grace. Requests that end
    /// with it count as ended by a fault, and Ray learns of the node only by its health checks.
    pub fn die(&self, ip: &str) {
        self.0.change(|world| world.end(ip, 137, End::Died));
    }

    /// Removes a pod with its address: nothing answers there.
    pub fn forget(&self, ip: &str) {
        self.0.change(|world| {
            world.end(ip, 0, End::Stopped);
            world.containers.remove(ip);
        });
    }

    /// A machine loses power: what ran there is gone, and no address on it answers or refuses anything.
    pub fn lose_node(&self, host_node: &str) {
        self.0.change(|world| world.lose_host(host_node));
    }

    /// The machine is back, with nothing running on it.
    pub fn restore_node(&self, host_node: &str) {
        self.0.change(|world| {
            world.lost_hosts.remove(host_node);
        });
    }

    /// The exit code of a container that has ended; `None` while it runs, or with a lost machine.
    pub fn exited(&self, ip: &str) -> Option<i32> {
        self.0.with(|world| match world.containers.get(ip)?.run {
            Run::Ended(code) => Some(code),
            Run::Starting | Run::Up | Run::Gone => None,
        })
    }

    /// The result of KubeRay's readiness probe: the node has joined and can be reached.
    pub fn ready(&self, ip: &str) -> bool {
        self.0.with(|world| {
            let container = world.containers.get(ip);
            container.is_some_and(|c| {
                (c.raylet() || c.ray_stopped) && !world.lost_hosts.contains(&c.pod.host_node)
            })
        })
    }

    /// Version of the world; increases with every change.
    pub fn version(&self) -> u64 {
        self.0.with(|world| world.version)
    }

    /// Waits until the version is not `version`, and returns the new one.
    pub async fn changed_since(&self, version: u64) -> u64 {
        loop {
            let changes = self.0.changed.listen();
            let now = self.version();
            if now > version {
                return now;
            }
            self.0.next(changes, None).await;
        }
    }

    /// Kills a rank of the cluster's engine.
    pub fn kill_rank(&self, cluster: &str, rank: usize) {
        self.0.change(|world| world.rank_dies(cluster, rank));
    }

    /// Kills the core of the cluster's engine.
    pub fn kill_engine(&self, cluster: &str) {
        self.0.change(|world| world.core_dies(cluster));
    }

    /// Kills the process that answers requests.
    pub fn kill_server(&self, cluster: &str) {
        self.0.change(|world| world.server_dies(cluster));
    }

    /// The launcher exits with this code; with 0 Ray calls the job SUCCEEDED.
    pub fn end_launcher(&self, cluster: &str, code: i32) {
        self.0.change(|world| world.launcher_leaves(cluster, code));
    }

    /// The engine makes no more steps, and still reports itself healthy.
    pub fn hang_engine(&self, cluster: &str) {
        self.0.change(|world| world.engine_hangs(cluster));
    }

    /// Kills the raylet of a node, and everything that Ray runs there with it; a second later its container
    /// ends.
    pub fn kill_raylet(&self, ip: &str) {
        self.0.change(|world| world.raylet_dies(ip));
    }

    /// Runs `ray stop` in a container that goes on and whose probes do not ask Ray: its node never joins
    /// again.
    pub fn stop_ray(&self, ip: &str) {
        self.0.change(|world| world.ray_stops(ip));
    }

    /// Sets how the cluster's dashboard behaves; a new head starts with [`DashboardState::Well`].
    pub fn set_dashboard(&self, cluster: &str, state: DashboardState) {
        self.0.change(|world| {
            world.dashboards.insert(cluster.to_owned(), state);
        });
    }

    /// Cuts or restores the path from the orchestrator to an address; other clients still reach it.
    pub fn cut_path(&self, ip: &str, cut: bool) {
        self.0.change(|world| {
            if cut {
                world.cut.insert(ip.to_owned());
            } else {
                world.cut.remove(ip);
            }
        });
    }

    /// The whole world as one plain value without ids, sorted.
    pub fn snapshot(&self) -> Value {
        self.0.with(|world| world.snapshot())
    }
}

impl fmt::Debug for RayWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RayWorld")
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
