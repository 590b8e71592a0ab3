//! Faults of RayClusters, nodes and pods.

use serde_json::{Value, json};

use super::super::{group_name, node};
use super::{Fault, crashes, ended, failed, not_given, stands, unscheduled, waits};
use crate::diagnose::finding::Link;

pub(super) const FAULTS: &[Fault] = &[
    // RayClusters.
    Fault {
        name: "KubeRay's operator does not act",
        looks: |world| {
            stands(world, "Provisioning", 6, "0 of 2 pods are ready");
            world.clusters[1]["status"] = Value::Null;
            world.pods.truncate(2);
            world.operators.clear();
        },
        link: Link::RayClusters,
        about: "status",
        words: &["KubeRay has not acted on its RayCluster for", "no pod of any namespace has the label"],
    },
    Fault {
        name: "KubeRay's operator crashes",
        looks: |world| {
            stands(world, "Provisioning", 6, "0 of 2 pods are ready");
            world.clusters[1]["status"] = Value::Null;
            world.pods.truncate(2);
            world.operators[0]["status"] = json!({"phase": "Running", "containerStatuses": [{
                "name": "kuberay-operator", "image": "kuberay/operator:v1.6.2", "restartCount": 9,
                "state": waits("CrashLoopBackOff", "back-off 5m0s")
            }]});
        },
        link: Link::RayClusters,
        about: "status",
        words: &[
            "has not acted on its RayCluster",
            "in namespace default: pod kuberay-operator",
            "CrashLoopBackOff",
        ],
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
        name: "KubeRay's operator does not act, and has warned about an earlier RayCluster of the name",
        looks: |world| {
            stands(world, "Provisioning", 9, "0 of 2 pods are ready");
            world.pods.truncate(2);
            world.warn("RayCluster", &group_name(1), "InvalidRayClusterSpec", "the rayVersion is odd");
            world.events[0]["lastTimestamp"] = json!("2026-03-01T11:50:00Z");
        },
        link: Link::RayClusters,
        about: "status",
        words: &["KubeRay has made 0 of its 2 pods"],
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
        words: &["node node-d is gone", "re-created on other nodes"],
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
        name: "more GPUs are wanted than a node has",
        looks: |world| unscheduled(world, 1),
        link: Link::Pods,
        about: "Unschedulable",
        words: &["no node has room", "3 Insufficient nvidia.com/gpu", "add nodes"],
    },
    Fault {
        name: "two groups and one cause",
        looks: |world| {
            unscheduled(world, 0);
            unscheduled(world, 1);
        },
        link: Link::Pods,
        about: "Unschedulable",
        words: &["2 groups (llama-bcdfgh-0, llama-bcdfgh-1): no node has room"],
    },
    Fault {
        name: "an image that is not there",
        looks: |world| {
            crashes(world, "head", "ErrImagePull", "rayfleet.local/absent:1: not found", &Value::Null);
        },
        link: Link::Pods,
        about: "ErrImagePull",
        words: &["registry.example.com/vllm-ray:1 cannot be pulled", "not found", "imagePullSecrets"],
    },
    Fault {
        name: "a container keeps ending",
        looks: |world| crashes(world, "worker", "CrashLoopBackOff", "back-off 40s", &ended("Error", 1)),
        link: Link::Pods,
        about: "CrashLoopBackOff",
        words: &["container ray of pod", "exit code 1 (Error), 5 restarts", "logs -p"],
    },
    Fault {
        name: "a container runs out of memory",
        looks: |world| {
            crashes(world, "worker", "CrashLoopBackOff", "back-off 40s", &ended("OOMKilled", 137));
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
            not_given(world, "worker", "FailedAttachVolume", "Multi-Attach error for volume \"weights\"");
        },
        link: Link::Pods,
        about: "FailedAttachVolume",
        words: &["cannot be attached to node node-d", "Multi-Attach error", "ReadOnlyMany"],
    },
    Fault {
        name: "a node gives no network",
        looks: |world| {
            not_given(world, "head", "FailedCreatePodSandBox", "failed to setup network");
        },
        link: Link::Pods,
        about: "FailedCreatePodSandBox",
        words: &["gives pod", "no network"],
    },
    Fault {
        name: "SIGKILL of the head, while its container starts again",
        looks: |world| {
            stands(world, "Provisioning", 9, "1 of 2 pods are ready");
            world.group(1)["notReadySince"] = json!("2026-03-01T12:09:30Z");
            world.container(1, "head", &json!({"running": {}}), &ended("Error", 137));
        },
        link: Link::Pods,
        about: "Error",
        words: &["container ray of pod llama-bcdfgh-1-head-x2b4f ended 60s ago with exit code 137"],
    },
    Fault {
        name: "a container of a group that served fails its probe",
        looks: |world| {
            stands(world, "Provisioning", 9, "1 of 2 pods are ready");
            world.group(1)["notReadySince"] = json!("2026-03-01T12:09:30Z");
            world.container(1, "head", &json!({"running": {}}), &Value::Null);
        },
        link: Link::Pods,
        about: "status.groups[].notReadySince",
        words: &["it served, and its pods have not all been ready for 30s"],
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
    Fault {
        name: "SIGKILL of a raylet, its container has ended",
        looks: |world| {
            failed(world, "EngineDied", "the engine ended: the raylet is gone");
            world.container(1, "worker", &json!({"running": {}}), &ended("Error", 1));
        },
        link: Link::Pods,
        about: "Error",
        words: &[
            "container ray of pod llama-bcdfgh-1-worker-x2b4f ended 60s ago with exit code 1 (Error)",
            "EngineDied 20s ago",
            "logs -p llama-bcdfgh-1-worker-x2b4f -c ray",
        ],
    },
    Fault {
        name: "SIGKILL of the head, all containers have ended",
        looks: |world| {
            stands(world, "Provisioning", 9, "0 of 2 pods are ready");
            world.group(1)["notReadySince"] = json!("2026-03-01T12:09:02Z");
            world.container(1, "worker", &ended("Error", 1), &Value::Null);
            world.container(1, "head", &json!({"running": {}}), &ended("Error", 137));
        },
        link: Link::Pods,
        about: "Error",
        words: &["container ray of pod llama-bcdfgh-1-head-x2b4f ended 60s ago with exit code 137"],
    },
    Fault {
        name: "the kernel ends a rank's container for want of memory",
        looks: |world| {
            failed(world, "RankDied", "rank 1 on node-d died: SIGKILL");
            world.container(1, "worker", &json!({"running": {}}), &ended("OOMKilled", 137));
        },
        link: Link::Pods,
        about: "OOMKilled",
        words: &["ended 60s ago with exit code 137 (OOMKilled)", "raise resources.limits.memory"],
    },
];
