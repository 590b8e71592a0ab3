//! What acts on the API server beside the orchestrator: KubeRay's operator, scheduler, kubelets, and the controllers of
//! nodes, EndpointSlices and quotas. Each is level-triggered: it looks at the objects, does what is due, and says when
//! it wants to look again. Nothing here knows the orchestrator.

mod drive;
mod endpoints;
mod eviction;
mod fit;
mod kubelet;
mod kuberay;
mod nodes;
mod object;
mod options;
mod proxy;
mod quota;
mod resources;
mod scheduler;
mod switches;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rayfleet_api::valid::after;
use rayfleet_sim_ray::RayWorld;
use serde_json::json;
use tokio::task::JoinSet;

use self::drive::{Simulator, drive};
use self::endpoints::Endpoints;
use self::kubelet::Kubelets;
use self::kuberay::Operator;
use self::nodes::Nodes;
use self::proxy::Proxy;
use self::quota::Quotas;
use self::scheduler::Scheduler;
use self::switches::Switches;
use crate::api::{ApiServer, Kind, Refusal};

pub use self::options::{NodeSpec, Options};

/// A running cluster around an API server. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct Kubernetes {
    api: ApiServer,
    ray: RayWorld,
    switches: Switches,
    proxy: Proxy,
    _tasks: Arc<JoinSet<()>>,
}

impl Kubernetes {
    /// Starts everything. Nodes are there after the first look.
    ///
    /// Must be called within a tokio runtime; with one seed and paused time all of it happens in the same way again.
    pub fn start(api: ApiServer, ray: RayWorld, options: Options, seed: u64) -> Self {
        let options = Arc::new(options);
        let switches = Switches::default();
        let proxy = Proxy::new(options.endpoint_lag);
        let mut tasks = JoinSet::new();
        // One after the other in this order, so that a run is the same each time.
        let mut run = |simulator: Box<dyn Simulator>| {
            tasks.spawn(drive(simulator, api.clone(), switches.clone()));
        };
        run(Box::new(Nodes::new(options.clone(), switches.clone())));
        run(Box::new(Quotas));
        run(Box::new(Operator::new(&options, switches.clone(), seed)));
        run(Box::new(Scheduler::new(seed.wrapping_add(1))));
        let kubelets = Kubelets::new(options, switches.clone(), ray.clone());
        let watch = kubelets.watch();
        run(Box::new(kubelets));
        run(Box::new(Endpoints::new(seed.wrapping_add(2))));
        run(Box::new(proxy.clone()));
        tasks.spawn(watch);
        Self { api, ray, switches, proxy, _tasks: Arc::new(tasks) }
    }

    /// Power loss: nothing on the node runs or answers any more.
    pub fn kill_node(&self, name: &str) {
        self.ray.lose_node(name);
        self.switches.lose(name, self.api.now());
    }

    /// `systemctl reboot` with a kubelet that lets pods end first. It is up again when it is restored.
    pub fn shut_down(&self, name: &str) {
        self.switches.shut_down(name);
    }

    /// Puts a taint on a node, or takes it off.
    pub fn taint(&self, name: &str, key: &str, on: bool) -> Result<(), Refusal> {
        let node = self.api.get(&Kind::NODE, "", name).unwrap_or_default();
        let mut taints = object::items(&node["spec"]["taints"]).to_vec();
        taints.retain(|taint| taint["key"] != key);
        if on {
            taints.push(json!({"key": key, "effect": "NoSchedule"}));
        }
        let patch = json!({"spec": {"taints": taints}});
        self.api.merge_patch(&Kind::NODE, "", name, &patch).map(drop)
    }

    /// The kubelet is not heard of any more; its containers run on.
    pub fn kubelet_silent(&self, name: &str) {
        self.switches.silence(name, self.api.now());
    }

    /// Power or connection is back. A machine that was without power has to boot first.
    pub fn restore_node(&self, name: &str) {
        self.switches.restore(name, self.api.now());
    }

    /// No new pods on the node; those that are there stay.
    pub fn cordon(&self, name: &str) -> Result<(), Refusal> {
        self.set_unschedulable(name, true)
    }

    /// The end of [`Kubernetes::cordon`].
    pub fn uncordon(&self, name: &str) -> Result<(), Refusal> {
        self.set_unschedulable(name, false)
    }

    fn set_unschedulable(&self, name: &str, unschedulable: bool) -> Result<(), Refusal> {
        let patch = json!({"spec": {"unschedulable": unschedulable}});
        self.api.merge_patch(&Kind::NODE, "", name, &patch).map(drop)
    }

    /// SIGKILL of the Ray container of a pod. Its kubelet starts it again.
    pub fn kill_container(&self, namespace: &str, pod: &str) {
        self.switches.kill(namespace, pod);
    }

    /// `kubectl delete pod`, with `--force --grace-period=0` if forced: then the object is gone at once.
    pub fn delete_pod_behind_back(&self, namespace: &str, pod: &str, force: bool) -> Result<(), Refusal> {
        if force {
            self.api.remove(&Kind::POD, namespace, pod)
        } else {
            self.api.delete(&Kind::POD, namespace, pod)
        }
    }

    /// An eviction, as `kubectl drain` asks for it. Whether the budgets allow it.
    pub fn evict(&self, namespace: &str, pod: &str) -> Result<bool, Refusal> {
        eviction::evict(&self.api, namespace, pod)
    }

    /// KubeRay's operator does nothing for so long, and then looks at everything again.
    pub fn kuberay_down(&self, duration: Duration) {
        self.switches.kuberay_down_until(after(self.api.now(), duration));
    }

    /// KubeRay's operator is restarted: it waits until its predecessor's lease has run out.
    pub fn restart_kuberay(&self) {
        self.kuberay_down(kuberay::RESTART);
    }

    /// Addresses and ports to which the Service leads at this moment, as kube-proxy has programmed it.
    pub fn service_addresses(&self, namespace: &str, service: &str) -> Vec<(String, u16)> {
        self.proxy.addresses(namespace, service, self.api.now())
    }
}
