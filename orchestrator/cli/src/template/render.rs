//! The manifest as text with comments. Every value goes through `yaml`; nothing is decided here but the order of lines.

use std::collections::BTreeMap;

use rayfleet_api::names;
use rayfleet_templates::explain::count;

use super::resources::PerGpu;
use super::site::Toleration;
use super::values::Values;
use super::yaml::{labels, map, scalar};

/// The fleet.
pub(super) fn fleet(values: &Values) -> String {
    let mut lines = head(values);
    lines.extend(rollout(values));
    lines.extend(model(values));
    lines.extend(template(values));
    lines.join("\n") + "\n"
}

/// Its description, and what it is called.
fn head(values: &Values) -> Vec<String> {
    let shape = values.fit.shape;
    let groups = count(u64::from(values.replicas), "group");
    let gpus = u64::from(values.fit.gpus) * u64::from(values.replicas);
    let interface = if values.over_nodes() { ", interface names" } else { "" };
    let mut lines = vec![
        format!(
            "# {}: a group is {}, {}tensor parallel {} x pipeline parallel {}; {groups}, {}.",
            values.title,
            values.group(),
            if shape.data == 1 { String::new() } else { format!("data parallel {} x ", shape.data) },
            shape.tensor,
            shape.pipeline,
            count(gpus, "GPU")
        ),
        format!(
            "# Yours to set: the image ({} with `ray[default]`, the Ray of rayVersion), the claim with the weights (ReadOnlyMany or \
             ReadWriteMany){interface}: docs/operations.md#your-first-fleet-on-your-cluster.",
            if values.amd { "vLLM for ROCm" } else { "vLLM" }
        ),
        format!("# Written by: {}", values.command),
        "apiVersion: orchestration.aibrix.ai/v1alpha1".to_owned(),
        "kind: RayClusterFleet".to_owned(),
    ];
    lines.extend(metadata(values));
    lines
}

/// Name, namespace and the site's labels.
pub(super) fn metadata(values: &Values) -> Vec<String> {
    let mut lines = vec!["metadata:".to_owned(), format!("  name: {}", scalar(&values.name))];
    lines.extend(values.namespace.as_ref().map(|namespace| format!("  namespace: {}", scalar(namespace))));
    if !values.site.labels.is_empty() {
        lines.push(format!("  labels: {}", labels(&values.site.labels)));
    }
    lines
}

fn rollout(values: &Values) -> Vec<String> {
    let gpus = values.fit.gpus;
    let mut lines = vec![
        "spec:".to_owned(),
        format!("  replicas: {}", values.replicas),
        "  selector:".to_owned(),
        format!("    matchLabels: {}", map([("app", values.name.as_str())])),
        "  minReadySeconds: 30".to_owned(),
        "  revisionHistoryLimit: 5".to_owned(),
        "  strategy:".to_owned(),
        "    type: RollingUpdate".to_owned(),
    ];
    if values.max_surge == 0 {
        lines.push(format!(
            "    # No surge: it needs the {} of one more group. Groups are replaced one at a time in place.",
            count(u64::from(gpus), "GPU")
        ));
        if values.replicas == 1 {
            lines.push("    # With one group nothing serves meanwhile: two groups, or --max-surge 1 if those GPUs are free.".to_owned());
        }
    }
    lines.push(format!("    rollingUpdate: {{maxSurge: {}, maxUnavailable: 1}}", values.max_surge));
    if values.max_surge > 0 {
        lines.push(format!(
            "    whenNoRoom: Replace           # no {gpus} free GPUs for one more group: replace one within maxUnavailable"
        ));
    }
    lines.extend(
        [
            "    onFailure: Hold               # a revision that does not get ready stops the rollout, and says why",
            "  drain:",
            "    timeout: 15m                  # the longest answer that must not be cut off",
            "  failurePolicy:",
            "    engineRestarts: 2",
            "    backoff: {initial: 10s, max: 5m}",
            "    hungAfter: 2m",
        ]
        .map(str::to_owned),
    );
    lines
}

