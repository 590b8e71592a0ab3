//! Node objects and their controllers: the kubelets' reports, when a silent node is declared lost, the
//! resulting taints, and the eviction of pods.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::{Value, json};

use super::drive::{Simulator, earlier};
use super::fit::tolerates;
use super::object::{condition, is_deleting, is_true, items, key, name, node_of, set_condition, written};
use super::options::{NodeSpec, Options};
use super::switches::{Machine, Switches};
use crate::api::{ApiServer, Kind};

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taints that these controllers add and remove; others belong to whoever set them.
const OWN: [&str; 3] = [UNREACHABLE, NOT_READY, UNSCHEDULABLE];

/// Kubelets' reports about their nodes, and the node lifecycle controller.
pub(super) struct Nodes {
    options: Arc<Options>,
    switches: Switches,
}

impl Nodes {
    pub(super) fn new(options: Arc<Options>, switches: Switches) -> Self {
        Self { options, switches }
    }
}

impl Simulator for Nodes {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::NODE, Kind::POD]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let mut wake = None;
        for (number, spec) in self.options.nodes.iter().enumerate() {
            let machine = self.switches.machine(&spec.name);
            let due = match machine.silent_since() {
                None if machine == Machine::ShuttingDown => {
                    says_goodbye(api, &spec.name, now);
                    None
                }
                None => {
                    report(api, number, spec, now);
                    None
                }
                Some(since) => {
                    let lost = after(since, self.options.node_grace);
                    if lost <= now {
                        give_up(api, &spec.name, now);
                    }
                    Some(lost).filter(|lost| *lost > now)
                }
            };
            wake = earlier(wake, due);
        }
        for node in api.list(&Kind::NODE) {
            taint(api, &node, now);
        }
        earlier(wake, evict(api, self.options.eviction_after, now))
    }
}

/// Ensures what a kubelet that reaches the API server ensures: its Node exists and is Ready.
fn report(api: &ApiServer, number: usize, spec: &NodeSpec, now: Timestamp) {
    match api.get(&Kind::NODE, "", &spec.name) {
        None => {
            let mut node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": spec.name, "labels": labels(spec)},
                "spec": {"podCIDR": format!("10.99.{}.0/24", number + 1)},
            });
            // The status of a Node is accepted at creation, when a kubelet registers.
            if let Some(node) = node.as_object_mut() {
                node.insert("status".to_owned(), status(number, spec, now));
            }
            if api.create(&Kind::NODE, node).is_ok() {
                let patch = json!({"status": status(number, spec, now)});
                drop(api.merge_patch_status(&Kind::NODE, "", &spec.name, &patch));
            }
        }
        Some(node) if !is_true(&node, "Ready") => {
            let mut conditions = items(&node["status"]["conditions"]).to_vec();
            for wanted in healthy() {
                set_condition(&mut conditions, wanted, now);
            }
            let patch = json!({"status": {"conditions": conditions}});
            drop(api.merge_patch_status(&Kind::NODE, "", &spec.name, &patch));
        }
        Some(_) => {}
    }
}

fn labels(spec: &NodeSpec) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", spec.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    spec.labels.clone().into_iter().chain(own).collect()
}

fn status(number: usize, spec: &NodeSpec, now: Timestamp) -> Value {
    let mut room = BTreeMap::from([
        ("cpu", spec.cpus.to_string()),
        ("memory", format!("{}Gi", spec.memory_gib)),
        ("ephemeral-storage", "100Gi".to_owned()),
        ("pods", "110".to_owned()),
    ]);
    if spec.gpus > 0 {
        room.insert("nvidia.com/gpu", spec.gpus.to_string());
    }
    let mut conditions = Vec::new();
    for wanted in healthy() {
        set_condition(&mut conditions, wanted, now);
    }
    json!({
        "capacity": room, "allocatable": room, "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": format!("10.88.0.{}", number + 11)},
            {"type": "Hostname", "address": spec.name},
        ],
        "nodeInfo": {
            "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3",
            "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "osImage": "", "systemUUID": "",
        },
    })
}

fn healthy() -> [Value; 4] {
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID"),
        ("Ready", "True", "KubeletReady"),
    ]
    .map(|(kind, status, reason)| {
        json!({"type": kind, "status": status, "reason": reason, "message": "kubelet is posting ready status"})
    })
}

