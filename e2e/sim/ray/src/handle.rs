//! The handle of the simulated world.

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

/// All Ray clusters. Clones are handles of the same.
#[derive(Clone)]
pub struct RayWorld(pub(super) Arc<Shared>);

impl RayWorld {
    /// An empty world, whose ids and jitter come from the seed. Its time of day begins at 2030-01-01T00:00:00Z.
    pub fn new(seed: u64) -> Self {
        let world = Mutex::new(World::new(seed));
        Self(Arc::new(Shared {
            clock: Clock::begin(),
            world,
            reported: AtomicU64::new(0),
            changed: OrderedNotify::default(),
        }))
    }

    /// The network, as the bridge uses it.
    pub fn wire(&self) -> Arc<dyn Wire> {
        Arc::new(Simulated(self.0.clone()))
    }

    /// Sets how long things take from now on.
    pub fn timing(&self, timing: Timing) {
        self.0.change(|world| world.timing = timing);
    }

    /// Sets how engines behave that are started from now on, by source and the arguments behind it. An engine that a pod runs
    /// by itself is asked for with neither. The function must not use the world.
    pub fn models(&self, behaviour: impl Fn(&str, &[String]) -> EngineBehaviour + Send + 'static) {
        self.0.change(|world| world.models = Box::new(behaviour));
    }

    /// A container's `ray start` begins. One that runs at the address ends before.
    pub fn start(&self, pod: RayPod) {
        self.0.change(|world| world.start(pod));
    }

    /// All of a container's processes end, asked to. Its address refuses connections from then on.
    pub fn stop(&self, ip: &str) {
        self.0.change(|world| world.end(ip, 0, End::Stopped));
    }

    /// As [`stop`](Self::stop), but it is a death: out of memory, or evicted without grace. Requests that end with it ended
    /// by a fault, and Ray learns of the node only by its health checks.
    pub fn die(&self, ip: &str) {
        self.0.change(|world| world.end(ip, 137, End::Died));
    }

    /// The pod is gone and its address with it: nothing answers there.
    pub fn forget(&self, ip: &str) {
        self.0.change(|world| {
            world.end(ip, 0, End::Stopped);
            world.containers.remove(ip);
        });
    }

    /// A machine loses its power: what ran there is gone, and no address on it answers or refuses anything.
    pub fn lose_node(&self, host_node: &str) {
        self.0.change(|world| world.lose_host(host_node));
    }

    /// The machine is back, with nothing running on it.
    pub fn restore_node(&self, host_node: &str) {
        self.0.change(|world| {
            world.lost_hosts.remove(host_node);
        });
    }

    /// The exit code of a container that ended by itself or was ended; `None` while it runs, or with a lost machine.
    pub fn exited(&self, ip: &str) -> Option<i32> {
        self.0.with(|world| match world.containers.get(ip)?.run {
            Run::Ended(code) => Some(code),
            Run::Starting | Run::Up | Run::Gone => None,
        })
    }

    /// What KubeRay's readiness probe finds: the node has joined, and is reached.
    pub fn ready(&self, ip: &str) -> bool {
        self.0.with(|world| {
            let container = world.containers.get(ip);
            container.is_some_and(|c| {
                (c.raylet() || c.ray_stopped) && !world.lost_hosts.contains(&c.pod.host_node)
            })
        })
    }

    /// Grows with everything that happens.
    pub fn version(&self) -> u64 {
        self.0.with(|world| world.version)
    }

    /// Waits until something has happened since `version`, and gives the version then.
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

    /// A rank of the cluster's engine is killed.
    pub fn kill_rank(&self, cluster: &str, rank: usize) {
        self.0.change(|world| world.rank_dies(cluster, rank));
    }

    /// The core of the cluster's engine is killed.
    pub fn kill_engine(&self, cluster: &str) {
        self.0.change(|world| world.core_dies(cluster));
    }

    /// The process that answers requests is killed.
    pub fn kill_server(&self, cluster: &str) {
        self.0.change(|world| world.server_dies(cluster));
    }

    /// The launcher ends by itself with this code; with 0 Ray calls the job SUCCEEDED.
    pub fn end_launcher(&self, cluster: &str, code: i32) {
        self.0.change(|world| world.launcher_leaves(cluster, code));
    }

    /// The engine makes no step any more, and says that all is well.
    pub fn hang_engine(&self, cluster: &str) {
        self.0.change(|world| world.engine_hangs(cluster));
    }

    /// The raylet of a node is killed, and all that Ray runs there dies with it; a second later its container ends.
    pub fn kill_raylet(&self, ip: &str) {
        self.0.change(|world| world.raylet_dies(ip));
    }

    /// `ray stop` in a container that goes on and whose probes do not ask Ray: its node never joins again.
    pub fn stop_ray(&self, ip: &str) {
        self.0.change(|world| world.ray_stops(ip));
    }

    /// What the cluster's dashboard does; another head begins well.
    pub fn set_dashboard(&self, cluster: &str, state: DashboardState) {
        self.0.change(|world| {
            world.dashboards.insert(cluster.to_owned(), state);
        });
    }

    /// Nothing from here reaches an address any more, or again; other addresses reach it always.
    pub fn cut_path(&self, ip: &str, cut: bool) {
        self.0.change(|world| {
            if cut {
                world.cut.insert(ip.to_owned());
            } else {
                world.cut.remove(ip);
            }
        });
    }

    /// The whole as one plain value without ids, sorted.
    pub fn snapshot(&self) -> Value {
        self.0.with(|world| world.snapshot())
    }
}

impl fmt::Debug for RayWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RayWorld")
    }
}
