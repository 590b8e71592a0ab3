//! The kubelets of all nodes: they start, watch and end the containers of pods that are bound to their
//! node, and write the pods' status. What runs inside a container belongs to the Ray world.

mod image;
mod life;
mod ray;
mod report;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use rayfleet_sim_ray::RayWorld;
use serde_json::{Value, json};

use self::life::{Life, Plan};
use self::ray::Processes;
use super::drive::{Simulator, earlier};
use super::object::{has_ended, is_deleting, key, name, namespace, node_of, uid};
use super::options::Options;
use super::switches::{Machine, Switches};
use crate::api::{ApiServer, Kind};

/// From a change of a pod at the API server until its kubelet has acted on it.
const SYNC: Duration = Duration::from_millis(25);
/// From the end of the last container of a pod that is deleted until its object is gone.
const CLEAN_UP: Duration = Duration::from_millis(500);

/// State of a machine.
#[derive(Default)]
struct Host {
    images: BTreeSet<String>,
    last_address: u8,
}

pub(super) struct Kubelets {
    options: Arc<Options>,
    switches: Switches,
    ray: Processes,
    hosts: BTreeMap<String, Host>,
    /// Pods that a kubelet runs, by UID.
    lives: BTreeMap<String, Life>,
}

impl Kubelets {
    pub(super) fn new(options: Arc<Options>, switches: Switches, ray: RayWorld) -> Self {
        let (hosts, lives) = (BTreeMap::new(), BTreeMap::new());
        Self { options, switches, ray: Processes::new(ray), hosts, lives }
    }

