//! The objects that KubeRay creates for a RayCluster, with its names and labels. What only a real container
//! would notice, such as volumes, is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::super::object::{controlled_by, entries, items, name, namespace};

/// Letters of generated names.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Ports of a head container that declares none.
const PORTS: [(&str, u16); 5] =
    [("client", 10_001), ("dashboard", 8265), ("gcs-server", 6379), ("metrics", 8080), ("serve", 8000)];

/// Builds pods. All randomness in them comes from one seed.
pub(super) struct Builder {
    rng: Rng,
    grace_period: Duration,
}

impl Builder {
    pub(super) fn new(rng: Rng, grace_period: Duration) -> Self {
        Self { rng, grace_period }
    }

    pub(super) fn random_bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.rng.u8(..)).collect()
    }

    fn suffix(&mut self) -> String {
        (0..5).filter_map(|_| self.rng.choice(LETTERS)).map(|letter| char::from(*letter)).collect()
    }

    /// Name of a new multi-host replica of a group.
    pub(super) fn replica_name(&mut self, group: &Value) -> String {
        format!("{}-{}", group["groupName"].as_str().unwrap_or_default(), self.suffix())
    }

    /// The head pod of a cluster.
    pub(super) fn head(&mut self, cluster: &Value) -> Value {
        let group = &cluster["spec"]["headGroupSpec"];
        let prefix = prefix(name(cluster), "head");
        let mut pod = self.pod(cluster, group, "headgroup", "head", &prefix);
        add_text(&mut pod["metadata"]["annotations"], "ray.io/ft-enabled", "false");
        add_text(&mut pod["metadata"]["annotations"], "ray.io/kuberay-version", "v1.6.2");
        pod
    }

    /// A worker pod. For a multi-host replica: the replica's name and the index of the host.
    pub(super) fn worker(
        &mut self,
        cluster: &Value,
        group: &Value,
        replica: u64,
        host: Option<(&str, u64)>,
    ) -> Value {
        let group_name = group["groupName"].as_str().unwrap_or_default();
        let prefix = prefix(&format!("{}-{group_name}", name(cluster)), "worker");
        let mut pod = self.pod(cluster, group, group_name, "worker", &prefix);
        let labels = &mut pod["metadata"]["labels"];
        add_text(labels, "ray.io/worker-group-replica-index", &replica.to_string());
        if let Some((name, host)) = host {
            add_text(labels, "ray.io/worker-group-replica-name", name);
            add_text(labels, "ray.io/replica-host-index", &host.to_string());
        }
        wait_for_gcs(cluster, &mut pod);
        pod
    }

    fn pod(&mut self, cluster: &Value, group: &Value, group_name: &str, kind: &str, prefix: &str) -> Value {
        let template = &group["template"];
        let mut spec = template["spec"].clone();
        set_default(&mut spec, "restartPolicy", json!("Always"));
        set_default(&mut spec, "terminationGracePeriodSeconds", json!(self.grace_period.as_secs()));
        let own_command = cluster["metadata"]["annotations"]["ray.io/overwrite-container-cmd"]
            .as_str()
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        if own_command {
            annotations.insert("ray.io/overwrite-container-cmd".to_owned(), json!("true"));
        }
        let secret = token_secret(cluster);
        if let Some(ray) = spec["containers"].get_mut(0) {
            start_ray(ray, group, kind, own_command);
            if let Some(secret) = &secret {
                authenticate(ray, secret);
            }
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("{prefix}{}", self.suffix()), "generateName": prefix,
                "namespace": namespace(cluster),
                "labels": labels(name(cluster), group_name, kind, group),
                "annotations": annotations,
                "ownerReferences": controlled_by(cluster, "ray.io/v1", "RayCluster"),
            },
            "spec": spec,
        })
    }
}

/// The prefix of a generated pod name: at most 50 characters, then the kind of pod.
fn prefix(text: &str, kind: &str) -> String {
    let kept: String = text.chars().take(50).collect();
    format!("{kept}-{kind}-").to_lowercase()
}

fn add_text(object: &mut Value, key: &str, text: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), json!(text));
    }
}

fn set_default(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(key).or_insert(value);
    }
}

