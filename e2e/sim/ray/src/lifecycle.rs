//! The life of containers that run `ray start`: how they join a head, how they end, and what their end does to the rest.

use std::time::Duration;

use super::actor::{HEARTBEATS, SIGTERM};
use super::behaviour::{DashboardState, RayPod};
use super::clock;
use super::container::{Container, End, Run};
use super::gcs::{Gcs, Node};
use super::world::World;

/// From the end of a container in order until Ray knows of it.
const GOODBYE: Duration = Duration::from_millis(500);
/// From the dashboard's first answer until workers notice it.
const NOTICE: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn start(&mut self, pod: RayPod) {
        let ip = pod.ip.clone();
        if self.containers.get(&ip).is_some_and(|c| matches!(c.run, Run::Starting | Run::Up)) {
            self.end(&ip, 0, End::Stopped);
        }
        let life = self.ids.number();
        let (start, patience) = if pod.head {
            (self.timing.head_start, None)
        } else {
            (self.timing.worker_start, Some(self.timing.without_head))
        };
        let of = ip.clone();
        let start = self.about(start);
        self.after(start, move |world| world.up(&of, life));
        if let Some(patience) = patience {
            let of = ip.clone();
            self.after(patience, move |world| world.without_head(&of, life, None));
        }
        if let Some(port) = pod.own_engine_port {
            self.own_engine(&ip, life, port);
        }
        self.containers
            .insert(ip, Container { pod, life, run: Run::Starting, joined: None, ray_stopped: false });
    }

    /// The container of this life, if it still runs.
    pub(super) fn running(&mut self, ip: &str, life: u64) -> Option<&mut Container> {
        self.containers.get_mut(ip).filter(|c| c.life == life && matches!(c.run, Run::Starting | Run::Up))
    }

    fn up(&mut self, ip: &str, life: u64) {
        let Some(container) = self.running(ip, life) else { return };
        container.run = Run::Up;
        let pod = container.pod.clone();
        if !pod.head {
            return self.join(ip, life);
        }
        let number = self.ids.number();
        let at = clock::timestamp(self.now);
        let session = format!("session_{}_{}", at.strftime("%Y-%m-%d_%H-%M-%S_%f"), self.ids.pid());
        if let Some(old) = self.heads.remove(&pod.cluster) {
            self.orphan(&pod.cluster, &old, End::Died);
        }
        let gcs = Gcs::new(number, pod.ip.clone(), session, pod.token.clone(), self.now);
        self.heads.insert(pod.cluster.clone(), gcs);
        self.dashboards.insert(pod.cluster.clone(), DashboardState::Well);
        self.register(ip, number);
        // Workers that wait for a head join it; those of another life of the head find that they are not its.
        let workers: Vec<(String, u64, Option<u64>)> = self
            .containers
            .iter()
            .filter(|(_, c)| c.pod.cluster == pod.cluster && !c.pod.head && c.run == Run::Up)
            .map(|(ip, c)| (ip.clone(), c.life, c.joined.as_ref().map(|(of, _)| *of)))
            .collect();
        for (ip, life, joined) in workers {
            self.after(NOTICE, move |world| match joined {
                None => world.join(&ip, life),
                Some(of) => world.without_head(&ip, life, Some(of)),
            });
        }
    }

    fn join(&mut self, ip: &str, life: u64) {
        let Some(container) = self.running(ip, life).filter(|c| c.joined.is_none()) else { return };
        let (cluster, wants) = (container.pod.cluster.clone(), container.pod.head_ip.clone());
        let Some(gcs) = self.heads.get(&cluster) else { return };
        if wants.is_none_or(|head| head == gcs.ip) {
            let number = gcs.life;
            self.register(ip, number);
        }
    }

    fn register(&mut self, ip: &str, head_life: u64) {
        let id = self.ids.hex(56);
        let now = self.now;
        let Some(container) = self.containers.get_mut(ip) else { return };
        container.joined = Some((head_life, id.clone()));
        let pod = container.pod.clone();
        let Some(gcs) = self.heads.get_mut(&pod.cluster) else { return };
        let mut labels = pod.labels;
        labels.insert("ray.io/node-id".to_owned(), id.clone());
        let node =
            Node { ip: pod.ip, head: pod.head, gpus: pod.gpus, labels, began: now, gone: false, dead: None };
        gcs.nodes.insert(id, node);
        self.resources_changed(&pod.cluster);
    }

    /// A worker gives up that has not joined, or whose head is not the one it knows.
    fn without_head(&mut self, ip: &str, life: u64, of: Option<u64>) {
        let Some(container) = self.running(ip, life) else { return };
        let joined = container.joined.as_ref().map(|(head, _)| *head);
        let cluster = container.pod.cluster.clone();
        let head = self.heads.get(&cluster).map(|gcs| gcs.life);
        if joined == of && (of.is_none() || head != of) {
            self.end(ip, 1, End::Died);
        }
    }

    /// All processes of a container end.
    pub(super) fn end(&mut self, ip: &str, code: i32, how: End) {
        let Some(container) = self.containers.get_mut(ip) else { return };
        if !matches!(container.run, Run::Starting | Run::Up) {
            return;
        }
        container.run = if how == End::Lost { Run::Gone } else { Run::Ended(code) };
        let (cluster, joined) = (container.pod.cluster.clone(), container.joined.clone());
        self.close_engines_at(ip, how);
        let Some((life, node)) = joined else { return };
        let Some(gcs) = self.heads.get(&cluster).filter(|gcs| gcs.life == life) else { return };
        if gcs.ip == ip {
            if let Some(old) = self.heads.remove(&cluster) {
                self.orphan(&cluster, &old, how);
            }
            return;
        }
        self.node_ends(&cluster, life, node, how);
    }

    /// Ray is stopped on a worker's node, and its container goes on.
    pub(super) fn ray_stops(&mut self, ip: &str) {
        self.node_stops(ip, End::Stopped);
        if let Some(container) = self.containers.get_mut(ip) {
            container.ray_stopped = true;
        }
    }

    /// All that Ray runs on a node ends.
    fn node_stops(&mut self, ip: &str, how: End) -> Option<u64> {
        let container = self.containers.get(ip).filter(|c| c.raylet())?;
        let (life, cluster) = (container.life, container.pod.cluster.clone());
        let (head, node) = container.joined.clone()?;
        self.close_engines_at(ip, how);
        self.node_ends(&cluster, head, node, how);
        Some(life)
    }

    /// A raylet dies, and with it all that Ray runs on its node; the container ends a moment later.
    pub(super) fn raylet_dies(&mut self, ip: &str) {
        let Some(life) = self.node_stops(ip, End::Died) else { return };
        let ip = ip.to_owned();
        self.after(NOTICE, move |world| {
            if world.running(&ip, life).is_some() {
                world.end(&ip, 1, End::Died);
            }
        });
    }

    /// What ran on a node is gone; Ray learns of it in time.
    fn node_ends(&mut self, cluster: &str, life: u64, id: String, how: End) {
        let Some(node) = self.gcs(cluster, life).and_then(|gcs| gcs.nodes.get_mut(&id)) else { return };
        if node.gone || node.dead.is_some() {
            return;
        }
        node.gone = true;
        let (delay, why) = match how {
            End::Stopped => (GOODBYE, SIGTERM),
            End::Died | End::Lost => (self.about(self.timing.node_dead_after), HEARTBEATS),
        };
        self.ranks_gone(cluster, life, &id, how);
        let cluster = cluster.to_owned();
        self.after(delay, move |world| world.node_dead(&cluster, life, &id, why));
    }

    /// The head is gone, and with it all that it knew. Engines live and die with it; workers go on for a while.
    fn orphan(&mut self, cluster: &str, old: &Gcs, how: End) {
        self.close_engines_of(cluster, old.life, how);
        let life = old.life;
        let workers: Vec<(String, u64)> = self
            .containers
            .iter()
            .filter(|(_, c)| c.run == Run::Up && c.joined.as_ref().is_some_and(|(of, _)| *of == life))
            .map(|(ip, c)| (ip.clone(), c.life))
            .collect();
        for (ip, container) in workers {
            self.after(self.timing.without_head, move |world| world.without_head(&ip, container, Some(life)));
        }
    }

    pub(super) fn lose_host(&mut self, host: &str) {
        self.lost_hosts.insert(host.to_owned());
        let on = |c: &Container| c.pod.host_node == host;
        let ips: Vec<String> =
            self.containers.iter().filter(|(_, c)| on(c)).map(|(ip, _)| ip.clone()).collect();
        for ip in ips {
            self.end(&ip, 137, End::Lost);
            if let Some(container) = self.containers.get_mut(&ip) {
                container.run = Run::Gone;
            }
        }
    }
}
