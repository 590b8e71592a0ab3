//! Faults of Ray, engines and traffic.

use serde_json::{Value, json};

use super::{Fault, ended, failed, stands};
use crate::diagnose::answer::NoAnswer;
use crate::diagnose::finding::Link;
use crate::diagnose::objects::Endpoint;

pub(super) const FAULTS: &[Fault] = &[
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
        words: &["has not formed for 4m", "does not answer: timed out", "NetworkPolicy"],
    },
    Fault {
        name: "SIGKILL of a raylet, a Ray node is missing",
        looks: |world| {
            stands(world, "Forming", 9, "1 of 2 Ray nodes are in");
            world.group(1)["notReadySince"] = json!("2026-03-01T12:09:30Z");
        },
        link: Link::Ray,
        about: "status.groups[].phase",
        words: &["it served and lost Ray 30s ago", "1 of 2 Ray nodes are in"],
    },
    // The engine.
    Fault {
        name: "SIGKILL of a rank, in a pod that had been started again before",
        looks: |world| {
            failed(world, "RankDied", "rank 1 on node-d died: SIGKILL");
            world.container(1, "worker", &json!({"running": {}}), &ended("Error", 1));
            world.pod(1, "worker")["status"]["conditions"] = json!([
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-03-01T12:09:20Z"}
            ]);
        },
        link: Link::Engine,
        about: "RankDied",
        words: &["ranks died while their nodes live"],
    },
    Fault {
        name: "SIGKILL of a rank",
        looks: |world| failed(world, "RankDied", "rank 1 on node-d died: SIGKILL"),
        link: Link::Engine,
        about: "RankDied",
        words: &[
            "ranks died while their nodes live",
            "rank 1 on node-d died",
            "(in 20s)",
            "kubectl rayfleet logs llama llama-bcdfgh-1 -n serving --engine",
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
            failed(world, "Hung", "the engine hangs: 1 requests wait and it has made no step for 5 s");
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
        link: Link::Pods,
        about: "OOMKilled",
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
        name: "a model that is not there",
        looks: |world| {
            failed(world, "JobEnded", "the engine ended: /models/absent: no such folder: correct the path");
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
            world.not_made();
        },
        link: Link::Engine,
        about: "RankDied",
        words: &["re-created 2 times", "2026-03-01T12:11:00Z (in 60s)", "its head is gone"],
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
            // As the orchestrator writes it of a group that takes no traffic.
            world.group(1)["readySince"] = Value::Null;
        },
        link: Link::Traffic,
        about: "rayfleet.io/serving",
        words: &["is not open"],
    },
    Fault {
        name: "the head is listed as not ready",
        looks: |world| {
            world.endpoints[1].ready = false;
            world.group(1)["readySince"] = Value::Null;
        },
        link: Link::Traffic,
        about: "endpoints",
        words: &["does not list its head", "as ready"],
    },
    Fault {
        name: "the Service selects another pod",
        looks: |world| world.endpoints[1] = Endpoint { address: "10.9.9.9".to_owned(), ready: true },
        link: Link::Traffic,
        about: "endpoints",
        words: &["does not list its head", "10.9.9.9", "selector"],
    },
    Fault {
        name: "the Service selects no pod",
        looks: |world| world.endpoints.clear(),
        link: Link::Traffic,
        about: "endpoints",
        words: &["2 groups", "Service llama has no endpoints", "selector"],
    },
    Fault {
        name: "the Service is not there",
        looks: |world| {
            world.endpoints.clear();
            world.answers = |facts| {
                facts.fleets.as_mut().unwrap().items[0].service = Err(NoAnswer::Missing);
            };
        },
        link: Link::Traffic,
        about: "endpoints",
        words: &["Service llama is not there", "makes it again within a minute"],
    },
    Fault {
        name: "the Service's name is somebody else's, and it selects other pods",
        looks: |world| {
            world.says("ServiceFailed", "True", "Exists", "Service serving/llama is there already");
            world.endpoints = vec![Endpoint { address: "10.9.9.9".to_owned(), ready: true }];
        },
        link: Link::Traffic,
        about: "ServiceFailed/Exists",
        words: &["is there already", "whose it is"],
    },
    Fault {
        name: "a Ready group has lost its head",
        looks: |world| drop(world.pods.remove(2)),
        link: Link::Traffic,
        about: "status.groups[].phase",
        words: &["group llama-bcdfgh-1: Ready, but has no head pod"],
    },
];