fn model(values: &Values) -> Vec<String> {
    let shape = values.fit.shape;
    let timeout = format!("{}m", values.start.1.as_secs() / 60);
    let room = count(values.fit.sequences, "sequence");
    let mut lines = vec![
        "  model:".to_owned(),
        format!("    name: {}", scalar(&values.served)),
        format!("    source: {}", scalar(&values.source)),
        format!(
            "    parallelism: {{{}tensor: {}, pipeline: {}}}",
            if shape.data == 1 { String::new() } else { format!("data: {}, ", shape.data) },
            shape.tensor,
            shape.pipeline
        ),
        "    port: 8000".to_owned(),
        format!("    {:<29} # {}", format!("startTimeout: {timeout}"), values.start_reason()),
        "    engine:".to_owned(),
        "      type: vllm".to_owned(),
        format!("      # By the arithmetic there is room for {room} of {} tokens at once.", values.context),
        "      args:".to_owned(),
    ];
    lines.extend(values.args.iter().map(|arg| format!("      - {}", scalar(arg))));
    let expect =
        values.expect.as_ref().map_or_else(String::new, |text| format!(", expect: {}", scalar(text)));
    lines.push(format!("    probe: {{prompt: \"The capital of France is\", maxTokens: 8{expect}}}"));
    lines
}

fn template(values: &Values) -> Vec<String> {
    let mut cluster = BTreeMap::from([("app".to_owned(), values.name.clone())]);
    cluster.extend(values.site.labels.clone());
    if let Some(queue) = &values.kueue {
        cluster.insert(names::LABEL_KUEUE_QUEUE.to_owned(), queue.clone());
    }
    let mut lines = vec!["  template:".to_owned(), "    metadata:".to_owned()];
    if let Some(queue) = &values.volcano {
        lines.push("      # KubeRay's operator must run with --batch-scheduler=volcano.".to_owned());
        cluster.insert("ray.io/scheduler-name".to_owned(), "volcano".to_owned());
        cluster.insert("volcano.sh/queue-name".to_owned(), queue.clone());
    }
    let (params, pod) = if values.over_nodes() { ("&params ", " &pod") } else { ("", "") };
    lines.extend([
        format!("      labels: {}", labels(&cluster)),
        "    spec:".to_owned(),
        format!("      rayVersion: {}", scalar(&values.ray_version)),
        "      authOptions: {mode: token}".to_owned(),
        "      headGroupSpec:".to_owned(),
        format!("        rayStartParams: {params}{{disable-usage-stats: \"true\"}}"),
        format!("        template:{pod}"),
    ]);
    if !values.site.labels.is_empty() {
        lines.extend([
            "          metadata:".to_owned(),
            format!("            labels: {}", labels(&values.site.labels)),
        ]);
    }
    lines.push("          spec:".to_owned());
    lines.extend(placement(values));
    lines.extend(container(values));
    if values.over_nodes() {
        let workers = values.fit.shape.nodes - 1;
        lines.extend([
            "      workerGroupSpecs:".to_owned(),
            "      - groupName: worker".to_owned(),
            format!("        replicas: {workers}"),
            format!("        minReplicas: {workers}"),
            format!("        maxReplicas: {workers}"),
            "        rayStartParams: *params".to_owned(),
            "        template: *pod".to_owned(),
        ]);
    }
    lines
}

/// Of the pods: rights, how they end, and where they go.
fn placement(values: &Values) -> Vec<String> {
    let site = &values.site;
    let mut lines = Vec::new();
    lines.extend(site.service_account.as_ref().map(|name| format!("serviceAccountName: {}", scalar(name))));
    lines.extend(
        [
            "automountServiceAccountToken: false",
            "# Rayfleet drains (15m) and stops the engine before it deletes pods. Evictions, spot notices and node shutdowns do not wait",
            "# for that: requests have at most this time, and less if containers end at SIGTERM. To keep them for longer: a longer time",
            "# and a preStop hook (docs/operations.md#what-a-node-says-and-what-follows).",
            "terminationGracePeriodSeconds: 60",
        ]
        .map(str::to_owned),
    );
    lines.extend(values.volcano.as_ref().map(|_| "schedulerName: volcano".to_owned()));
    if values.over_nodes() {
        lines.extend(
            [
                "affinity:",
                "  podAntiAffinity:",
                "    requiredDuringSchedulingIgnoredDuringExecution:",
                "    - topologyKey: kubernetes.io/hostname",
                "      labelSelector:",
                "        matchExpressions: [{key: orchestration.aibrix.ai/raycluster-fleet-name, operator: Exists}]",
                "      matchLabelKeys: [rayfleet.io/group]",
            ]
            .map(str::to_owned),
        );
        if let Some(key) = &site.topology_key {
            lines.extend([
                "  podAffinity:                # a group's pods near to each other, if there is room".to_owned(),
                "    preferredDuringSchedulingIgnoredDuringExecution:".to_owned(),
                "    - weight: 100".to_owned(),
                "      podAffinityTerm:".to_owned(),
                format!("        topologyKey: {}", scalar(key)),
                "        labelSelector:".to_owned(),
                "          matchExpressions: [{key: orchestration.aibrix.ai/raycluster-fleet-name, operator: Exists}]".to_owned(),
                "        matchLabelKeys: [rayfleet.io/group]".to_owned(),
            ]);
        }
    }
    if !site.node_selector.is_empty() {
        lines.push(format!("nodeSelector: {}", labels(&site.node_selector)));
    }
    lines.push("tolerations:".to_owned());
    lines.push(format!("- {{key: {}, operator: Exists, effect: NoSchedule}}", scalar(values.gpu_resource)));
    lines.extend(site.tolerations.iter().map(|found| format!("- {}", toleration(found))));
    let secrets: Vec<String> =
        site.image_pull_secrets.iter().map(|name| map([("name", name.as_str())])).collect();
    if !secrets.is_empty() {
        lines.push(format!("imagePullSecrets: [{}]", secrets.join(", ")));
    }
    indented(lines)
}