/// KubeRay's labels. Those of the template override them, except the three that KubeRay reserves.
fn labels(cluster: &str, group_name: &str, kind: &str, group: &Value) -> BTreeMap<String, String> {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let identifier = format!("{cluster}-{kind}");
    let mut labels: BTreeMap<String, String> = [
        ("ray.io/is-ray-node", "yes"),
        ("ray.io/identifier", identifier.as_str()),
        ("app.kubernetes.io/name", "kuberay"),
        ("app.kubernetes.io/created-by", "kuberay-operator"),
    ]
    .map(text)
    .into();
    for source in [&group["template"]["metadata"]["labels"], &group["labels"]] {
        let given = entries(source).filter_map(|(key, value)| Some(text((key, value.as_str()?))));
        labels.extend(given);
    }
    labels.extend(
        [("ray.io/cluster", cluster), ("ray.io/group", group_name), ("ray.io/node-type", kind)].map(text),
    );
    labels
}

/// Sets the command of the Ray container: the user's own with KubeRay's in a variable, or KubeRay's after the
/// user's.
fn start_ray(container: &mut Value, group: &Value, kind: &str, own_command: bool) {
    let params = &group["rayStartParams"];
    let join = if kind == "head" { "--head" } else { "--address=$(FQ_RAY_IP):6379" };
    let mut start = vec![format!("ray start {join} --block --dashboard-agent-listen-port=52365")];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    start.extend(entries(params).map(|(key, value)| format!("--{key}={}", text(value))));
    let gpus = [&group["resources"]["GPU"], &container["resources"]["limits"]["nvidia.com/gpu"]];
    if let Some(gpus) = gpus.into_iter().find(|gpus| !gpus.is_null())
        && params["num-gpus"].is_null()
    {
        start.push(format!("--num-gpus={}", text(gpus)));
    }
    let labels: Vec<String> =
        entries(&group["labels"]).map(|(key, value)| format!("{key}={}", text(value))).collect();
    if !labels.is_empty() {
        start.push(format!("--labels={}", labels.join(",")));
    }
    let start = start.join(" ");
    add_env(container, json!({"name": "KUBERAY_GEN_RAY_START_CMD", "value": start}));
    let words = ["command", "args"].map(|field| {
        let words = items(&container[field]).iter().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    });
    let given = words.join(" ").trim().to_owned();
    if own_command || given.contains("ray start") {
        return;
    }
    let generated = format!("ulimit -n 65536; {start}");
    let args = if given.is_empty() { generated } else { format!("{given} && {generated}") };
    if let Some(fields) = container.as_object_mut() {
        fields.insert("command".to_owned(), json!(["/bin/bash", "-c", "--"]));
        fields.insert("args".to_owned(), json!([args]));
    }
}

fn add_env(container: &mut Value, variable: Value) {
    let Some(fields) = container.as_object_mut() else { return };
    let env = fields.entry("env").or_insert_with(|| json!([]));
    if let Some(env) = env.as_array_mut()
        && !env.iter().any(|there| there["name"] == variable["name"])
    {
        env.push(variable);
    }
}

fn authenticate(container: &mut Value, secret: &str) {
    add_env(container, json!({"name": "RAY_AUTH_MODE", "value": "token"}));
    let from = json!({"secretKeyRef": {"name": secret, "key": "auth_token"}});
    add_env(container, json!({"name": "RAY_AUTH_TOKEN", "valueFrom": from}));
}

/// Adds the init container in which a worker waits until Ray's head answers.
fn wait_for_gcs(cluster: &Value, pod: &mut Value) {
    let ray = &pod["spec"]["containers"][0];
    let address = format!("{}.{}.svc.cluster.local:6379", head_service_name(cluster), namespace(cluster));
    let room = json!({"cpu": "200m", "memory": "256Mi"});
    let mut waiting = json!({
        "name": "wait-gcs-ready", "image": ray["image"],
        "command": ["/bin/bash", "-c", "--"],
        "args": [format!("until ray health-check --address {address}; do sleep 5; done")],
        "env": items(&ray["env"]).iter().filter(|variable| variable["name"] != "KUBERAY_GEN_RAY_START_CMD").collect::<Vec<_>>(),
        "resources": {"limits": room, "requests": room},
    });
    if let (Some(policy), Some(fields)) = (ray.get("imagePullPolicy"), waiting.as_object_mut()) {
        fields.insert("imagePullPolicy".to_owned(), policy.clone());
    }
    if let Some(spec) = pod["spec"].as_object_mut() {
        let init = spec.entry("initContainers").or_insert_with(|| json!([]));
        if let Some(init) = init.as_array_mut() {
            init.push(waiting);
        }
    }
}

