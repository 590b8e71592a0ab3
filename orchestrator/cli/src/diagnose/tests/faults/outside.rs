//! Faults of the cluster and of the fleet as a whole.

use serde_json::json;

use super::super::forbidden;
use super::{Fault, late, no_fleets, refused, stalled, stands};
use crate::diagnose::answer::{List, NoAnswer};
use crate::diagnose::finding::Link;

pub(super) const FAULTS: &[Fault] = &[
    // The cluster.
    Fault {
        name: "the API server does not answer",
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
        name: "the CRD is being deleted",
        looks: |world| world.answers = |facts| facts.fleet_crd.as_mut().unwrap().deleting = true,
        link: Link::FleetCrd,
        about: "",
        words: &["is being deleted"],
    },
    Fault {
        name: "no such fleet",
        looks: |world| world.answers = |facts| facts.fleets = Ok(List::default()),
        link: Link::FleetCrd,
        about: "",
        words: &["\"llama\" not found in namespace \"serving\""],
    },
    Fault {
        name: "KubeRay is not installed",
        looks: |world| {
            world.operators.clear();
            world.answers = |facts| facts.rayclusters = Err(NoAnswer::Missing);
        },
        link: Link::KubeRay,
        about: "",
        words: &["KubeRay is not installed", "no pod of any namespace"],
    },
    Fault {
        name: "no lease, and the status does not follow",
        looks: |world| {
            late(world);
            world.answers = |facts| {
                facts.lease = Err(NoAnswer::Missing);
                facts.orchestrators = Ok(List::default());
            };
        },
        link: Link::Orchestrator,
        about: "",
        words: &["its status is of generation 3", "install it"],
    },
    Fault {
        name: "the lease may not be read, and no status follows",
        looks: |world| {
            late(world);
            world.answers = |facts| {
                facts.lease = forbidden("leases");
                facts.orchestrators = forbidden("pods");
            };
        },
        link: Link::Orchestrator,
        about: "",
        words: &["no orchestrator works", "you may not list pods", "ask whoever runs it"],
    },
    Fault {
        name: "a lease from a clock that is ahead, which nobody renews",
        looks: |world| {
            world.lease["spec"]["renewTime"] = json!("2026-03-01T13:10:00.000000Z");
            world.answers = |facts| facts.renews = Some(false);
        },
        link: Link::Orchestrator,
        about: "",
        words: &["was last renewed 60m ahead of the API server's clock"],
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
        name: "AIBrix's controller works on the fleet",
        looks: |world| {
            world.replica_sets = vec!["llama-7c9".to_owned()];
            stalled(world, "OwnedByAIBrix", "RayClusterReplicaSet llama-7c9 is of this fleet");
        },
        link: Link::Control,
        about: "Stalled/OwnedByAIBrix",
        words: &["llama-7c9 is owned by the fleet", "take-the-groups-over"],
    },
    Fault {
        name: "a fleet that this program cannot read",
        looks: |world| {
            world.answers = |facts| {
                facts.fleets = Ok(List::default());
                facts.unreadable = vec!["serving/llama".to_owned()];
            };
        },
        link: Link::Control,
        about: "",
        words: &["fleet serving/llama cannot be read", "kubectl -n serving get rayclusterfleet llama"],
    },
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
        name: "a field that Rayfleet refuses",
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
        name: "a misspelt field of the template",
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
            world.not_made();
        },
        link: Link::RayClusters,
        about: "ReplicaFailure/CreateRefused",
        words: &["exceeded quota: gpus"],
    },
    Fault {
        name: "a webhook refuses a changed template, and the groups of the old one serve",
        looks: |world| {
            let message = "RayCluster llama-xyzxyz-0: admission webhook \"policy\" denied the request: correct the template";
            world.says("Progressing", "False", "CreateRefused", message);
            world.says("ReplicaFailure", "True", "CreateRefused", message);
            world.step("CreateRefused", message);
        },
        link: Link::Spec,
        about: "ReplicaFailure/CreateRefused",
        words: &["admission webhook", "2 groups keep an earlier revision"],
    },
    // The rollout.
    Fault {
        name: "no room for the next group",
        looks: |world| stalled(world, "NoRoom", "needs 1 node x 4 nvidia.com/gpu; best free: 0 + 0 + 0"),
        link: Link::Rollout,
        about: "Stalled/NoRoom",
        words: &["best free: 0 + 0 + 0", "maxUnavailable: 1"],
    },
    Fault {
        name: "a finalizer holds a RayCluster",
        looks: |world| stalled(world, "HeldByFinalizer", "RayCluster g has the finalizer x.io/y"),
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
        name: "a rollout to a model that is not there, rolled back",
        looks: |world| {
            world.says("Progressing", "False", "RolledBack", "Rolled back");
            stalled(world, "RolledBack", "revision bcdfgh/kmnpqr failed");
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
        looks: |world| stalled(world, "ProgressDeadlineExceeded", "nothing has moved for 600 s"),
        link: Link::Rollout,
        about: "Stalled/ProgressDeadlineExceeded",
        words: &["600 s", "progressDeadlineSeconds"],
    },
    Fault {
        name: "a paused rollout",
        looks: |world| world.says("Progressing", "Unknown", "Paused", "spec.paused is true"),
        link: Link::Rollout,
        about: "Progressing/Paused",
        words: &["spec.paused holds", "rollout resume llama -n serving"],
    },
];
