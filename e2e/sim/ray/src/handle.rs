//! The handle of the simulated world.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use ray_bridge::Wire;
use serde_json::Value;

use super::behaviour::{DashboardState, EngineBehaviour, RayPod, Timing};
use super::clock::Clock;
use super::container::{End, Run};
use super::ordered_notify::OrderedNotify;
use super::shared::Shared;
use super::wire::Simulated;
use super::world::World;

/// All Ray clusters. Clones are handles of the same world.
#[derive(Clone)]
pub struct RayWorld(pub(super) Arc<Shared>);

impl RayWorld {
    /// An empty world, whose ids and jitter come from the seed. Its time of day starts at
    /// 2030-01-01T00:00:00Z.
    pub fn new(seed: u64) -> Self {
        let world = Mutex::new(World::new(seed));
        Self(Arc::new(Shared {
            clock: Clock::begin(),
            world,
            reported: AtomicU64::new(0),
            changed: OrderedNotify::default(),
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

    /// Every address and port that takes connections, for who gives them sockets of their own.
    pub fn listening(&self) -> BTreeSet<(String, u16)> {
        self.0.with(|world| world.listening())
    }

    /// Version of the world; increases with every change.
    pub fn version(&self) -> u64 {
        self.0.with(|world| world.version)
    }

    /// Waits until the version is not `version`, and returns the new one.
    pub async fn changed_since(&self, version: u64) -> u64 {
        loop {
            let changes = self.0.changed.subscribe();
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