/// Writes what a kubelet reports once, when it begins to end its pods.
fn says_goodbye(api: &ApiServer, node: &str, now: Timestamp) {
    let Some(object) = api.get(&Kind::NODE, "", node).filter(|object| is_true(object, "Ready")) else {
        return;
    };
    let mut conditions = items(&object["status"]["conditions"]).to_vec();
    let wanted = json!({
        "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "node is shutting down",
    });
    set_condition(&mut conditions, wanted, now);
    let patch = json!({"status": {"conditions": conditions}});
    drop(api.merge_patch_status(&Kind::NODE, "", node, &patch));
}

/// Declares a node lost: its conditions become Unknown, and its pods not ready.
fn give_up(api: &ApiServer, node: &str, now: Timestamp) {
    let Some(object) = api.get(&Kind::NODE, "", node) else { return };
    if condition(&object, "Ready").is_some_and(|ready| ready["status"] == "Unknown") {
        return;
    }
    let mut conditions = items(&object["status"]["conditions"]).to_vec();
    let kinds: Vec<Value> = conditions.iter().map(|condition| condition["type"].clone()).collect();
    for kind in kinds {
        let unknown = json!({
            "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        });
        set_condition(&mut conditions, unknown, now);
    }
    let patch = json!({"status": {"conditions": conditions}});
    drop(api.merge_patch_status(&Kind::NODE, "", node, &patch));
    for pod in api.list(&Kind::POD).iter().filter(|pod| node_of(pod) == Some(node)) {
        not_ready(api, pod, now);
    }
}

fn not_ready(api: &ApiServer, pod: &Value, now: Timestamp) {
    let Some(ready) = condition(pod, "Ready").filter(|ready| ready["status"] != "False") else { return };
    let mut conditions = items(&pod["status"]["conditions"]).to_vec();
    let mut wanted = ready.clone();
    if let Some(fields) = wanted.as_object_mut() {
        fields.insert("status".to_owned(), json!("False"));
    }
    set_condition(&mut conditions, wanted, now);
    let (namespace, name) = key(pod);
    let patch = json!({"status": {"conditions": conditions}});
    drop(api.merge_patch_status(&Kind::POD, &namespace, &name, &patch));
}

/// Sets the taints that follow from a node's conditions and its cordon.
fn taint(api: &ApiServer, node: &Value, now: Timestamp) {
    let unreachable = condition(node, "Ready").is_some_and(|ready| ready["status"] == "Unknown");
    let mut wanted = Vec::new();
    if unreachable {
        wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]);
    }
    if condition(node, "Ready").is_some_and(|ready| ready["status"] == "False") {
        wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]);
    }
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let there = items(&node["spec"]["taints"]);
    let is_own = |taint: &&Value| taint["key"].as_str().is_some_and(|key| OWN.contains(&key));
    let same = |taint: &Value, (key, effect): (&str, &str)| taint["key"] == key && taint["effect"] == effect;
    let own: Vec<&Value> = there.iter().filter(is_own).collect();
    let all_there = wanted.iter().all(|wanted| own.iter().any(|taint| same(taint, *wanted)));
    if all_there && own.len() == wanted.len() {
        return;
    }
    let mut taints: Vec<Value> = there.iter().filter(|taint| !is_own(taint)).cloned().collect();
    for (key, effect) in wanted {
        let before = own.iter().find(|taint| same(taint, (key, effect))).map(|taint| (*taint).clone());
        let new = || json!({"key": key, "effect": effect, "timeAdded": written(now)});
        taints.push(before.unwrap_or_else(new));
    }
    drop(api.merge_patch(&Kind::NODE, "", name(node), &json!({"spec": {"taints": taints}})));
}

/// Deletes the pods that do not tolerate a `NoExecute` taint of their node, or no longer. On a node without
/// a kubelet they stay, terminating.
fn evict(api: &ApiServer, patience: Duration, now: Timestamp) -> Option<Timestamp> {
    let mut wake = None;
    let nodes = api.list(&Kind::NODE);
    for pod in api.list(&Kind::POD).iter().filter(|pod| !is_deleting(pod)) {
        let Some(node) = nodes.iter().find(|node| node_of(pod) == Some(name(node))) else { continue };
        let executing = items(&node["spec"]["taints"]).iter().filter(|taint| taint["effect"] == "NoExecute");
        let Some(end) = executing.filter_map(|taint| leave_at(pod, taint, patience)).min() else { continue };
        if end <= now {
            drop(api.delete(&Kind::POD, &key(pod).0, name(pod)));
        } else {
            wake = earlier(wake, Some(end));
        }
    }
    wake
}

