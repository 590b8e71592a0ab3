//! The one table of all rules: id, severity, what each is about and where its claim comes from. How a rule finds something is in
//! `rules`; here is only what people read about it.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::severity::Severity;

/// What is said of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name, which stays once it is released.
    pub id: &'static str,
    /// How bad it is where it applies.
    pub severity: Severity,
    /// What it finds, in a line.
    pub finds: &'static str,
    /// Why that bites.
    pub why: &'static str,
    /// Where that can be read.
    pub source: &'static str,
}

/// Rules with the name, severity and texts of each.
macro_rules! rules {
    ($($rule:ident = $id:literal $severity:ident $finds:literal $why:literal $source:literal;)+) => {
        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $(#[doc = $finds] $rule,)+ }

        impl Rule {
            /// All rules.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// What is said of it.
            pub const fn about(self) -> About {
                match self {
                    $(Self::$rule => About {
                        id: $id, severity: Severity::$severity, finds: $finds, why: $why, source: $source,
                    },)+
                }
            }
        }
    };
}

rules! {
    DuplicateKey = "duplicate-key" Error
        "A key that is written twice in one object."
        "YAML forbids it. Which of the two counts depends on the reader, and many say nothing."
        "YAML 1.2.2, 3.2.1.3 Node Comparison";
    NotAnObject = "not-an-object" Error
        "A document without `apiVersion`, `kind` or `metadata.name`."
        "No API server takes it."
        "Kubernetes documentation, Objects in Kubernetes: required fields";
    NothingChecked = "nothing-checked" Note
        "A file without a fleet or a LeaderWorkerSet."
        "The rules look at those and at what stands beside them: of the rest nothing is known, good or bad."
        "docs/from-aibrix.md";
    DroppedField = "dropped-field" Error
        "A field that its type does not have."
        "The API server drops it, or refuses the object under strict validation; Rayfleet refuses fields below spec.template.spec that \
         KubeRay does not know. AIBrix's CRD drops those silently. What the field was to say is not the case."
        "Kubernetes documentation, CustomResourceDefinitions: field pruning; docs/from-aibrix.md; types of KubeRay 1.7 and LWS 0.10";
    NewerField = "newer-field" Warning
        "A field of a RayCluster that KubeRay 1.2.1 does not have."
        "AIBrix's CRD is made from KubeRay 1.2.1 and drops it silently. Rayfleet passes it on to the KubeRay that is installed."
        "vllm-project/aibrix e3e10f9e, go.mod and config/crd; KubeRay 1.7, ray-operator/apis/ray/v1/raycluster_types.go";
    WrongType = "wrong-type" Error
        "A value of another type than its field's."
        "The API server refuses the object."
        "Kubernetes API reference, types of core/v1 and policy/v1";
    InvalidFleet = "invalid-fleet" Error
        "A fleet that Rayfleet refuses."
        "The API server or the orchestrator refuses it, and nothing is created."
        "docs/reference.md; the orchestrator's own validation";
    RayStartBlocks = "ray-start-blocks" Error
        "A command behind `$KUBERAY_GEN_RAY_START_CMD` or `ray start --block` that is never reached."
        "ray start --block stays until Ray ends. Every released KubeRay starts Ray with --block, whatever rayStartParams.block says, so the command before it never ends. Only \
         the image that AIBrix patches respects block: \"false\"."
        "Ray documentation, ray start; KubeRay 1.7, ray-operator/controllers/ray/common/pod.go: setMissingRayStartParams; docs/from-aibrix.md";
    BlockIgnored = "block-ignored" Note
        "`rayStartParams.block: \"false\"`, which KubeRay overwrites."
        "Every released KubeRay sets block to true; only the image that AIBrix patches respects it."
        "KubeRay 1.7, ray-operator/controllers/ray/common/pod.go: setMissingRayStartParams; docs/from-aibrix.md";
    CommandNotKept = "command-not-kept" Error
        "An engine's command without the annotation `ray.io/overwrite-container-cmd`."
        "KubeRay then starts Ray only once that command has ended, and an engine does not end."
        "KubeRay 1.7, ray-operator/controllers/ray/common/pod.go: BuildPod";
    InstallsAtStart = "installs-at-start" Warning
        "Packages that are installed when a container starts."
        "Every start depends on a registry, takes longer, and may bring other versions than the other pods have. Ray refuses a node or \
         driver of another version of Ray or Python."
        "Ray, python/ray/_private/node.py: Node.check_version_info";
    FloatingImage = "floating-image" Warning
        "An image by `latest` or without a tag."
        "A pod that is made again may run another version than the rest of its group, and the revision does not tell which one runs."
        "Kubernetes documentation, Images: image names";
    ImagesDiffer = "images-differ" Warning
        "A head and workers of one Ray cluster with different images."
        "Ray refuses a node of another version of Ray or Python than the head's. Images of two names may have the same versions, but \
         nothing makes them."
        "Ray, python/ray/_private/node.py: Node.check_version_info";
    GpusUnused = "gpus-unused" Warning
        "More GPUs in a group than the engine's command has ranks."
        "The others are reserved and idle."
        "vLLM documentation, Parallelism and Scaling";
    GpusMissing = "gpus-missing" Error
        "Fewer GPUs in a group than the engine's command has ranks."
        "The engine asks Ray for more GPUs than there are, and does not start."
        "vLLM documentation, Parallelism and Scaling";
    TensorOverNodes = "tensor-over-nodes" Warning
        "Tensor ranks of one stage on several pods."
        "They communicate in every layer, so that the network between the nodes sets the pace. vLLM's guide is tensor-parallel size = \
         GPUs of a node, pipeline-parallel size = nodes. With spec.model Rayfleet takes it only with placement.tensorDomain."
        "vLLM documentation, Parallelism and Scaling; docs/placement.md";
    PortDiffers = "port-differs" Error
        "An engine that listens on another port than it is asked on."
        "Rayfleet and AIBrix's gateway ask the port of the label model.aibrix.ai/port of the head's pod, or 8000. Nobody answers there, \
         so no group gets ready."
        "docs/from-aibrix.md; vLLM documentation, vllm serve: --port";
    PortOfRay = "port-of-ray" Error
        "An engine on a port that Ray takes on the head."
        "One of the two cannot listen: KubeRay gives Ray's metrics port 8080 unless the parameters say otherwise."
        "KubeRay 1.7, ray-operator/controllers/ray/common/pod.go: setMissingRayStartParams; Ray documentation, Configuring Ray: ports";
    SidecarOnRaysPort = "sidecar-on-rays-port" Warning
        "A container beside Ray's on a port that Ray takes on the head."
        "Containers of a pod share its ports, so one of the two cannot listen."
        "Kubernetes documentation, Pods: pod networking; KubeRay 1.7, ray-operator/controllers/ray/common/pod.go: setMissingRayStartParams";
    NoEngine = "no-engine" Warning
        "A head whose command starts no server, in a fleet that is asked for one."
        "Without spec.model Rayfleet's gate waits for an answer on the engine's port, 8000 unless something else is said, and no \
         group gets ready."
        "docs/concepts.md, Two modes";
    NoEngineProbe = "no-engine-probe" Warning
        "A container that starts an engine and has no probe."
        "Without a readiness or startup probe Kubernetes and AIBrix count the pod as ready while the engine still loads, and requests \
         are refused. Rayfleet's gate waits for the engine's /health; but without a liveness probe nothing restarts an engine that hangs."
        "Kubernetes documentation, Configure Liveness, Readiness and Startup Probes; docs/concepts.md";
    ProbeWaitsForEngine = "probe-waits-for-engine" Error
        "A probe that asks the engine of `spec.model`."
        "Rayfleet launches the engine once all containers of the group are ready, and such a container is ready once the engine answers: \
         neither happens."
        "orchestrator/core/src/group/bring_up.rs; docs/concepts.md, Traffic";
    NoStartupProbe = "no-startup-probe" Warning
        "A liveness probe that asks an engine, without a startup probe, and gives it less than 45 minutes."
        "The kubelet begins to count at once and restarts a container that still loads its model, again and again. With a startup probe it \
         waits. Rayfleet itself gives an engine 45 minutes."
        "Kubernetes documentation, Liveness, Readiness, and Startup Probes; vLLM documentation, Using Kubernetes: Troubleshooting; docs/reference.md, startTimeout";
    NoModelCache = "no-model-cache" Warning
        "A model by name that every pod downloads into its own file system."
        "Each start of each pod downloads all weights again, and the end of a container deletes them."
        "Hugging Face Hub documentation, Manage huggingface_hub cache-system; Kubernetes documentation, Volumes";
    RayStopInPreStop = "ray-stop-in-prestop" Warning
        "`ray stop` in a preStop hook."
        "It ends the pod's ranks as soon as the pod has to go, and with them every stream of the group. Pods of a RayCluster that is \
         deleted get their hooks at the same time, while the head may still answer."
        "Kubernetes documentation, Container Lifecycle Hooks; Ray documentation, ray stop";
    NoGracePeriod = "no-grace-period" Note
        "A head without `terminationGracePeriodSeconds`."
        "Rayfleet drains before it deletes. Evictions, spot notices and node shutdowns do not wait for that: requests have 30 seconds."
        "Kubernetes documentation, Pod Lifecycle: termination of Pods; docs/operations.md";
    ShellVariableInEnv = "shell-variable-in-env" Warning
        "`$NAME` in the value of an environment variable."
        "Kubernetes only expands $(NAME). Unless the file goes through a tool such as envsubst, the container gets the text itself."
        "Kubernetes documentation, Define Dependent Environment Variables";
    UndefinedVariable = "undefined-variable" Warning
        "`$(NAME)` in a command or its arguments, and no variable NAME in the container."
        "Kubernetes leaves it as it is. A program gets the text itself; a shell runs a command of that name."
        "Kubernetes documentation, Define a Command and Arguments for a Container, and API reference, Container: args; KubeRay 1.7, \
         ray-operator/controllers/ray/common/pod.go: setContainerEnvVars; LWS 0.10, pkg/utils/pod/pod_utils.go: AddLWSVariables";
    SecretInClear = "secret-in-clear" Warning
        "A token, key or password as plain text."
        "Whoever may read the object, its history or the repository has it."
        "Kubernetes documentation, Good practices for Kubernetes Secrets";
    HostNetworkDns = "host-network-dns" Warning
        "A pod with `hostNetwork` and no `dnsPolicy`."
        "Its ClusterFirst falls back to the node's DNS, which does not know Services: workers join the head by its Service's name."
        "Kubernetes documentation, DNS for Services and Pods: Pod's DNS policy";
    MountWithoutVolume = "mount-without-volume" Error
        "A container that mounts a volume which its pod does not have."
        "The API server refuses the pod, so that no group gets all of its pods."
        "Kubernetes, pkg/apis/core/validation/validation.go: ValidateVolumeMounts";
    ClaimOfOneNode = "claim-of-one-node" Warning
        "A claim that one node or one pod may mount, in several pods."
        "Pods on other nodes wait for it for ever; those of a surge wait for groups that still serve."
        "Kubernetes documentation, Persistent Volumes: access modes";
    NoSharedMemory = "no-shared-memory" Warning
        "Pods of several GPUs without a volume at /dev/shm."
        "Container runtimes give 64 MiB. vLLM's ranks and NCCL share memory there. KubeRay adds the volume; LeaderWorkerSet does not."
        "vLLM documentation, Using Docker; KubeRay 1.7, ray-operator/controllers/ray/common/pod.go";
    SurgeNeedsRoom = "surge-needs-room" Warning
        "An upgrade that needs room for more groups than there are."
        "With maxUnavailable 0 no group is given up before another one serves. Without free GPUs for it the upgrade stands: AIBrix waits \
         for ever, Rayfleet says Stalled (NoRoom)."
        "docs/concepts.md, Capacity; vllm-project/aibrix e3e10f9e, pkg/controller/rayclusterfleet/rolling.go";
    UpgradeIsOutage = "upgrade-is-outage" Warning
        "An upgrade that may take all groups away at once."
        "Until the first new group serves nobody answers, for as long as a start takes."
        "docs/concepts.md, Rollouts; LWS 0.10, api/leaderworkerset/v1: RollingUpdateConfiguration; kubernetes-sigs/lws issue 776 and pull request 781";
    StrategyUnset = "strategy-unset" Warning
        "A fleet without `strategy.type` or `strategy.rollingUpdate`."
        "AIBrix's controller does nothing for a fleet without a type, and ends in a nil pointer without rollingUpdate. Rayfleet takes a \
         rolling update of 25% each."
        "vllm-project/aibrix e3e10f9e, pkg/controller/rayclusterfleet; docs/from-aibrix.md";
    AibrixDeadline = "aibrix-deadline" Note
        "`progressDeadlineSeconds: 600` beside `spec.model`."
        "It is AIBrix's default, and counts once there is a model: a rollout whose engines load for longer is reported as stuck."
        "docs/from-aibrix.md";
    NoRayVersion = "no-ray-version" Warning
        "A fleet with `spec.model` and without `rayVersion`, whose template does not decide on `authOptions`."
        "Rayfleet turns Ray's token authentication on by rayVersion, from 2.52 on. Without it whoever reaches a pod of the group has Ray's \
         dashboard and API, by which anything can be run there."
        "docs/security.md, Tokens; orchestrator/src/kubernetes/build.rs: authenticate";
    RollbackAnnotation = "rollback-annotation" Warning
        "The annotation `deprecated.deployment.rollback.to`."
        "AIBrix rolls back by it, Rayfleet does not read it."
        "docs/from-aibrix.md";
    ServiceSelectsWorkers = "service-selects-workers" Error
        "A Service that selects workers beside heads."
        "Only heads answer requests, and workers have no gate: a share of the requests is refused."
        "docs/from-aibrix.md; vllm-project/aibrix issue 1488";
    ServiceSelectsNothing = "service-selects-nothing" Error
        "A Service that selects labels of a fleet or its template, which no pod has."
        "Labels of a fleet and of spec.template.metadata go to RayClusters. Pods have those of headGroupSpec and workerGroupSpecs."
        "docs/reference.md, spec.template; Kubernetes documentation, Service: selectors";
    ServicePort = "service-port" Warning
        "A Service whose target port no container has."
        "Requests are refused, or the Service has no endpoints."
        "Kubernetes documentation, Service: port definitions";
    ServiceIgnoresReadiness = "service-ignores-readiness" Error
        "A Service for requests with `publishNotReadyAddresses`."
        "It sends requests to heads whose engine loads, drains or failed: the gate does not count."
        "Kubernetes API reference, ServiceSpec; docs/concepts.md, Traffic";
    ServiceOfFleetsName = "service-of-fleets-name" Warning
        "A Service of the name of a fleet with `spec.model`."
        "Rayfleet makes a Service of that name. It leaves another one alone and says ServiceExists."
        "docs/operations.md, Events";
    ServiceNamedVllm = "service-named-vllm" Error
        "A Service `vllm` with an address, and pods that get its variables."
        "Kubernetes puts VLLM_PORT=tcp://... of such a Service into pods of its namespace. vLLM reads that as its own variable and \
         does not start."
        "vLLM documentation, Environment Variables; vllm-project/vllm issue 34199; Kubernetes documentation, Service: environment variables";
    FleetNamedVllm = "fleet-named-vllm" Note
        "A fleet with `spec.model` that is named `vllm`."
        "Rayfleet makes a Service of that name, and Kubernetes puts its VLLM_PORT into pods of the namespace, with which vLLM does not \
         start. Pods of fleets with spec.model are spared by enableServiceLinks: false; others are not."
        "vLLM documentation, Environment Variables; Kubernetes documentation, Service: environment variables";
    SecondBudget = "second-disruption-budget" Error
        "A PodDisruptionBudget that selects a fleet's pods."
        "Rayfleet makes one for each group that takes traffic, and the API server evicts no pod that has two."
        "Kubernetes, pkg/registry/core/pod/storage/eviction.go; docs/concepts.md";
    LwsRestartsOnePod = "lws-restarts-one-pod" Error
        "A LeaderWorkerSet that restarts single pods."
        "A rank that starts again cannot join an engine that runs; the rest waits for it or fails."
        "LWS 0.10, api/leaderworkerset/v1: RestartPolicyType; vllm-project/vllm, examples/online_serving/multi-node-serving.sh";
    LwsMayRestartOnePod = "lws-may-restart-one-pod" Warning
        "A LeaderWorkerSet that restarts single pods of several, around something that is not known."
        "An engine over several pods does not take a rank back that starts again. LWS takes Default for None."
        "LWS 0.10, pkg/webhooks/leaderworkerset_webhook.go: Default";
    LeaderWaitsForWorkers = "leader-waits-for-workers" Error
        "A LeaderWorkerSet with `startupPolicy: LeaderReady` whose leader is ready only once its workers have joined."
        "LWS creates the workers once the leader is ready, and the leader's probe answers once the engine has its workers: neither happens."
        "LWS 0.10, pkg/controllers/pod_controller.go: Reconcile; vllm-project/vllm, examples/online_serving/multi-node-serving.sh";
    InvalidSet = "invalid-set" Error
        "A LeaderWorkerSet that LWS refuses."
        "Its webhook refuses it, and nothing is created."
        "LWS 0.10, pkg/webhooks/leaderworkerset_webhook.go: generalValidate";
    Changed = "changed" Note
        "What `migrate` changed."
        "The result is to be read before it is applied."
        "docs/from-aibrix.md; docs/concepts.md, Two modes";
    Dropped = "dropped" Warning
        "What `migrate` left out, because a fleet cannot say it."
        "What it did is no longer done."
        "docs/concepts.md; docs/reference.md";
    NotTranslated = "not-translated" Warning
        "A launch command that could not become a model block."
        "Without spec.model the pods start the engine: Rayfleet does not place or verify ranks, and changes of arguments need new pods."
        "docs/concepts.md, Two modes";
    NotMigrated = "not-migrated" Error
        "An object that cannot become a fleet."
        "It stays as it was."
        "docs/concepts.md";
    Check = "check" Note
        "What `migrate` cannot know and somebody has to look at."
        "It depends on the image or the cluster."
        "docs/from-aibrix.md; docs/operations.md";
}

impl Rule {
    /// Its name, which stays once it is released.
    pub const fn id(self) -> &'static str {
        self.about().id
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// All rules as the table of a page.
pub fn markdown() -> String {
    let mut text =
        String::from("| rule | severity | what it finds | why it bites | source |\n|---|---|---|---|---|\n");
    for about in Rule::ALL.iter().map(|rule| rule.about()) {
        let About { id, severity, finds, why, source } = about;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{id}` | {severity} | {finds} | {why} | {source} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_all_of_its_texts() {
        let mut ids = std::collections::BTreeSet::new();
        for rule in Rule::ALL {
            let About { id, finds, why, source, .. } = rule.about();
            assert!(ids.insert(id), "{id} is there twice");
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !id.starts_with('-'), "{id}");
            for text in [finds, why, source] {
                assert!(
                    !text.is_empty() && !text.contains(['|', '\n']) && !text.contains("  "),
                    "{id}: {text}"
                );
            }
            assert!(finds.ends_with('.') && why.ends_with('.'), "{id}");
        }
        assert_eq!(markdown().lines().count(), Rule::ALL.len() + 2);
    }
}
