//! What a migration keeps, changes and leaves out, and that it says so.

use rayfleet_lint::migrate::Options;
use rayfleet_lint::{Finding, Severity, exit_code, migrate};
use serde_json::{Value, json};

use crate::{HEAD, fleet, ids, migrated, set, with};

#[test]
fn a_set_keeps_its_bounds_and_loses_what_a_fleet_cannot_say() {
    let set = json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
        "metadata": {"name": "s", "namespace": "n", "uid": "u", "labels": {"team": "a"}},
        "spec": {
            "replicas": 3, "startupPolicy": "LeaderReady", "networkConfig": {"subdomainPolicy": "Shared"},
            "rolloutStrategy": {"rollingUpdateConfiguration": {"maxUnavailable": "34%", "partition": 2}},
            "leaderWorkerTemplate": {
                "size": 3, "restartPolicy": "None", "subGroupPolicy": {"subGroupSize": 1},
                "volumeClaimTemplates": [{"metadata": {"name": "c"}}],
                "workerTemplate": {
                    "metadata": {"labels": {"leaderworkerset.sigs.k8s.io/x": "y"}},
                    "spec": {"containers": [{
                        "name": "v", "image": "v:1", "resources": {"limits": {"nvidia.com/gpu": 1}},
                        "command": ["sh", "-c", "export A=1; x/multi-node-serving.sh leader --ray_cluster_size=3 --num-cpus=4 --odd; vllm serve /m -pp 3 2>&1 | tee log"],
                    }]},
                },
            },
        },
    });
    let new = migrate(set.to_string().as_bytes(), Options::default()).unwrap();
    let fleet = &new.objects[0].value;
    assert_eq!(fleet["metadata"], json!({"name": "s", "namespace": "n", "labels": {"team": "a"}}));
    let spec = &fleet["spec"];
    assert_eq!(
        spec["strategy"]["rollingUpdate"],
        json!({"maxSurge": 0, "maxUnavailable": "34%", "partition": 2})
    );
    assert_eq!(spec["model"]["engine"]["env"], json!([{"name": "A", "value": "1"}]));
    let cluster = &spec["template"]["spec"];
    assert_eq!(cluster["workerGroupSpecs"][0]["replicas"], 2);
    assert_eq!(cluster["headGroupSpec"]["rayStartParams"]["num-cpus"], "4");
    assert_eq!(cluster["headGroupSpec"]["template"]["metadata"]["labels"], json!({"app": "s"}));
    let fields: Vec<&str> = new.findings.iter().map(|finding| finding.field.as_str()).collect();
    for field in [
        "spec.networkConfig",
        "spec.startupPolicy",
        "spec.leaderWorkerTemplate.restartPolicy",
        "spec.leaderWorkerTemplate.subGroupPolicy",
        "spec.leaderWorkerTemplate.volumeClaimTemplates[0]",
    ] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
    let said = new.findings.iter().map(|finding| finding.what.as_str()).collect::<Vec<_>>().join("\n");
    for part in ["`--odd` of ray start is gone", "engine's output", "leaderworkerset.sigs.k8s.io/x is gone"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_fleet_loses_what_was_there_for_its_command_and_nothing_else() {
    let mut given = with("/spec/progressDeadlineSeconds", json!(600));
    let pod = given.pointer_mut(HEAD).unwrap();
    pod["containers"][0]["lifecycle"] =
        json!({"preStop": {"exec": {"command": ["ray", "stop"]}}, "postStart": {"exec": {"command": ["a"]}}});
    pod["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["a"]}});
    pod["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 1}});
    let new = migrate(given.to_string().as_bytes(), Options::default()).unwrap();
    let spec = &new.objects[0].value["spec"];
    assert_eq!(
        spec["model"],
        json!({"name": "/m", "source": "/m", "parallelism": {"tensor": 1, "pipeline": 2}})
    );
    assert!(
        spec["progressDeadlineSeconds"].is_null() && spec["template"]["metadata"]["annotations"].is_null()
    );
    let container = &spec["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["lifecycle"], json!({"postStart": {"exec": {"command": ["a"]}}}));
    assert!(container["startupProbe"].is_null() && container["command"].is_null());
    assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
    let checks = new.findings.iter().filter(|finding| finding.field.ends_with("livenessProbe")).count();
    assert_eq!(checks, 1, "somebody has to look at what it asks");
}

#[test]
fn a_command_that_rayfleet_would_refuse_stays_in_the_template() {
    for (line, part) in [
        ("vllm serve /m -pp 2 --api-key x", "spec.model.engine.args"),
        ("vllm serve /m -pp 2 --data-parallel-size 2", "spec.model.engine.args"),
        ("vllm serve $MODEL -pp 2", "`$MODEL`"),
        ("vllm serve -pp 2", "names no model"),
        ("vllm serve /m -pp 3", "spec.model.parallelism"),
        ("python -m sglang.launch_server", "only vLLM"),
    ] {
        let script = format!("$KUBERAY_GEN_RAY_START_CMD; {line}");
        let given = with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-c", script]));
        let new = migrate(given.to_string().as_bytes(), Options::default()).unwrap();
        assert!(new.objects[0].value["spec"]["model"].is_null(), "{line}");
        let refused = new.findings.iter().find(|finding| finding.rule.id() == "not-translated").unwrap();
        assert!(refused.what.contains(part), "{line}: {}", refused.what);
        let now = new.objects[0].value.pointer(&format!("{HEAD}/containers/0/command/2")).unwrap();
        assert_eq!(
            now,
            &json!(format!("eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec {line}")),
            "mended all the same"
        );
    }
}

#[test]
fn what_an_image_runs_by_itself_is_not_guessed() {
    let pod = |command: Value| json!({"spec": {"containers": [{"name": "v", "image": "v:1", "command": command, "resources": {"limits": {"nvidia.com/gpu": 1}}}]}});
    let leader = pod(json!(["sh", "-c", "ray start --head; vllm serve /m -pp 2"]));
    let set = json!({
        "apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "s"},
        "spec": {"leaderWorkerTemplate": {"size": 2, "leaderTemplate": leader, "workerTemplate": pod(json!(null))}},
    });
    let new = migrate(set.to_string().as_bytes(), Options::default()).unwrap();
    let refused = new.findings.iter().find(|finding| finding.rule.id() == "not-translated").unwrap();
    assert!(refused.what.contains("workerTemplate.spec.containers[0] runs is not known"), "{refused:?}");
}

#[test]
fn a_volume_that_is_mounted_is_there() {
    let claim = json!({"metadata": {"name": "cache", "labels": {"a": "b"}, "uid": "u"},
                       "spec": {"accessModes": ["ReadWriteOnce"]}});
    let claimed = set(&json!({"name": "s"}), &json!({"volumeClaimTemplates": [claim]}));
    let (fleet, findings) = migrated(&claimed);
    for group in ["headGroupSpec", "workerGroupSpecs/0"] {
        let volumes = format!("/spec/template/spec/{group}/template/spec/volumes");
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let volume = json!({"name": "cache", "ephemeral": {"volumeClaimTemplate": template}});
        assert_eq!(fleet.pointer(&volumes), Some(&json!([volume])), "in the place of the other of its name");
    }
    let field = "spec.leaderWorkerTemplate.volumeClaimTemplates[0]";
    assert!(
        findings.iter().any(|it| (it.rule.id(), it.field.as_str()) == ("changed", field)),
        "{findings:?}"
    );
    let mut bare = claimed;
    for role in ["leaderTemplate", "workerTemplate"] {
        bare["spec"]["leaderWorkerTemplate"][role]["spec"]["volumes"] = json!(null);
    }
    assert!(!ids(&[bare.clone()]).contains(&"mount-without-volume"), "its claim is a volume");
    bare["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"] = json!(null);
    assert_eq!(ids(&[bare]).iter().filter(|id| **id == "mount-without-volume").count(), 2);
    for (name, rules) in [("none", 1), ("shared-mem", 0)] {
        let mounts = json!([{"name": name, "mountPath": "/x"}]);
        let fleet = with(&format!("{HEAD}/containers/0/volumeMounts"), mounts);
        assert_eq!(ids(&[fleet]), vec!["mount-without-volume"; rules], "{name}");
    }
}

#[test]
fn the_queue_of_a_set_is_that_of_the_fleets_rayclusters() {
    let labels = json!({"kueue.x-k8s.io/queue-name": "q", "team": "a"});
    let (fleet, findings) = migrated(&set(&json!({"name": "s", "labels": labels}), &json!({})));
    assert_eq!(fleet["metadata"]["labels"], json!({"team": "a"}));
    let template = &fleet["spec"]["template"]["metadata"]["labels"];
    assert_eq!(template, &json!({"app": "s", "kueue.x-k8s.io/queue-name": "q"}));
    let said = |it: &&Finding| it.rule.id() == "changed" && it.what.starts_with("kueue.x-k8s.io/queue-name");
    assert_eq!(findings.iter().filter(said).count(), 1);
}

#[test]
fn what_a_set_gives_and_a_fleet_does_not_is_said() {
    let mut tpus = set(&json!({"name": "s"}), &json!({}));
    tpus["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"google.com/tpu": 4}});
    let (kept, findings) = migrated(&tpus);
    assert_eq!((&kept, findings[0].rule.id()), (&tpus, "not-migrated"));
    let (_, findings) = migrated(&set(&json!({"name": "s"}), &json!({})));
    assert!(findings.iter().any(|it| it.cure.contains("ServiceExists")), "{findings:?}");
    let mut untyped = set(&json!({"name": "s"}), &json!({}));
    untyped["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"][2] =
        json!("x/multi-node-serving.sh leader --ray_cluster_size=2; vllm serve $MODEL -pp 2");
    let (_, findings) = migrated(&untyped);
    let dropped = |it: &&Finding| it.rule.id() == "dropped" && it.what.contains("--ray_cluster_size");
    assert_eq!(findings.iter().filter(dropped).count(), 1, "{findings:?}");
}

#[test]
fn versions_before_those_that_are_run_against_are_to_be_tried() {
    for (ray, image, checks) in [
        ("2.54.0", "r.example.com/vllm:v0.11.0-x", 3),
        ("2.60.0", "r.example.com/vllm:v0.32.1", 1),
        ("3.0", "r.example.com/other:0.1.0", 1),
        ("nightly", "r.example.com/vllm:latest", 1),
    ] {
        let mut given = with("/spec/template/spec/rayVersion", json!(ray));
        given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["image"] = json!(image);
        let (fleet, findings) = migrated(&given);
        assert!(fleet["spec"]["model"].is_object(), "{findings:?}");
        let found = findings.iter().filter(|it| it.rule.id() == "check").count();
        assert_eq!(found, checks, "{ray} {image}: {findings:?}");
    }
}

#[test]
fn a_set_whose_fleet_would_be_refused_is_no_success() {
    let named = include_str!("../corpus/lws-vllm-gpu.yaml").replacen("name: ", "name: llama-3.1-405b-", 1);
    let migrated = migrate(named.as_bytes(), Options::default()).unwrap();
    assert_eq!(exit_code(&migrated.findings, Severity::Error), 1, "{:?}", migrated.findings);
}

#[test]
fn a_secret_of_the_command_does_not_become_one_that_is_shown() {
    let mut fleet = fleet();
    let container =
        &mut fleet["spec"]["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0];
    let command =
        "eval \"$KUBERAY_GEN_RAY_START_CMD\" & export HF_TOKEN=hf_x; exec vllm serve /m -tp 1 -pp 2";
    container["command"] = json!(["bash", "-c", command]);
    let migrated = migrate(fleet.to_string().as_bytes(), Options::default()).unwrap();
    assert!(migrated.objects[0].value["spec"]["model"].is_null(), "{:?}", migrated.objects);
    assert!(migrated.findings.iter().any(|found| found.what.contains("HF_TOKEN is set in the command")));
    let shown = with("/spec/model", json!({"engine": {"env": [{"name": "HF_TOKEN", "value": "x"}]}}));
    assert!(ids(&[shown]).contains(&"secret-in-clear"));
}

#[test]
fn a_label_that_the_selector_takes_is_said() {
    let set = include_str!("../corpus/lws-vllm-gpu.yaml");
    let before = migrate(set.as_bytes(), Options::default()).unwrap();
    let key = before.objects[0].value["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap();
    let mut object =
        serde_json::to_value(rayfleet_lint::read::read(set.as_bytes()).unwrap().objects[0].value.clone())
            .unwrap();
    object["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]["labels"] = json!({key: "other"});
    let after = migrate(object.to_string().as_bytes(), Options::default()).unwrap();
    assert!(
        after.findings.iter().any(|found| found.what.contains("other of its pods became")),
        "{:?}",
        after.findings
    );
}