/// When a pod has to leave a node because of a taint; `None` is never.
fn leave_at(pod: &Value, taint: &Value, patience: Duration) -> Option<Timestamp> {
    let added = taint["timeAdded"].as_str().and_then(|time| time.parse().ok()).unwrap_or(Timestamp::MIN);
    let mut tolerating = items(&pod["spec"]["tolerations"])
        .iter()
        .filter(|toleration| tolerates(toleration, taint))
        .peekable();
    if tolerating.peek().is_none() {
        // The API server's admission gives every pod a toleration with an end for such nodes.
        let wait =
            if taint["key"] == UNREACHABLE || taint["key"] == NOT_READY { patience } else { Duration::ZERO };
        return Some(after(added, wait));
    }
    let seconds = tolerating.filter_map(|toleration| toleration["tolerationSeconds"].as_i64()).min()?;
    Some(after(added, Duration::from_secs(u64::try_from(seconds).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, ray_pod, status_of};
    use super::*;

    fn bench() -> Bench {
        let mut bench = Bench::new(Options::default());
        bench.run(Nodes::new(bench.options.clone(), bench.switches.clone()));
        bench
    }

    fn taints(bench: &Bench, name: &str) -> Vec<String> {
        let node = bench.api.get(&Kind::NODE, "", name).unwrap();
        let word = |taint: &Value| {
            format!("{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap())
        };
        items(&node["spec"]["taints"]).iter().map(word).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_are_ready_with_their_gpus() {
        let bench = bench();
        bench.wait(0.1).await;
        let nodes = bench.api.list(&Kind::NODE);
        assert_eq!(nodes.len(), 3);
        for node in &nodes {
            assert!(is_true(node, "Ready"));
            assert_eq!(node["status"]["allocatable"]["nvidia.com/gpu"], "2");
            assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], node["metadata"]["name"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_declared_lost_after_its_grace_period() {
        let bench = bench();
        bench.wait(0.1).await;
        bench.switches.silence("node-a", bench.api.now());
        bench.wait(49.0).await;
        assert!(taints(&bench, "node-a").is_empty());
        bench.wait(2.0).await;
        let node = bench.api.get(&Kind::NODE, "", "node-a").unwrap();
        assert_eq!(status_of(&node, "Ready"), "Unknown");
        let both =
            ["NoSchedule", "NoExecute"].map(|effect| format!("node.kubernetes.io/unreachable:{effect}"));
        assert_eq!(taints(&bench, "node-a"), both);
        bench.switches.restore("node-a", bench.api.now());
        bench.wait(0.1).await;
        assert_eq!(taints(&bench, "node-a"), Vec::<String>::new());
        assert!(is_true(&bench.api.get(&Kind::NODE, "", "node-a").unwrap(), "Ready"));
    }

    #[tokio::test(start_paused = true)]
    async fn pods_are_evicted_from_a_lost_node_when_their_tolerations_end() {
        let bench = bench();
        bench.wait(0.1).await;
        let mut soon = ray_pod("soon", "head", "node-a");
        soon["spec"]["tolerations"] = json!([
            {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 15}
        ]);
        let mut never = ray_pod("never", "head", "node-a");
        never["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        for pod in [soon, never, ray_pod("later", "head", "node-a"), ray_pod("elsewhere", "head", "node-b")] {
            bench.create(&Kind::POD, pod);
        }
        bench.switches.lose("node-a", bench.api.now());
        let leaving = |bench: &Bench| {
            let pods = bench.api.list(&Kind::POD);
            pods.iter().filter(|pod| is_deleting(pod)).map(|pod| name(pod).to_owned()).collect::<Vec<_>>()
        };
        bench.wait(64.0).await;
        assert!(leaving(&bench).is_empty());
        bench.wait(2.0).await;
        assert_eq!(leaving(&bench), ["soon"]);
        bench.wait(300.0).await;
        assert_eq!(leaving(&bench), ["later", "soon"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cordon_is_a_taint_that_evicts_no_pods() {
        let bench = bench();
        bench.wait(0.1).await;
        bench.create(&Kind::POD, ray_pod("p", "head", "node-a"));
        let cordon = |cordoned: bool| {
            let patch = json!({"spec": {"unschedulable": cordoned}});
            bench.api.merge_patch(&Kind::NODE, "", "node-a", &patch).unwrap();
        };
        cordon(true);
        bench.wait(900.0).await;
        assert_eq!(taints(&bench, "node-a"), ["node.kubernetes.io/unschedulable:NoSchedule"]);
        assert!(!is_deleting(&bench.pod("p")));
        cordon(false);
        bench.wait(0.1).await;
        assert!(taints(&bench, "node-a").is_empty());
    }
}
