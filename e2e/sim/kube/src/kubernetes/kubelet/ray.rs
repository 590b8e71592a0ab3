//! What runs in the containers: maps a pod to a container of the Ray world, and reports its state there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::ByteString;
use rayfleet_sim_ray::{RayPod, RayWorld};
use serde_json::Value;

use super::super::object::{
    entries, has_ended, is_deleting, is_true, items, label, name, namespace, node_of,
};
use super::super::switches::Switches;
use crate::api::{ApiServer, Kind};

/// State of a container's processes, as a kubelet observes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// They run; whether Ray's health check answers.
    Runs { answers: bool },
    /// The main process has ended, with this code.
    Ended(i32),
}

/// The processes of all containers. Clones share the same state.
#[derive(Clone)]
pub(super) struct Processes {
    ray: RayWorld,
    /// The last observed state of each container that the kubelets run.
    states: Arc<Mutex<BTreeMap<String, ProcessState>>>,
}

impl Processes {
    pub(super) fn new(ray: RayWorld) -> Self {
        Self { ray, states: Arc::default() }
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, ProcessState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the kubelets whenever the state of a container has changed.
    pub(super) async fn watch(self, switches: Switches) {
        let mut version = self.ray.version();
        loop {
            version = self.ray.changed_since(version).await;
            if self.refresh() {
                switches.nudge();
            }
        }
    }

    /// Observes all containers again; returns whether one has changed.
    fn refresh(&self) -> bool {
        let mut has_changed = false;
        for (address, state) in self.states().iter_mut() {
            let now = self.at(address);
            has_changed |= std::mem::replace(state, now) != now;
        }
        has_changed
    }

    fn at(&self, address: &str) -> ProcessState {
        match self.ray.exited(address) {
            Some(code) => ProcessState::Ended(code),
            None => ProcessState::Runs { answers: self.ray.ready(address) },
        }
    }

    /// State of the container at an address.
    pub(super) fn look(&self, address: &str) -> ProcessState {
        let state = self.at(address);
        self.states().insert(address.to_owned(), state);
        state
    }

    /// Whether ranks of an engine run there: then Ray does not end when it is asked to.
    pub(super) fn holds_an_engine(&self, address: &str) -> bool {
        let picture = self.ray.snapshot();
        entries(&picture["clusters"])
            .flat_map(|(_, cluster)| items(&cluster["ranks"]))
            .any(|rank| rank["ip"] == address)
    }

    /// Ends everything in a container. `asked`: its owner wants it to end; otherwise it counts as a death.
    pub(super) fn end(&self, address: &str, asked: bool) {
        if asked { self.ray.stop(address) } else { self.ray.die(address) }
    }

    /// Removes a pod with its address.
    pub(super) fn forget(&self, address: &str) {
        self.states().remove(address);
        self.ray.forget(address);
    }

    /// A machine has power again; nothing runs on it yet.
    pub(super) fn restore_node(&self, node: &str) {
        self.ray.restore_node(node);
    }

    /// Address of the head of a worker's cluster, as the head's Service resolves it, if Ray answers there.
    pub(super) fn answering_head(
        &self,
        api: &ApiServer,
        pods: &[Arc<Value>],
        worker: &Value,
    ) -> Option<String> {
        let address = head_address(api, pods, worker)?;
        self.ray.ready(&address).then_some(address)
    }

    /// Starts the Ray container of a pod at its address. Returns the name of its token's Secret if that is
    /// missing.
    pub(super) fn start(
        &self,
        api: &ApiServer,
        pods: &[Arc<Value>],
        pod: &Value,
        address: &str,
    ) -> Result<(), String> {
        let token = token(api, pod)?;
        let head = label(pod, "ray.io/node-type") == Some("head");
        let command = ray_start(pod);
        let cluster = label(pod, "ray.io/cluster").unwrap_or_default();
        self.ray.start(RayPod {
            ip: address.to_owned(),
            host_node: node_of(pod).unwrap_or_default().to_owned(),
            cluster: format!("{}/{cluster}", namespace(pod)),
            head,
            head_ip: if head { None } else { head_address(api, pods, pod) },
            gpus: option(command, "num-gpus").and_then(|gpus| gpus.parse().ok()).unwrap_or_default(),
            labels: ray_labels(command),
            token,
            own_engine_port: own_engine_port(pod).filter(|_| head),
        });
        Ok(())
    }
}

/// The pod that the head's Service resolves to, the newest one if there are several. A Service that does
/// not publish unready addresses resolves to none until the head is ready.
fn head_address(api: &ApiServer, pods: &[Arc<Value>], worker: &Value) -> Option<String> {
    let of_head = |object: &Value| {
        namespace(object) == namespace(worker)
            && label(object, "ray.io/node-type") == Some("head")
            && label(object, "ray.io/cluster") == label(worker, "ray.io/cluster")
    };
    let service = api.list(&Kind::SERVICE).into_iter().find(|service| of_head(service))?;
    let published = service["spec"]["publishNotReadyAddresses"] == true;
    let is_head = |pod: &&Arc<Value>| {
        of_head(pod)
            && (published || (is_true(pod, "Ready") && !is_deleting(pod)))
            && pod["status"]["podIP"].is_string()
            && !has_ended(pod)
    };
    let heads = pods.iter().filter(is_head);
    let newest = heads.max_by_key(|pod| {
        let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default();
        (!is_deleting(pod), created.to_owned(), name(pod).to_owned())
    })?;
    newest["status"]["podIP"].as_str().map(str::to_owned)
}

/// The token of a pod's Ray container; an error with the name of the Secret if that or its key is missing.
pub(super) fn token(api: &ApiServer, pod: &Value) -> Result<Option<String>, String> {
    let env = items(&pod["spec"]["containers"][0]["env"]);
    let Some(variable) = env.iter().find(|variable| variable["name"] == "RAY_AUTH_TOKEN") else {
        return Ok(None);
    };
    if let Some(value) = variable["value"].as_str() {
        return Ok(Some(value.to_owned()));
    }
    let source = &variable["valueFrom"]["secretKeyRef"];
    let secret = source["name"].as_str().unwrap_or_default();
    let object = api.get(&Kind::SECRET, namespace(pod), secret).ok_or_else(|| secret.to_owned())?;
    let value = object["data"][source["key"].as_str().unwrap_or_default()].clone();
    let bytes: ByteString = serde_json::from_value(value).map_err(|_| secret.to_owned())?;
    String::from_utf8(bytes.0).map(Some).map_err(|_| secret.to_owned())
}

/// The `ray start` command that KubeRay has made for a pod.
fn ray_start(pod: &Value) -> &str {
    let env = items(&pod["spec"]["containers"][0]["env"]).iter();
    let mut command = env.filter(|variable| variable["name"] == "KUBERAY_GEN_RAY_START_CMD");
    command.find_map(|variable| variable["value"].as_str()).unwrap_or_default()
}

fn option<'c>(command: &'c str, name: &str) -> Option<&'c str> {
    let mut words = command.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn ray_labels(command: &str) -> BTreeMap<String, String> {
    let pairs = option(command, "labels").into_iter().flat_map(|labels| labels.split(','));
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Port of a server that a pod's own command starts beside Ray, as AIBrix' manifests do.
fn own_engine_port(pod: &Value) -> Option<u16> {
    if pod["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] != "true" {
        return None;
    }
    let container = &pod["spec"]["containers"][0];
    let words = ["command", "args"].into_iter().flat_map(|field| items(&container[field]));
    let words: Vec<&str> = words.filter_map(Value::as_str).flat_map(str::split_whitespace).collect();
    let behind = |option: &str| words.iter().skip_while(|word| **word != option).nth(1).copied();
    let serves = words.contains(&"serve");
    serves.then(|| behind("--port").and_then(|port| port.parse().ok()).unwrap_or(8000))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ray_start_parameters_are_read_from_the_command() {
        let command = "ray start --head --block --num-gpus=8 --labels=zone=a,rack=r1";
        assert_eq!(option(command, "num-gpus"), Some("8"));
        assert_eq!(option(command, "num"), None);
        assert_eq!(ray_labels(command)["rack"], "r1");
    }

    #[test]
    fn a_server_in_the_pod_s_command_is_detected() {
        let pod = |annotation: &str, args: &str| {
            json!({
                "metadata": {"annotations": {"ray.io/overwrite-container-cmd": annotation}},
                "spec": {"containers": [{"args": [args]}]}
            })
        };
        assert_eq!(own_engine_port(&pod("true", "eval $RAY & exec vllm serve m --port 9000")), Some(9000));
        assert_eq!(own_engine_port(&pod("true", "vllm serve m")), Some(8000));
        assert_eq!(own_engine_port(&pod("true", "eval $RAY")), None);
        assert_eq!(own_engine_port(&pod("false", "vllm serve m")), None);
    }
}