/// The head's Service. A `headService` is used as it is except for selector, name and KubeRay's own ports;
/// without one the Service is headless and publishes unready addresses, unless `serviceType` or the
/// operator (`cluster_ip`) asks for another type.
pub(super) fn head_service(cluster: &Value, cluster_ip: bool) -> Value {
    let head = &cluster["spec"]["headGroupSpec"];
    let application = head["template"]["metadata"]["labels"]["app.kubernetes.io/name"].as_str();
    let own = json!({
        "ray.io/cluster": name(cluster), "ray.io/node-type": "head",
        "ray.io/identifier": format!("{}-head", name(cluster)),
        "app.kubernetes.io/name": application.unwrap_or("kuberay"),
        "app.kubernetes.io/created-by": "kuberay-operator",
    });
    let given = &head["headService"];
    let mut labels = given["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(entries(&own).map(|(key, value)| (key.clone(), value.clone())));
    let mut spec = given["spec"].as_object().cloned().unwrap_or_default();
    let service_type = head["serviceType"].as_str().unwrap_or_default();
    if given.is_null() && !cluster_ip && matches!(service_type, "" | "ClusterIP") {
        spec.insert("clusterIP".to_owned(), json!("None"));
        spec.insert("publishNotReadyAddresses".to_owned(), json!(true));
    }
    if !service_type.is_empty() {
        spec.entry("type").or_insert_with(|| json!(service_type));
    }
    let port = |(name, port): (&String, &Value)| json!({"name": name, "port": port, "targetPort": port, "protocol": "TCP", "appProtocol": "tcp"});
    let own_ports = ports(head);
    let all = items(&given["spec"]["ports"]).iter().cloned().chain(own_ports.iter().map(port));
    spec.insert("ports".to_owned(), all.collect());
    spec.insert("selector".to_owned(), own);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": head_service_name(cluster), "namespace": namespace(cluster), "labels": labels,
            "annotations": given["metadata"]["annotations"],
            "ownerReferences": controlled_by(cluster, "ray.io/v1", "RayCluster"),
        },
        "spec": spec,
    })
}

fn head_service_name(cluster: &Value) -> String {
    let given = cluster["spec"]["headGroupSpec"]["headService"]["metadata"]["name"].as_str();
    given.map_or_else(|| format!("{}-head-svc", name(cluster)), str::to_owned)
}

fn ports(head: &Value) -> Map<String, Value> {
    let mut ports = Map::new();
    for port in items(&head["template"]["spec"]["containers"][0]["ports"]) {
        let number = &port["containerPort"];
        let name = port["name"].as_str().map_or_else(|| format!("{number}-port"), str::to_owned);
        ports.insert(name, number.clone());
    }
    if ports.is_empty() {
        ports.extend(PORTS.map(|(name, port)| (name.to_owned(), json!(port))));
    }
    ports.entry("metrics").or_insert_with(|| json!(8080));
    ports
}

/// The name of the Secret with the token, if token authentication is on.
pub(super) fn token_secret(cluster: &Value) -> Option<String> {
    let auth = &cluster["spec"]["authOptions"];
    if auth["mode"] != "token" {
        return None;
    }
    let named = auth["secretName"].as_str().filter(|name| !name.is_empty());
    Some(named.map_or_else(|| secret_name(name(cluster)), str::to_owned))
}

/// Name of the Secret that KubeRay creates: the last 50 characters of the cluster's name, with `r` for a
/// first character that is not allowed there.
pub(super) fn secret_name(cluster: &str) -> String {
    let start = cluster.len().saturating_sub(50);
    let kept = cluster.get(start..).unwrap_or(cluster);
    match kept.strip_prefix(|first: char| first.is_ascii_digit() || first.is_ascii_punctuation()) {
        Some(rest) => format!("r{rest}"),
        None => kept.to_owned(),
    }
}
