//! The table of faults: what is broken, and what must be said of it. The faults and bad inputs of the cluster
//! tier (e2e/tests/cluster: faults, bad_input, kuberay_missing, no_room, nodes, wrong, aibrix) with the objects
//! as they look then, and others that only the API server knows.

use serde_json::{Value, json};

use super::{World, group_name, node, pod_name};
use crate::diagnose::facts::{Endpoint, Facts, NoAnswer};
use crate::diagnose::finding::{Link, State};

/// A fault, how it looks, the link that is named, what it is about, and words that must be said.
struct Fault {
    name: &'static str,
    looks: fn(&mut World),
    link: Link,
    about: &'static str,
    words: &'static [&'static str],
}

/// Group 1 has failed with this kind and message.
fn failed(world: &mut World, kind: &str, message: &str) {
    let message = format!("{message}; the engine is started again at 2026-03-01T12:10:20Z (restart 1 of 3)");
    world.enter(
        1,
        &json!({
            "phase": "Failed", "phaseSince": "2026-03-01T12:09:40Z", "restarts": 1, "launch": 3,
            "lastFailure": {"kind": kind, "time": "2026-03-01T12:09:40Z"},
            "retryAfter": "2026-03-01T12:10:20Z", "message": message
        }),
    );
    world.says("ReplicaFailure", "True", "GroupFailed", &message);
}

/// Group 1 comes up and stands at this phase since `minutes` past twelve.
fn stands(world: &mut World, phase: &str, minutes: u8, message: &str) {
    let since = format!("2026-03-01T12:{minutes:02}:00Z");
    world.enter(1, &json!({"phase": phase, "phaseSince": since, "message": message}));
}

fn waits(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(reason: &str, code: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "finishedAt": "2026-03-01T12:09:00Z"}})
}

fn refused(world: &mut World, reason: &str, message: &str) {
    world.says("Progressing", "False", reason, message);
    world.says("Stalled", "True", reason, message);
    world.step(reason, message);
}

/// A pod that no node has room for.
fn unscheduled(world: &mut World, number: usize) {
    world.enter(number, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    let pod = world.pod(number, "head");
    pod["spec"]["nodeName"] = Value::Null;
    pod["status"] = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    }]});
}

fn ours(world: &mut World, name: &str) {
    let pod = world.pods.iter_mut().find(|pod| pod["metadata"]["name"] == *name).unwrap();
    pod["status"]["conditions"] = json!([{"type": "ContainersReady", "status": "False"}]);
    pod["status"]["containerStatuses"][0]["state"] = waits("ContainerCreating", "");
}

fn no_fleets(facts: &mut Facts) {
    let what = "cannot reach the API server https://api:6443: Connection refused".to_owned();
    facts.fleets = Err(NoAnswer::Failed { what, cure: Some("check the context".to_owned()) });
}

fn late(world: &mut World) {
    world.fleet["status"]["observedGeneration"] = json!(3);
}