    /// Wakes the kubelets when the state of a container has changed.
    pub(super) fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ray.clone().watch(self.switches.clone())
    }

    /// Marks machines that have booted as up, and ends what ran on those without power. Returns when the
    /// next one will have booted.
    fn machines(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut wake = None;
        for spec in &self.options.nodes {
            match self.switches.machine(&spec.name) {
                Machine::Up | Machine::ShuttingDown | Machine::Silent(_) | Machine::Dead(_) => {}
                Machine::Booting(_, power) => {
                    let up = after(power, self.options.node_boot);
                    if up <= now {
                        self.ray.restore_node(&spec.name);
                        self.lives.retain(|_, life| {
                            let here = life.node == spec.name;
                            if here {
                                self.ray.forget(life.address());
                            }
                            !here
                        });
                        self.switches.booted(&spec.name);
                    } else {
                        wake = earlier(wake, Some(up));
                    }
                }
            }
        }
        wake
    }

    fn works(&self, node: &str) -> bool {
        matches!(self.switches.machine(node), Machine::Up | Machine::ShuttingDown)
    }

    /// Whether a node is shutting down: it ends its pods and accepts no more.
    fn shuts_down(&self, node: &str) -> bool {
        self.switches.machine(node) == Machine::ShuttingDown
    }

    /// Ends containers whose pod object is gone: a forced deletion.
    fn end_orphans(&mut self, pods: &[Arc<Value>]) {
        let known: BTreeSet<&str> = pods.iter().map(|pod| uid(pod)).collect();
        let orphans: Vec<String> = self
            .lives
            .iter()
            .filter(|(id, life)| !known.contains(id.as_str()) && self.works(&life.node))
            .map(|(id, _)| id.clone())
            .collect();
        for id in orphans {
            if let Some(life) = self.lives.remove(&id) {
                // Without a graceful end: connections break.
                self.ray.end(life.address(), false);
                self.ray.forget(life.address());
            }
        }
    }

    fn kill(&mut self, api: &ApiServer, pods: &[Arc<Value>], now: Timestamp) {
        for killed in self.switches.take_kills() {
            let here =
                |pod: &&Arc<Value>| key(pod) == killed && node_of(pod).is_some_and(|node| self.works(node));
            let Some(pod) = pods.iter().find(here) else { continue };
            let plan = Plan { api, pods, pod, options: &self.options, ray: &self.ray, now };
            if let Some(life) = self.lives.get_mut(uid(pod))
                && life.kill(&plan)
            {
                drop(write(api, pod, life, now));
            }
        }
    }

    /// The next free address of a node's range.
    fn address(&mut self, node: &str) -> Option<String> {
        let number = self.options.nodes.iter().position(|spec| spec.name == node)? + 1;
        let written = |last: u8| format!("10.99.{number}.{last}");
        let used: BTreeSet<&str> = self.lives.values().map(Life::address).collect();
        let host = self.hosts.entry(node.to_owned()).or_default();
        let following = (0..=252_u8).map(|step| (u16::from(host.last_address) + u16::from(step)) % 253 + 2);
        let free = following.filter_map(|last| u8::try_from(last).ok());
        let free = free.into_iter().find(|last| !used.contains(written(*last).as_str()))?;
        host.last_address = free.saturating_sub(1);
        Some(written(free))
    }

    /// Starts the life of a pod that was bound to the node; `None` if there is nothing to run.
    fn take_on(&mut self, pod: &Value, node: &str, now: Timestamp) -> Option<&mut Life> {
        if !self.lives.contains_key(uid(pod)) {
            if is_deleting(pod) || has_ended(pod) || self.shuts_down(node) {
                return None;
            }
            let address = self.address(node)?;
            let host = self.hosts.entry(node.to_owned()).or_default();
            let pull = image::pull(pod, &host.images, self.options.image_pull);
            let life = Life::begin(pod, node, address, after(now, pull), now);
            self.lives.insert(uid(pod).to_owned(), life);
        }
        self.lives.get_mut(uid(pod))
    }

    /// One step of a pod on a node with a working kubelet. Returns when the next is due.
    fn tend(
        &mut self,
        api: &ApiServer,
        pods: &[Arc<Value>],
        pod: &Value,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let node = node_of(pod)?;
        let (options, processes, shuts_down) =
            (self.options.clone(), self.ray.clone(), self.shuts_down(node));
        let Some(life) = self.take_on(pod, node, now) else {
            // Nothing of it runs here: it ended, or the machine was without power meanwhile.
            if is_deleting(pod) {
                drop(api.remove(&Kind::POD, namespace(pod), name(pod)));
            }
            return None;
        };
        let plan = Plan { api, pods, pod, options: &options, ray: &processes, now };
        let mut changed = life.advance(&plan);
        let version = pod["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let due = life.noticed(version, after(now, SYNC));
        if due.is_some_and(|due| due <= now) {
            changed = true;
            if is_deleting(pod) {
                life.terminate(&plan);
            }
        }
        // The pod's status does not show it until its containers have ended.
        if shuts_down && !life.is_stopping() {
            changed = true;
            life.terminate(&plan);
        }
        if changed {
            let written = write(api, pod, life, now);
            // The pod's own status change must not hide a change by others that is still to be acted on.
            if due.is_none_or(|due| due <= now) {
                life.synced(written.unwrap_or_else(|| version.to_owned()));
            }
        }
        let images = life.pulled(pod, &options.bad_images);
        let (wake, over) = (life.wake(now), life.over_since());
        if !images.is_empty() {
            self.hosts.entry(node.to_owned()).or_default().images.extend(images);
        }
        if let Some(over) = over.filter(|_| is_deleting(pod)) {
            let gone = after(over, CLEAN_UP);
            if gone <= now {
                if let Some(life) = self.lives.remove(uid(pod)) {
                    self.ray.forget(life.address());
                }
                drop(api.remove(&Kind::POD, namespace(pod), name(pod)));
                return None;
            }
            return earlier(wake, Some(gone));
        }
        wake
    }
}

impl Simulator for Kubelets {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::POD, Kind::SECRET]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let mut wake = self.machines(now);
        let pods = api.list(&Kind::POD);
        self.end_orphans(&pods);
        self.kill(api, &pods, now);
        for pod in &pods {
            if node_of(pod).is_some_and(|node| self.works(node)) {
                wake = earlier(wake, self.tend(api, &pods, pod, now));
            }
        }
        wake
    }
}

/// Writes the status if it differs; returns the pod's version then.
fn write(api: &ApiServer, pod: &Value, life: &Life, now: Timestamp) -> Option<String> {
    let wanted = report::status(pod, life, now);
    let there = &pod["status"];
    if wanted.iter().all(|(field, value)| there[field] == *value) {
        return None;
    }
    let patch = json!({"status": wanted});
    let written = api.merge_patch_status(&Kind::POD, namespace(pod), name(pod), &patch).ok()?;
    written["metadata"]["resourceVersion"].as_str().map(str::to_owned)
}
