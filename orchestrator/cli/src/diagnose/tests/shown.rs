//! What is printed, for the troubles that people meet most.

use serde_json::{Value, json};

use super::{World, group_name, node};
use crate::diagnose::answer::{List, NoAnswer};
use crate::diagnose::facts::Facts;
use crate::diagnose::show;

fn shown(world: &World) -> String {
    show::text(&world.steps(), world.facts().is_cut(), false)
}

fn broken(edit: impl FnOnce(&mut World)) -> World {
    let mut world = World::new();
    edit(&mut world);
    world
}

#[test]
fn all_well() {
    insta::assert_snapshot!(shown(&World::new()));
}

#[test]
fn no_crd() {
    let edit = |facts: &mut Facts| {
        facts.fleets = Err(NoAnswer::Missing);
        facts.fleet_crd = Err(NoAnswer::Missing);
    };
    insta::assert_snapshot!(shown(&broken(|world| world.answers = edit)));
}

#[test]
fn forbidden() {
    let edit = |facts: &mut Facts| {
        facts.fleets = Err(NoAnswer::Forbidden {
            verb: "list",
            resource: "rayclusterfleets.orchestration.aibrix.ai",
            namespace: "serving".to_owned(),
            words: "rayclusterfleets.orchestration.aibrix.ai is forbidden: User \"jo\" cannot list resource \
                    \"rayclusterfleets\" in API group \"orchestration.aibrix.ai\" in the namespace \"serving\""
                .to_owned(),
        });
    };
    insta::assert_snapshot!(shown(&broken(|world| world.answers = edit)));
}

#[test]
fn no_kuberay() {
    let edit = |facts: &mut Facts| {
        facts.rayclusters = Err(NoAnswer::Missing);
        facts.kuberay = Ok(List::default());
    };
    insta::assert_snapshot!(shown(&broken(|world| world.answers = edit)));
}

#[test]
fn no_orchestrator() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.lease["spec"]["renewTime"] = json!("2026-03-01T11:40:00.000000Z");
        world.answers = |facts| facts.renews = Some(false);
        let status = &mut world.orchestrators[0]["status"];
        status["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        status["containerStatuses"] = json!([{
            "name": "orchestrator", "image": "rayfleet.local/orchestrator:0.1.0",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
        }]);
    })));
}

#[test]
fn a_refused_spec() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.fleet["spec"]["model"]["engine"]["args"] = json!(["--por", "1"]);
        let message =
            "spec.model.engine.args: --por stands for --port: leave it out and set the port of the model";
        world.says("Progressing", "False", "InvalidSpec", message);
        world.says("Stalled", "True", "InvalidSpec", message);
        world.step("InvalidSpec", message);
    })));
}

#[test]
fn no_room() {
    insta::assert_snapshot!(shown(&broken(|world| {
        let message = "no room for a surge group: set strategy.rollingUpdate.maxUnavailable: 1 or add nodes, or \
                       strategy.whenNoRoom: Pend to let a node autoscaler add them: needs 2 nodes x 8 \
                       nvidia.com/gpu; best free: 8 + 4";
        world.says("Stalled", "True", "NoRoom", message);
        world.step("Waiting for room", message);
    })));
}

/// Two groups with one cause have one finding.
#[test]
fn no_image() {
    insta::assert_snapshot!(shown(&broken(|world| {
        for number in 0..2 {
            world.enter(number, &json!({
                "phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z",
                "message": "pod llama: ImagePullBackOff: its image cannot be pulled: check the template's image"
            }));
            let waiting = json!({"waiting": {
                "reason": "ImagePullBackOff", "message": "Back-off pulling image \"registry.example.com/vllm-ray:1\""
            }});
            world.container(number, "head", &waiting, &Value::Null);
        }
    })));
}

#[test]
fn a_node_lost() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.enter(1, &json!({
            "phase": "Failed", "phaseSince": "2026-03-01T12:08:40Z", "goal": "Retire", "failures": 1,
            "lastFailure": {"kind": "NodeLost", "time": "2026-03-01T12:08:40Z"},
            "message": "node node-d is lost, and with it pod llama-bcdfgh-1-worker-x2b4f; the whole group is recreated"
        }));
        world.nodes.insert("node-d".to_owned(), node("node-d", "Unknown", "NodeStatusUnknown"));
    })));
}