const FAULTS: &[Fault] = &[
    // The cluster.
    Fault {
        name: "API server down",
        looks: |world| world.answers = no_fleets,
        link: Link::ApiServer,
        about: "",
        words: &["Connection refused", "check the context"],
    },
    Fault {
        name: "AIBrix's CRD in place of ours",
        looks: |world| {
            world.answers = |facts| facts.fleet_crd.as_mut().unwrap().keeps_fields = false;
        },
        link: Link::FleetCrd,
        about: "",
        words: &["drops spec.model and status.groups", "kubectl apply --server-side --force-conflicts"],
    },
    Fault {
        name: "CRD being deleted",
        looks: |world| world.answers = |facts| facts.fleet_crd.as_mut().unwrap().deleting = true,
        link: Link::FleetCrd,
        about: "",
        words: &["is being deleted"],
    },
    Fault {
        name: "no such fleet",
        looks: |world| world.answers = |facts| facts.fleets = Ok(Vec::new()),
        link: Link::FleetCrd,
        about: "",
        words: &["\"llama\" not found in namespace \"serving\""],
    },
    Fault {
        name: "KubeRay's operator crashes",
        looks: |world| {
            world.operators[0]["status"] = json!({"phase": "Running", "containerStatuses": [{
                "name": "kuberay-operator", "image": "kuberay/operator:v1.6.2", "restartCount": 9,
                "state": waits("CrashLoopBackOff", "back-off 5m0s")
            }]});
        },
        link: Link::KubeRay,
        about: "",
        words: &["operator is not ready", "CrashLoopBackOff"],
    },
    Fault {
        name: "no lease, and the status does not follow",
        looks: |world| {
            late(world);
            world.answers = |facts| {
                facts.lease = Err(NoAnswer::Missing);
                facts.orchestrators = Ok(Vec::new());
            };
        },
        link: Link::Orchestrator,
        about: "",
        words: &["its status is of generation 3", "install it"],
    },
    Fault {
        name: "nobody holds the lease",
        looks: |world| world.lease["spec"]["holderIdentity"] = json!(""),
        link: Link::Orchestrator,
        about: "",
        words: &["has no holder"],
    },
    Fault {
        name: "the orchestrator leads elsewhere (--namespaces)",
        looks: late,
        link: Link::Control,
        about: "status.observedGeneration",
        words: &["RAYFLEET_NAMESPACES"],
    },
    // The fleet.
    Fault {
        name: "fields lost to AIBrix's CRD",
        looks: |world| {
            late(world);
            world.warn(
                "RayClusterFleet",
                "llama",
                "CRDReplaced",
                "spec.model: lost while another CRD was in place",
            );
        },
        link: Link::Control,
        about: "CRDReplaced",
        words: &["spec.model: lost", "manifest again"],
    },
    Fault {
        name: "bad_input tpu, bad-args",
        looks: |world| {
            world.fleet["spec"]["model"]["port"] = json!(8265);
            refused(
                world,
                "InvalidSpec",
                "spec.model.port: is one of Ray's own: choose another, such as 8000",
            );
        },
        link: Link::Spec,
        about: "spec.model.port",
        words: &["refuses the spec of generation 4", "is one of Ray's own"],
    },
    Fault {
        name: "bad_input bad-template, misspelt",
        looks: |world| {
            refused(
                world,
                "InvalidTemplate",
                "spec.template.spec: unknown field containers[0].comand: correct the template",
            );
        },
        link: Link::Spec,
        about: "spec.template.spec",
        words: &["KubeRay's CRD refuses", "containers[0].comand"],
    },
    Fault {
        name: "quota refuses the RayCluster",
        looks: |world| {
            stands(world, "Pending", 9, "RayCluster llama-bcdfgh-1: exceeded quota: gpus");
            world.says(
                "ReplicaFailure",
                "True",
                "CreateRefused",
                "RayCluster llama-bcdfgh-1: exceeded quota: gpus",
            );
            world.clusters.pop();
            world.pods.truncate(2);
        },
        link: Link::RayClusters,
        about: "ReplicaFailure/CreateRefused",
        words: &["exceeded quota: gpus"],
    },
    // RayClusters.
    Fault {
        name: "KubeRay's operator does not act",
        looks: |world| {
            stands(world, "Provisioning", 6, "0 of 2 pods are ready");
            world.clusters[1]["status"] = Value::Null;
            world.pods.truncate(2);
            world.answers = |facts| facts.kuberay = Ok(Vec::new());
        },
        link: Link::RayClusters,
        about: "status",
        words: &["KubeRay has not acted on its RayCluster for", "no pod of any namespace has the label"],
    },
    Fault {
        name: "KubeRay's operator stops after the first pod",
        looks: |world| {
            stands(world, "Provisioning", 6, "KubeRay has not made 1 of 2 pods");
            world.pods.truncate(3);
        },
        link: Link::RayClusters,
        about: "status",
        words: &["KubeRay has made 1 of its 2 pods"],
    },
    Fault {
        name: "KubeRay cannot make pods",
        looks: |world| {
            stands(world, "Provisioning", 9, "KubeRay says: quota");
            world.clusters[1]["status"]["conditions"] = json!([{
                "type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod", "message": "exceeded quota"
            }]);
        },
        link: Link::RayClusters,
        about: "ReplicaFailure",
        words: &["FailedCreateHeadPod", "exceeded quota"],
    },
    Fault {
        name: "KubeRay warns about the RayCluster",
        looks: |world| {
            stands(world, "Provisioning", 9, "0 of 2 pods are ready");
            world.pods.truncate(2);
            world.warn("RayCluster", &group_name(1), "InvalidRayClusterSpec", "the rayVersion is odd");
        },
        link: Link::RayClusters,
        about: "events",
        words: &["InvalidRayClusterSpec", "the rayVersion is odd"],
    },
    Fault {
        name: "MultiKueue manages the RayCluster",
        looks: |world| {
            stands(world, "Provisioning", 9, "managedBy");
            world.clusters[1]["spec"]["managedBy"] = json!("kueue.x-k8s.io/multikueue");
        },
        link: Link::RayClusters,
        about: "spec.managedBy",
        words: &["kueue.x-k8s.io/multikueue", "delete raycluster"],
    },
    // Nodes.
    Fault {
        name: "power loss of a node, before the group is given up",
        looks: |world| {
            stands(world, "Forming", 9, "1 of 2 Ray nodes are in; no sign of life from pod");
            world.nodes.insert("node-d".to_owned(), node("node-d", "Unknown", "NodeStatusUnknown"));
        },
        link: Link::Nodes,
        about: "Ready",
        words: &["node node-d is lost", "Kubelet stopped posting", "kubectl delete node node-d"],
    },
    Fault {
        name: "a node is gone",
        looks: |world| {
            stands(world, "Provisioning", 9, "1 of 2 pods are ready");
            world.nodes.insert("node-d".to_owned(), Value::Null);
        },
        link: Link::Nodes,
        about: "Ready",
        words: &["node node-d is gone"],
    },
    Fault {
        name: "a node is not ready",
        looks: |world| {
            stands(world, "Provisioning", 9, "1 of 2 pods are ready");
            world.nodes.insert("node-c".to_owned(), node("node-c", "False", "KubeletNotReady"));
        },
        link: Link::Nodes,
        about: "Ready",
        words: &["node node-c is not ready", "KubeletNotReady"],
    },
    // Pods.
    Fault {
        name: "bad_input no-gpus",
        looks: |world| unscheduled(world, 1),
        link: Link::Pods,
        about: "Unschedulable",
        words: &["no node has room", "3 Insufficient nvidia.com/gpu", "add nodes"],
    },
    Fault {
        name: "three groups and one cause",
        looks: |world| {
            unscheduled(world, 0);
            unscheduled(world, 1);
        },
        link: Link::Pods,
        about: "Unschedulable",
        words: &["2 groups (llama-bcdfgh-0, llama-bcdfgh-1): no node has room"],
    },
    Fault {
        name: "bad_input no-image",
        looks: |world| {
            stands(world, "Provisioning", 6, "ImagePullBackOff");
            world.container(
                1,
                "head",
                &waits("ErrImagePull", "rayfleet.local/absent:1: not found"),
                &Value::Null,
            );
        },
        link: Link::Pods,
        about: "ErrImagePull",
        words: &["registry.example.com/vllm-ray:1 cannot be pulled", "not found", "imagePullSecrets"],
    },
    Fault {
        name: "a container keeps ending",
        looks: |world| {
            stands(world, "Provisioning", 6, "CrashLoopBackOff");
            world.container(1, "worker", &waits("CrashLoopBackOff", "back-off 40s"), &ended("Error", 1));
        },
        link: Link::Pods,
        about: "CrashLoopBackOff",
        words: &["container ray of pod", "exit code 1 (Error), 5 restarts", "logs -p"],
    },
    Fault {
        name: "a container runs out of memory",
        looks: |world| {
            stands(world, "Provisioning", 6, "CrashLoopBackOff");
            world.container(
                1,
                "worker",
                &waits("CrashLoopBackOff", "back-off 40s"),
                &ended("OOMKilled", 137),
            );
        },
        link: Link::Pods,
        about: "CrashLoopBackOff",
        words: &["runs out of memory", "resources.limits.memory"],
    },
    Fault {
        name: "a pod was evicted",
        looks: |world| {
            stands(world, "Provisioning", 9, "Evicted");
            world.pod(1, "worker")["status"] = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."});
        },
        link: Link::Pods,
        about: "Evicted",
        words: &["was evicted by its node", "ephemeral-storage"],
    },
    Fault {
        name: "a volume is attached elsewhere",
        looks: |world| {
            stands(world, "Provisioning", 9, "FailedAttachVolume");
            ours(world, &pod_name(1, "worker"));
            world.warn(
                "Pod",
                &pod_name(1, "worker"),
                "FailedAttachVolume",
                "Multi-Attach error for volume \"weights\"",
            );
        },
        link: Link::Pods,
        about: "FailedAttachVolume",
        words: &["cannot be attached to node node-d", "Multi-Attach error", "ReadOnlyMany"],
    },
    Fault {
        name: "a node gives no network",
        looks: |world| {
            stands(world, "Provisioning", 9, "FailedCreatePodSandBox");
            ours(world, &pod_name(1, "head"));
            world.warn("Pod", &pod_name(1, "head"), "FailedCreatePodSandBox", "failed to setup network");
        },
        link: Link::Pods,
        about: "FailedCreatePodSandBox",
        words: &["gives pod", "no network"],
    },
    Fault {
        name: "a pod does not end",
        looks: |world| {
            stands(world, "Stopping", 6, "pod ends");
            world.group(1)["goal"] = json!("Retire");
            world.pod(1, "worker")["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:06:00Z");
        },
        link: Link::Pods,
        about: "metadata.deletionTimestamp",
        words: &["does not end", "2026-03-01T12:06:00Z"],
    },
    // Ray.
    Fault {
        name: "no pod answers the orchestrator",
        looks: |world| {
            world.says(
                "Unreachable",
                "True",
                "NoPodAnswers",
                "2 groups: no pod in namespace serving answers",
            );
        },
        link: Link::Ray,
        about: "Unreachable",
        words: &["2 groups", "fleet-network-policy.yaml"],
    },
    Fault {
        name: "the dashboard never answers",
        looks: |world| stands(world, "Forming", 6, "the Ray dashboard does not answer: timed out"),
        link: Link::Ray,
        about: "status.groups[].phase",
        words: &["does not form for 4m", "does not answer: timed out", "NetworkPolicy"],
    },
    Fault {
        name: "SIGKILL of a raylet, a Ray node is missing",
        looks: |world| {
            stands(world, "Forming", 9, "1 of 2 Ray nodes are in");
            world.group(1)["notReadySince"] = json!("2026-03-01T12:09:30Z");
        },
        link: Link::Ray,
        about: "status.groups[].phase",
        words: &["it served and has lost Ray for 30s", "1 of 2 Ray nodes are in"],
    },
    // The engine.
    Fault {
        name: "SIGKILL of a rank",
        looks: |world| failed(world, "RankDied", "rank 1 on node-d died: SIGKILL"),
        link: Link::Engine,
        about: "RankDied",
        words: &[
            "ranks died while their nodes live",
            "rank 1 on node-d died",
            "(in 20s)",
            "job-driver-llama-bcdfgh-1.zxwvtr.3.log",
        ],
    },
    Fault {
        name: "SIGKILL of the engine core, of the API server",
        looks: |world| failed(world, "EngineDied", "the engine core has died"),
        link: Link::Engine,
        about: "EngineDied",
        words: &["the engine core has died"],
    },
    Fault {
        name: "SIGSTOP of a rank, under a request",
        looks: |world| {
            failed(world, "Hung", "the engine hangs: 1 requests wait and it has made no step for 5 s")
        },
        link: Link::Engine,
        about: "Hung",
        words: &["the engine hangs", "hungAfter"],
    },
    Fault {
        name: "SIGKILL of the head",
        looks: |world| {
            failed(world, "HeadLost", "Ray does not know the engine's job any more: its head was restarted");
            world.pod(1, "head")["status"]["containerStatuses"][0]["lastState"] = ended("OOMKilled", 137);
        },
        link: Link::Engine,
        about: "HeadLost",
        words: &["its head was restarted", "exit code 137 (OOMKilled)", "resources.limits.memory"],
    },
    Fault {
        name: "power loss of a node, re-created elsewhere",
        looks: |world| {
            stands(world, "Loading", 9, "loading weights");
            world.enter(1, &json!({
                "phase": "Loading", "failures": 1, "goalReason": "failed: node node-d is lost, and with it pod w",
                "lastFailure": {"kind": "NodeLost", "time": "2026-03-01T12:08:40Z"}
            }));
        },
        link: Link::Engine,
        about: "NodeLost",
        words: &["node node-d is lost", "kubectl delete node"],
    },
    Fault {
        name: "bad_input no-model",
        looks: |world| {
            failed(world, "JobEnded", "the engine ended: /models/absent: no such folder: correct the path")
        },
        link: Link::Engine,
        about: "JobEnded",
        words: &["correct the path", "1 engine restarts"],
    },
    Fault {
        name: "a group waits after its failures",
        looks: |world| {
            stands(world, "Pending", 9, "is created at 2026-03-01T12:11:00Z; failed: ranks died");
            world.enter(
                1,
                &json!({
                    "phase": "Pending", "failures": 2, "retryAfter": "2026-03-01T12:11:00Z",
                    "lastFailure": {"kind": "RankDied", "time": "2026-03-01T12:09:40Z"}
                }),
            );
            world.clusters.pop();
            world.pods.truncate(2);
        },
        link: Link::Engine,
        about: "RankDied",
        words: &["re-created 2 times", "2026-03-01T12:11:00Z (in 60s)"],
    },
    Fault {
        name: "Ray refuses the launch",
        looks: |world| {
            stands(world, "Placing", 9, "the engine could not be launched yet: the plan does not fit");
            world.warn(
                "RayClusterFleet",
                "llama",
                "LaunchFailed",
                "group llama-bcdfgh-1: the plan does not fit: 4 GPUs are missing",
            );
        },
        link: Link::Engine,
        about: "LaunchFailed",
        words: &["Ray does not take", "4 GPUs are missing"],
    },
    Fault {
        name: "ranks are misplaced",
        looks: |world| world.group(1)["misplaced"] = json!(["rank 1 is on node-a instead of node-d"]),
        link: Link::Placement,
        about: "status.groups[].misplaced",
        words: &["rank 1 is on node-a instead of node-d"],
    },
    Fault {
        name: "network cut to the dashboard, SIGSTOP of the dashboard",
        looks: |world| {
            world.group(1)["message"] = json!("its ranks cannot be read: timed out");
            world.says(
                "PlacementVerified",
                "Unknown",
                "DashboardUnreachable",
                "group llama-bcdfgh-1: its ranks cannot be read",
            );
        },
        link: Link::Placement,
        about: "PlacementVerified/DashboardUnreachable",
        words: &["group llama-bcdfgh-1: it serves", "8265"],
    },
    // Traffic.
    Fault {
        name: "the gate stays closed",
        looks: |world| {
            world.pod(1, "head")["status"]["conditions"] =
                json!([{"type": "ContainersReady", "status": "True"}]);
        },
        link: Link::Traffic,
        about: "rayfleet.io/serving",
        words: &["is not open"],
    },
    Fault {
        name: "the Service selects another head",
        looks: |world| world.endpoints[1] = Endpoint { address: "10.9.9.9".to_owned(), ready: true },
        link: Link::Traffic,
        about: "endpoints",
        words: &["does not list its head", "10.9.9.9", "selector"],
    },
    // The rollout.
    Fault {
        name: "no_room",
        looks: |world| {
            world.says("Stalled", "True", "NoRoom", "needs 1 node x 4 nvidia.com/gpu; best free: 0 + 0 + 0")
        },
        link: Link::Rollout,
        about: "Stalled/NoRoom",
        words: &["best free: 0 + 0 + 0", "maxUnavailable: 1"],
    },
    Fault {
        name: "a finalizer holds a RayCluster",
        looks: |world| {
            world.says("Stalled", "True", "HeldByFinalizer", "RayCluster g has the finalizer x.io/y")
        },
        link: Link::Rollout,
        about: "Stalled/HeldByFinalizer",
        words: &["x.io/y"],
    },
    Fault {
        name: "Kueue suspends a group",
        looks: |world| {
            stands(world, "Suspended", 9, "RayCluster is suspended");
            world.says(
                "Suspended",
                "True",
                "RayClusterSuspended",
                "Kueue resumes it when queue gpus has room for it",
            );
        },
        link: Link::Rollout,
        about: "Suspended/RayClusterSuspended",
        words: &["queue gpus"],
    },
    Fault {
        name: "wrong: a model that is not there, rolled back",
        looks: |world| {
            world.says("Progressing", "False", "RolledBack", "Rolled back");
            world.says("Stalled", "True", "RolledBack", "revision bcdfgh/kmnpqr failed");
            world.fleet["status"]["rollout"]["rollback"] = json!({"failed": "bcdfgh/kmnpqr", "cause": "/models/absent: correct the path (after 1 engine restarts)"});
            world.step("Rolled back", "revision bcdfgh/kmnpqr failed");
        },
        link: Link::Rollout,
        about: "Progressing/RolledBack",
        words: &["bcdfgh/kmnpqr failed: /models/absent: correct the path", "rollout undo llama -n serving"],
    },
    Fault {
        name: "the Service's name is somebody else's",
        looks: |world| world.says("ServiceFailed", "True", "Exists", "Service llama is somebody else's"),
        link: Link::Rollout,
        about: "ServiceFailed/Exists",
        words: &["somebody else's"],
    },
    Fault {
        name: "the progress deadline is over",
        looks: |world| {
            world.says("Stalled", "True", "ProgressDeadlineExceeded", "nothing has moved for 600 s")
        },
        link: Link::Rollout,
        about: "Stalled/ProgressDeadlineExceeded",
        words: &["600 s", "progressDeadlineSeconds"],
    },
];