fn toleration(found: &Toleration) -> String {
    let fields = [
        ("key", &found.key),
        ("operator", &found.operator),
        ("value", &found.value),
        ("effect", &found.effect),
    ];
    let fields =
        fields.into_iter().filter_map(|(field, text)| Some(format!("{field}: {}", scalar(text.as_ref()?))));
    let seconds = found.seconds.map(|seconds| format!("tolerationSeconds: {seconds}"));
    format!("{{{}}}", fields.chain(seconds).collect::<Vec<_>>().join(", "))
}

/// The container and its volumes.
fn container(values: &Values) -> Vec<String> {
    let gpus = values.fit.shape.gpus_per_node;
    let rdma = values.site.rdma_resource.as_ref().filter(|_| values.over_nodes());
    let rdma = rdma.map_or_else(String::new, |name| {
        format!(", {}: \"{}\"", scalar(name), values.site.rdma_count.unwrap_or(1))
    });
    let devices = format!("{}: \"{gpus}\"{rdma}", scalar(values.gpu_resource));
    let mut lines = vec!["containers:".to_owned(), "- name: ray".to_owned()];
    if values.amd && values.site.image.is_none() {
        lines.push("  # The image of docs/operations.md is for NVIDIA's GPUs: build one of vLLM for ROCm, and name it with --set image.".to_owned());
    }
    lines.extend([format!("  image: {}", scalar(&values.image)), "  env:".to_owned()]);
    lines.extend(environment(values));
    let each = PerGpu::of(&values.site);
    lines.extend([
        "  resources:".to_owned(),
        format!("    requests: {{cpu: \"{}\", memory: {}, {devices}}}", each.cpu(gpus), each.memory(gpus)),
        format!("    limits: {{memory: {}, {devices}}}", each.most_memory(gpus)),
    ]);
    if values.over_nodes() {
        lines.push("  securityContext:".to_owned());
        lines.push(
            "    capabilities: {add: [IPC_LOCK]}   # RDMA pins memory; Pod Security's level baseline refuses it".to_owned(),
        );
    }
    lines.extend([
        "  volumeMounts:".to_owned(),
        format!("  - {{name: models, mountPath: {}, readOnly: true}}", scalar(&values.model_path)),
        "  - {name: shm, mountPath: /dev/shm}".to_owned(),
        "volumes:".to_owned(),
        "- name: models".to_owned(),
        format!("  persistentVolumeClaim: {{claimName: {}, readOnly: true}}", scalar(&values.claim)),
        "- name: shm                           # NCCL and Ray's object store; counts as the pod's memory"
            .to_owned(),
        format!("  emptyDir: {{medium: Memory, sizeLimit: {}}}", each.shared_memory(gpus)),
    ]);
    indented(lines)
}

/// Variables of the container: those of the manifest, unless the site has others of that name, then the site's.
fn environment(values: &Values) -> Vec<String> {
    let mut own = Vec::new();
    if values.over_nodes() {
        own.extend(
            ["NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"].map(|name| (name, values.interface.as_str())),
        );
    }
    // A model that is no folder is fetched from the hub.
    if values.source.starts_with('/') {
        own.push(("HF_HUB_OFFLINE", "1"));
    }
    own.push(("VLLM_NO_USAGE_STATS", "1"));
    own.retain(|(name, _)| !values.site.env.contains_key(*name));
    let site = values.site.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    own.into_iter()
        .chain(site)
        .map(|(name, value)| format!("  - {}", map([("name", name), ("value", value)])))
        .collect()
}

/// Lines of a pod spec.
fn indented(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("            {line}")).collect()
}