#[test]
fn a_rank_died_and_the_next_try_waits() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.enter(1, &json!({
            "phase": "Failed", "phaseSince": "2026-03-01T12:09:40Z", "restarts": 2, "launch": 3,
            "lastFailure": {"kind": "RankDied", "time": "2026-03-01T12:09:40Z"},
            "retryAfter": "2026-03-01T12:10:20Z",
            "goalReason": "failed: rank 1 on node-d died: exit code 137",
            "message": "rank 1 on node-d died: exit code 137; the engine is started again at 2026-03-01T12:10:20Z \
                        (restart 2 of 3)"
        }));
        world.fleet["status"]["nodeFailures"] = json!([{
            "node": "node-d", "failures": 3, "avoided": true, "cause": "rank 1 on node-d died: exit code 137"
        }]);
    })));
}

#[test]
fn a_failed_probe() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.enter(
            0,
            &json!({
                "phase": "Loading", "phaseSince": "2026-03-01T12:09:40Z", "restarts": 1, "launch": 2,
                "startDeadline": "2026-03-01T12:54:40Z",
                "lastFailure": {"kind": "ProbeFailed", "time": "2026-03-01T12:09:30Z"},
                "goalReason": "failed: the probe prompt failed: the answer \"Rome\" has no \"Paris\"",
                "message": "loading weights"
            }),
        );
    })));
}

#[test]
fn a_start_that_timed_out() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.fleet["status"]["rollout"]["to"] = json!("bcdfgh/kmnpqr");
        world.enter(
            0,
            &json!({
                "phase": "Failed", "phaseSince": "2026-03-01T12:09:50Z", "restarts": 1, "failedStarts": 1,
                "lastFailure": {"kind": "StartTimedOut", "time": "2026-03-01T12:09:50Z"},
                "retryAfter": "2026-03-01T12:10:10Z",
                "message": "not ready in time, still Loading: shard 12 of 30; the engine is started again at \
                            2026-03-01T12:10:10Z (restart 1 of 3)"
            }),
        );
    })));
}

#[test]
fn aibrix_controls() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.replica_sets = vec!["llama-7c9".to_owned()];
        world.says(
            "Stalled",
            "True",
            "OwnedByAIBrix",
            "RayClusterReplicaSet llama-7c9 is of this fleet: AIBrix's controller made it",
        );
    })));
}

#[test]
fn paused() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.fleet["spec"]["paused"] = json!(true);
        world.says(
            "Progressing",
            "Unknown",
            "Paused",
            "Paused: spec.paused is true; 0 of 2 groups are of the wanted revision",
        );
        world.step("Paused", "spec.paused is true; 0 of 2 groups are of the wanted revision");
    })));
}

#[test]
fn under_way() {
    insta::assert_snapshot!(shown(&broken(|world| {
        world.enter(
            1,
            &json!({
                "phase": "Loading", "phaseSince": "2026-03-01T12:09:00Z", "message": "loading weights",
                "startDeadline": "2026-03-01T12:54:00Z"
            }),
        );
    })));
}

#[test]
fn of_many_fleets_those_that_are_well_have_a_line() {
    let mut facts = World::new().facts();
    let paused = broken(|world| {
        world.fleet["metadata"]["name"] = json!("mistral");
        world.says("Progressing", "Unknown", "Paused", "Paused: spec.paused is true");
    });
    facts.fleets.as_mut().unwrap().items.extend(paused.facts().fleets.unwrap().items);
    insta::assert_snapshot!(show::text(&crate::diagnose::judge::judge(&facts), false, false));
}

#[test]
fn the_document_has_all_steps_and_the_first_finding() {
    let world = broken(|world| {
        world.enter(1, &json!({"phase": "Pending", "phaseSince": "2026-03-01T12:09:00Z"}));
        world.says(
            "ReplicaFailure",
            "True",
            "CreateRefused",
            "RayCluster llama-bcdfgh-1: exceeded quota: gpus",
        );
        world.not_made();
    });
    let document = show::document(&world.steps(), false);
    assert_eq!((&document["wrong"], &document["cut"]), (&json!(true), &json!(false)));
    let first = &document["first"][0];
    assert_eq!(
        (&first["fleet"], &first["finding"]["about"]),
        (&json!("serving/llama"), &json!("ReplicaFailure/CreateRefused"))
    );
    assert_eq!(
        first["finding"]["subject"],
        json!({"kind": "RayCluster", "namespace": "serving", "name": group_name(1)})
    );
    assert_eq!(
        document["steps"][0],
        json!({"link": "ApiServer", "state": "Ok", "says": "https://api:6443 answers"})
    );
}