#[test]
fn every_fault_is_named_with_its_evidence_and_cure() {
    for fault in FAULTS {
        let mut world = World::new();
        (fault.looks)(&mut world);
        let found = world.first();
        let Some((step, finding)) = found else {
            panic!("{}: nothing is found: {:#?}", fault.name, world.steps())
        };
        assert_eq!(
            (step.link, finding.about.as_deref().unwrap_or_default()),
            (fault.link, fault.about),
            "{}: {finding:#?}",
            fault.name
        );
        let said = format!("{}\n{}\n{}", finding.what, finding.evidence.join("\n"), finding.cure);
        for word in fault.words {
            assert!(said.contains(word), "{}: {word:?} is not in {said}", fault.name);
        }
        assert!(!finding.cure.is_empty() && !finding.subject.kind.is_empty(), "{}: {finding:?}", fault.name);
    }
}

/// What the groups wait for comes before what follows from it.
#[test]
fn a_cause_hides_its_consequences() {
    let mut world = World::new();
    unscheduled(&mut world, 1);
    world.enter(1, &json!({"phase": "Provisioning", "failures": 1}));
    world.says("Available", "False", "MinimumGroupsUnavailable", "1 of 2 groups");
    world.says("Progressing", "False", "ProgressDeadlineExceeded", "nothing has moved for 600 s");
    world.says("Stalled", "True", "ProgressDeadlineExceeded", "nothing has moved for 600 s");
    assert_eq!(world.first().unwrap().0.link, Link::Pods);
    let wrong = world.steps().into_iter().filter(|step| step.state == State::Wrong);
    assert_eq!(wrong.map(|step| step.link).collect::<Vec<_>>(), [Link::Pods, Link::Rollout]);
}

