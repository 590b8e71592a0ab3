//! What runs in the pods: each that Kubernetes says is running is a container of the simulated Ray.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rayfleet_sim_ray::{EngineBehaviour, RayPod, RayWorld, Timing};

/// Label of nodes that no kubelet is played for: `hack/local/scale/kwok.yaml` leaves them and their pods alone.
pub(crate) const UNPLAYED: &str = "scale-unplayed";
const GPU: &str = "nvidia.com/gpu";
/// Port of an engine that a pod's own command starts.
const OWN_ENGINE: u16 = 8000;
/// How long an engine loads, and takes for a token. Real ones take minutes, but none less: who asks for the ranks and for the
/// engine's health at the same time must not be answered that it serves while its ranks start.
const LOAD: Duration = Duration::from_secs(2);
const TOKEN: Duration = Duration::from_millis(1);

/// The played Ray clusters. They are quick: what is measured is the controller, and not the wait for models.
pub(crate) struct Containers {
    ray: RayWorld,
    /// Addresses of those that run, by the pod's UID.
    running: BTreeMap<String, String>,
}

impl Containers {
    /// No pods yet.
    pub(crate) fn new() -> Self {
        let ray = RayWorld::new(1);
        let short = Duration::from_millis(200);
        ray.timing(Timing {
            head_start: short,
            worker_start: short,
            job_start: short,
            ranks_start: short,
            spread: 0.5,
            ..Timing::default()
        });
        ray.models(move |_, _| EngineBehaviour {
            load: LOAD,
            token_time: TOKEN,
            ..EngineBehaviour::default()
        });
        Self { ray, running: BTreeMap::new() }
    }

    /// A handle by which faults can be caused.
    pub(crate) fn ray(&self) -> RayWorld {
        self.ray.clone()
    }

    /// A pod is there, or has changed.
    pub(crate) fn applied(&mut self, pod: &Pod) {
        let Some(uid) = &pod.metadata.uid else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            if let Some(ip) = self.running.get(uid) {
                self.ray.stop(ip);
            }
        } else if !self.running.contains_key(uid)
            && let Some(container) = container(pod)
        {
            self.running.insert(uid.clone(), container.ip.clone());
            self.ray.start(container);
        }
    }

    /// A pod is gone.
    pub(crate) fn gone(&mut self, pod: &Pod) {
        if let Some(ip) = pod.metadata.uid.as_ref().and_then(|uid| self.running.remove(uid)) {
            self.ray.forget(&ip);
        }
    }
}

/// The container of a pod that runs; `None` if it does not, or is not Ray's.
fn container(pod: &Pod) -> Option<RayPod> {
    let label = |key: &str| pod.metadata.labels.as_ref()?.get(key);
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    let cluster = label("ray.io/cluster")?;
    let head = label("ray.io/node-type").is_some_and(|kind| kind == "head");
    let limits = spec
        .containers
        .iter()
        .filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get(GPU));
    let overwritten =
        pod.metadata.annotations.as_ref().and_then(|all| all.get("ray.io/overwrite-container-cmd"));
    Some(RayPod {
        ip: status.pod_ip.clone()?,
        host_node: spec.node_name.clone()?,
        cluster: format!("{}/{cluster}", pod.metadata.namespace.as_deref().unwrap_or_default()),
        head,
        head_ip: None,
        gpus: limits.filter_map(|gpus| gpus.0.parse::<u32>().ok()).sum(),
        labels: BTreeMap::new(),
        token: None,
        own_engine_port: overwritten.filter(|value| head && *value == "true").map(|_| OWN_ENGINE),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_running_pod_of_ray_is_a_container() {
        let pod = |phase: &str, labels: serde_json::Value| {
            let limits = json!({"limits": {"nvidia.com/gpu": "2"}});
            serde_json::from_value::<Pod>(json!({
                "metadata": {"namespace": "default", "name": "f-head", "labels": labels},
                "spec": {"nodeName": "node-1", "containers": [{"name": "ray", "resources": limits}]},
                "status": {"phase": phase, "podIP": "10.128.0.7"}
            }))
            .unwrap()
        };
        let ray = json!({"ray.io/cluster": "f-1", "ray.io/node-type": "head"});
        let head = container(&pod("Running", ray.clone())).unwrap();
        assert_eq!(
            (head.ip.as_str(), head.cluster.as_str(), head.head, head.gpus),
            ("10.128.0.7", "default/f-1", true, 2)
        );
        assert_eq!(container(&pod("Pending", ray)), None);
        assert_eq!(container(&pod("Running", json!({}))), None);
    }
}