/// Two causes at one link: both are named, the cure is of the first.
#[test]
fn another_cause_is_named_beside_the_first() {
    let mut world = World::new();
    unscheduled(&mut world, 0);
    world.enter(1, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    world.container(1, "head", &waits("CrashLoopBackOff", "back-off 40s"), &ended("Error", 1));
    let (_, finding) = world.first().unwrap();
    assert!(finding.what.starts_with("group llama-bcdfgh-0: no node"), "{}", finding.what);
    let beside = finding.evidence.last().unwrap();
    assert!(beside.starts_with("beside it, group llama-bcdfgh-1: container ray"), "{beside}");
}

/// What ends by itself is no fault.
#[test]
fn waits_are_not_wrong() {
    let cases: [(&str, fn(&mut World), Link); 7] = [
        (
            "about to be made",
            |world| {
                stands(world, "Pending", 9, "the RayCluster is being created");
                world.clusters.pop();
                world.pods.truncate(2);
            },
            Link::RayClusters,
        ),
        (
            "its image comes",
            |world| {
                stands(world, "Provisioning", 9, "0 of 2 pods are ready; pod w pulls its image");
                world.container(1, "head", &waits("ContainerCreating", ""), &Value::Null);
            },
            Link::Pods,
        ),
        (
            "Ray forms",
            |world| {
                world.enter(1, &json!({"phase": "Forming", "phaseSince": "2026-03-01T12:09:30Z"}));
            },
            Link::Ray,
        ),
        ("it loads", |world| stands(world, "Loading", 0, "loading weights"), Link::Engine),
        ("it drains", |world| stands(world, "Draining", 9, "3 requests in flight"), Link::Traffic),
        (
            "a new spec",
            |world| {
                world.fleet["metadata"]["managedFields"] = json!([
                    {"time": "2026-03-01T12:09:50Z"}, {"time": "2026-03-01T12:00:00Z", "subresource": "status"}
                ]);
                late(world);
            },
            Link::Rollout,
        ),
        (
            "its node is cordoned",
            |world| {
                stands(world, "Draining", 9, "3 requests in flight");
                world.nodes.get_mut("node-d").unwrap()["spec"]["unschedulable"] = json!(true);
            },
            Link::Nodes,
        ),
    ];
    for (name, looks, link) in cases {
        let mut world = World::new();
        looks(&mut world);
        assert_eq!(world.first(), None, "{name}");
        let steps = world.steps();
        let state = if name == "a new spec" { State::Ok } else { State::Waits };
        assert!(steps.iter().any(|step| step.link == link && step.state == state), "{name}: {steps:#?}");
    }
}

/// What may not be read is said, and the orchestrator's own words still count.
#[test]
fn a_fault_is_found_without_the_right_to_read_pods() {
    let mut world = World::new();
    failed(&mut world, "RankDied", "rank 1 on node-d died: SIGKILL");
    world.answers = |facts| {
        let no = |resource| NoAnswer::Forbidden {
            verb: "list",
            resource,
            namespace: "serving".to_owned(),
            words: String::new(),
        };
        let of = &mut facts.fleets.as_mut().unwrap()[0];
        (of.pods, of.clusters) = (Err(no("pods")), Err(no("rayclusters.ray.io")));
        (of.events, of.endpoints) = (Err(no("events")), Err(no("endpointslices")));
        facts.lease = Err(no("leases"));
    };
    let steps = world.steps();
    let pods = steps.iter().find(|step| step.link == Link::Pods).unwrap();
    assert_eq!((pods.state, &*pods.says), (State::Unknown, "you may not list pods in namespace serving"));
    assert_eq!(world.first().unwrap().1.about.as_deref(), Some("RankDied"));
}

/// Objects that others wrote may hold anything.
#[test]
fn odd_objects_are_survived() {
    let mut world = World::new();
    stands(&mut world, "Provisioning", 9, &"ß".repeat(10_000));
    world.container(
        1,
        "head",
        &waits("CrashLoopBackOff", &"x\u{1b}[2J\n".repeat(5_000)),
        &ended("Error", i64::MAX),
    );
    world.lease["spec"]["leaseDurationSeconds"] = json!(i64::MAX);
    world.clusters[1]["metadata"]["creationTimestamp"] = json!("9999-12-31T23:59:59Z");
    let (_, finding) = world.first().unwrap();
    let longest = finding.evidence.iter().map(String::len).max().unwrap();
    assert!(longest <= 1024, "{longest}");
    assert!(!crate::diagnose::show::text(&world.steps(), false).contains('\u{1b}'));
}
