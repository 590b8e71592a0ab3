//! Where a rule stops: what is close to what bites and does not, and what only bites under conditions.

#![allow(clippy::unwrap_used, reason = "how a test's helper fails")]

use rayfleet_lint::migrate::Options;
use rayfleet_lint::{Finding, Severity, exit_code, lint, migrate, text};
use serde_json::{Value, json};

/// A fleet of two groups of two pods with a GPU each, without anything to find.
fn fleet() -> Value {
    let pod = json!({
        "metadata": {"labels": {"app": "f", "model.aibrix.ai/port": "8000"}},
        "spec": {"terminationGracePeriodSeconds": 60, "containers": [{
            "name": "ray", "image": "r.example.com/v:1", "ports": [{"name": "http", "containerPort": 8000}],
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
        }]},
    });
    let mut head = pod.clone();
    let container = &mut head["spec"]["containers"][0];
    container["command"] =
        json!(["bash", "-c", "eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve /m -tp 1 -pp 2"]);
    container["startupProbe"] =
        json!({"httpGet": {"path": "/health", "port": "http"}, "failureThreshold": 300});
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
        "metadata": {"name": "f"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "f"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "f"}, "annotations": {"ray.io/overwrite-container-cmd": "true"}},
                "spec": {
                    "headGroupSpec": {"rayStartParams": {}, "template": head},
                    "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1,
                                          "rayStartParams": {}, "template": pod}],
                },
            },
        },
    })
}

fn service(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
}

fn found(objects: &[Value]) -> Vec<Finding> {
    lint(json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string().as_bytes()).unwrap()
}

fn ids(objects: &[Value]) -> Vec<&'static str> {
    found(objects).iter().map(|finding| finding.rule.id()).collect()
}

fn with(path: &str, value: Value) -> Value {
    let mut fleet = fleet();
    let (holder, field) = path.rsplit_once('/').unwrap();
    fleet.pointer_mut(holder).unwrap()[field] = value;
    fleet
}

const HEAD: &str = "/spec/template/spec/headGroupSpec/template/spec";

#[test]
fn a_good_fleet_has_nothing_to_find() {
    assert_eq!(ids(&[fleet()]), [""; 0]);
}

#[test]
fn a_service_is_asked_whom_it_sends_requests_to() {
    let ports = json!([{"port": 80, "targetPort": "http"}]);
    let both = json!({"selector": {"app": "f"}, "ports": ports});
    assert_eq!(ids(&[fleet(), service(&both)]), ["service-selects-workers"]);
    let heads = json!({"selector": {"app": "f", "ray.io/node-type": "head"}, "ports": ports});
    assert_eq!(ids(&[fleet(), service(&heads)]), [""; 0]);
    let mut headless = both.clone();
    headless["clusterIP"] = json!("None");
    headless["publishNotReadyAddresses"] = json!(true);
    assert_eq!(ids(&[fleet(), service(&headless)]), [""; 0], "for names, not for requests");
    let mut elsewhere = service(&both);
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(ids(&[fleet(), elsewhere]), [""; 0], "of another namespace");
    for (target, rules) in
        [(json!(8000), 0), (json!(8265), 0), (json!(9), 1), (json!("none"), 1), (json!(null), 1)]
    {
        let mut spec = heads.clone();
        spec["ports"][0]["targetPort"] = target.clone();
        assert_eq!(ids(&[fleet(), service(&spec)]), vec!["service-port"; rules], "{target}");
    }
}

#[test]
fn a_budget_beside_rayfleets_is_one_too_many() {
    let budget = |selector: Value| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
               "spec": {"maxUnavailable": 1, "selector": selector}})
    };
    let of_fleet = budget(json!({"matchLabels": {"app": "f"}}));
    assert_eq!(ids(&[fleet(), of_fleet.clone()]), ["second-disruption-budget"]);
    assert_eq!(ids(&[fleet(), budget(json!({}))]), ["second-disruption-budget"], "it selects all pods");
    assert_eq!(ids(&[fleet(), budget(json!({"matchLabels": {"app": "g"}}))]), [""; 0]);
    let without = with("/metadata/annotations", json!({"rayfleet.io/disruption-budget": "false"}));
    assert_eq!(ids(&[without, of_fleet]), [""; 0]);
}

#[test]
fn an_upgrade_needs_room_or_leaves_nobody() {
    for (surge, unavailable, replicas, rules) in [
        (1, 0, 2, vec!["surge-needs-room"]),
        (0, 1, 2, vec![]),
        (0, 1, 1, vec!["upgrade-is-outage"]),
        (0, 2, 2, vec!["upgrade-is-outage"]),
        (1, 1, 1, vec!["upgrade-is-outage"]),
        (0, 0, 2, vec![]),
        (1, 0, 0, vec![]),
    ] {
        let mut fleet = with("/spec/replicas", json!(replicas));
        fleet["spec"]["strategy"]["rollingUpdate"] =
            json!({"maxSurge": surge, "maxUnavailable": unavailable});
        assert_eq!(ids(&[fleet]), rules, "{surge} {unavailable} {replicas}");
    }
    let mut pends = fleet();
    pends["spec"]["strategy"] = json!({"type": "RollingUpdate", "whenNoRoom": "Pend", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    assert_eq!(ids(&[pends]), [""; 0], "a node autoscaler brings the room");
    let recreate = with("/spec/strategy", json!({"type": "Recreate"}));
    assert_eq!(ids(&[recreate]), ["upgrade-is-outage"]);
}

#[test]
fn a_set_without_bounds_gives_up_one_group_at_a_time() {
    let set = |spec: Value| {
        let limits = json!({"nvidia.com/gpu": 1});
        let pod =
            json!({"spec": {"containers": [{"name": "c", "image": "c:1", "resources": {"limits": limits}}]}});
        let mut set = json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "s"}});
        set["spec"] = json!({"leaderWorkerTemplate": {"size": 2, "workerTemplate": pod}});
        for (field, value) in spec.as_object().unwrap() {
            set["spec"][field] = value.clone();
        }
        ids(&[set])
    };
    assert_eq!(set(json!({})), ["upgrade-is-outage"], "one group, one unavailable, no surge");
    assert_eq!(set(json!({"replicas": 2})), [""; 0]);
    let both = |count: u32| json!({"rolloutStrategy": {"rollingUpdateConfiguration": {"maxSurge": count, "maxUnavailable": count}}});
    assert_eq!(set(both(1)), ["upgrade-is-outage"], "a surge keeps nothing of the old");
    assert_eq!(set(both(0)), ["invalid-set"]);
    let bounds = |surge: &str| json!({"replicas": 4, "rolloutStrategy": {"rollingUpdateConfiguration": {"maxSurge": surge, "maxUnavailable": "24%"}}});
    assert_eq!(set(bounds("1%")), ["surge-needs-room"], "rounded up, and the other down to nothing");
    assert_eq!(set(bounds("0%")), ["invalid-set"], "24% of four are none");
    assert_eq!(set(bounds("odd")), [""; 0]);
}

#[test]
fn an_engine_is_started_or_it_is_said_why_not() {
    let script = |script: &str| with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-lc", script]));
    let start = "$KUBERAY_GEN_RAY_START_CMD";
    for (line, rules) in [
        (format!("{start}; vllm serve /m -pp 2"), vec!["ray-start-blocks"]),
        (format!("{start} && vllm serve /m -pp 2"), vec!["ray-start-blocks"]),
        ("ray start --head --block; vllm serve /m -pp 2".to_owned(), vec!["ray-start-blocks"]),
        ("ray start --head --block & vllm serve /m -pp 2".to_owned(), vec![]),
        ("ray start --head; vllm serve /m -pp 2".to_owned(), vec![]),
        ("sleep infinity".to_owned(), vec!["no-engine"]),
        (format!("{start}; sleep 600"), vec!["no-engine"]),
        ("python serve.py".to_owned(), vec![]),
        (format!("ulimit -n 1 && eval \"{start}\" & vllm serve /m -pp 2"), vec![]),
        (format!("vllm serve /m -pp 2 & {start}"), vec![]),
        (format!("{start} & vllm serve /m -pp 3"), vec!["gpus-missing"]),
        (format!("{start} & vllm serve /m"), vec!["gpus-unused"]),
        (format!("{start} & vllm serve /m -tp 2"), vec!["tensor-over-nodes"]),
        (format!("{start} & vllm serve /m -dp 2"), vec![]),
        (format!("{start} & vllm serve /m -pp 2 --port 9000"), vec!["port-differs"]),
        (format!("{start} & vllm serve org/m -pp 2"), vec!["no-model-cache"]),
        (format!("{start} & vllm serve s3://m -pp 2"), vec![]),
        (format!("{start} & pip install a; vllm serve /m -pp 2"), vec!["installs-at-start"]),
        ("echo 'unreadable".to_owned(), vec![]),
    ] {
        assert_eq!(ids(&[script(&line)]), rules, "{line}");
    }
    let mut bare = fleet();
    bare["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(ids(&[bare.clone()]), ["command-not-kept"]);
    let line = json!(["bash", "-c", "ray start --head & exec vllm serve /m -pp 2"]);
    bare.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"] = line;
    assert_eq!(ids(&[bare]), [""; 0], "KubeRay leaves a command with these words alone");
    let sidecar = json!({"name": "x", "image": "x:1", "ports": [{"containerPort": 8080}]});
    let mut beside = fleet();
    beside.pointer_mut(&format!("{HEAD}/containers")).unwrap().as_array_mut().unwrap().push(sidecar);
    assert_eq!(ids(&[beside]), ["sidecar-on-rays-port"]);
}

#[test]
fn a_model_has_a_place_where_it_lasts() {
    for (volume, rules) in [
        (json!({"name": "m", "emptyDir": {}}), vec!["no-model-cache"]),
        (json!({"name": "m", "persistentVolumeClaim": {"claimName": "c"}}), vec![]),
        (
            json!({"name": "other", "hostPath": {"path": "/m"}}),
            vec!["no-model-cache", "mount-without-volume"],
        ),
    ] {
        let command = json!(["bash", "-c", "$KUBERAY_GEN_RAY_START_CMD & exec vllm serve org/m -pp 2"]);
        let mut fleet = with(&format!("{HEAD}/containers/0/command"), command);
        let pod = fleet.pointer_mut(HEAD).unwrap();
        pod["volumes"] = json!([volume]);
        pod["containers"][0]["volumeMounts"] =
            json!([{"name": "m", "mountPath": "/root/.cache/huggingface"}]);
        assert_eq!(ids(&[fleet]), rules, "{volume}");
    }
}

#[test]
fn variables_and_images_that_only_look_alike_are_let_be() {
    for (variable, rules) in [
        (json!({"name": "HF_TOKEN", "value": "hf_x"}), vec!["secret-in-clear"]),
        (json!({"name": "hf_token", "value": "$HF"}), vec!["shell-variable-in-env"]),
        (json!({"name": "${NAME}", "value": "${VALUE}"}), vec![]),
        (json!({"name": "HF_TOKEN", "value": "$(FROM)"}), vec![]),
        (json!({"name": "HF_TOKEN", "value": ""}), vec![]),
        (json!({"name": "HF_TOKEN", "value": "<your-token>"}), vec![]),
        (json!({"name": "TOKENIZERS_PARALLELISM", "value": "false"}), vec![]),
        (json!({"name": "A", "value": 1}), vec!["wrong-type"]),
        (json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}), vec![]),
        (json!({"name": "A", "valueForm": {}, "values": "x"}), vec!["dropped-field"]),
    ] {
        let fleet = with(&format!("{HEAD}/containers/0/env"), json!([variable]));
        assert_eq!(ids(&[fleet]), rules, "{variable}");
    }
    for (image, rules) in [
        ("a", 1),
        ("a:latest", 1),
        ("r:5000/a", 1),
        ("r:5000/a:1", 0),
        ("a@sha256:00", 0),
        ("{{ image }}", 0),
        ("<image>", 0),
        ("IMAGE_NAME", 0),
    ] {
        let fleet = with(&format!("{HEAD}/containers/0/image"), json!(image));
        assert_eq!(ids(&[fleet]), vec!["floating-image"; rules], "{image}");
    }
}

#[test]
fn fields_that_the_types_lack_are_named_with_their_line() {
    for (path, value, rule, field) in [
        ("/spec/drian", json!({}), "dropped-field", "spec.drian"),
        (
            "/spec/strategy/rollingUpdate/maxSurge",
            json!({}),
            "wrong-type",
            "spec.strategy.rollingUpdate.maxSurge",
        ),
        ("/spec/replicas", json!(501), "invalid-fleet", "spec.replicas"),
        ("/spec/template/spec/rayversion", json!("1"), "dropped-field", "spec.template.spec.rayversion"),
        ("/spec/template/spec/tlsOptions", json!({}), "newer-field", "spec.template.spec.tlsOptions"),
        ("/metadata/name", json!("UPPER"), "invalid-fleet", "metadata.name"),
    ] {
        let found = found(&[with(path, value)]);
        assert!(
            found.iter().any(|it| (it.rule.id(), it.field.as_str()) == (rule, field)),
            "{path}: {found:?}"
        );
        assert!(found.iter().all(|finding| finding.place.line == 1 && finding.place.column > 1), "{found:?}");
    }
    let twice = ids(&[with("/spec/replicas", json!("many"))]);
    assert_eq!(twice, ["wrong-type"], "once, not by every check that sees it");
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding() {
    let note = found(&[with(&format!("{HEAD}/terminationGracePeriodSeconds"), json!(null))]);
    let codes = [Severity::Note, Severity::Warning, Severity::Error].map(|from| exit_code(&note, from));
    assert_eq!((note.len(), codes), (1, [1, 0, 0]));
    assert_eq!(exit_code(&[], Severity::Note), 0);
}

#[test]
fn nothing_of_a_manifest_moves_a_terminals_cursor() {
    let odd = with(&format!("{HEAD}/containers/0/image"), json!("\u{1b}[2mx\r\ny"));
    let shown = text::text("f\n.yaml", &found(&[odd]));
    assert!(shown.contains(" [2mx y"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\r']) && shown.lines().count() == 3, "{shown}");
}

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

/// A set of two pods whose leader starts Ray and vLLM, with its metadata and what else its template has.
fn set(metadata: &Value, further: &Value) -> Value {
    let pod = |line: &str| {
        json!({"spec": {"containers": [{
            "name": "v", "image": "v:1", "command": ["sh", "-c", line],
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        }], "volumes": [{"name": "cache", "emptyDir": {}}]}})
    };
    let mut template = json!({
        "size": 2,
        "leaderTemplate": pod("x/multi-node-serving.sh leader --ray_cluster_size=2; vllm serve /m -pp 2"),
        "workerTemplate": pod("x/multi-node-serving.sh worker --ray_address=$(LWS_LEADER_ADDRESS)"),
    });
    for (field, value) in further.as_object().unwrap() {
        template[field] = value.clone();
    }
    json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": metadata,
           "spec": {"replicas": 2, "leaderWorkerTemplate": template}})
}

fn migrated(object: &Value) -> (Value, Vec<Finding>) {
    let mut new = migrate(object.to_string().as_bytes(), Options::default()).unwrap();
    (new.objects.remove(0).value, new.findings)
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
fn a_service_named_vllm_keeps_vllm_from_starting() {
    let named = |spec: Value| {
        let mut named = service(&spec);
        named["metadata"]["name"] = json!("vllm");
        named
    };
    let plain = named(json!({"ports": [{"port": 80}]}));
    assert_eq!(ids(std::slice::from_ref(&plain)), ["service-named-vllm"]);
    assert_eq!(ids(&[fleet(), plain.clone()]), ["service-named-vllm"]);
    assert_eq!(ids(&[fleet(), named(json!({"clusterIP": "None", "ports": [{"port": 80}]}))]), [""; 0]);
    let links = |of: &mut Value, links: bool| {
        for role in ["/spec/template/spec/headGroupSpec", "/spec/template/spec/workerGroupSpecs/0"] {
            of.pointer_mut(role).unwrap()["template"]["spec"]["enableServiceLinks"] = json!(links);
        }
    };
    let mut without = fleet();
    links(&mut without, false);
    assert_eq!(ids(&[without.clone(), plain.clone()]), [""; 0]);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                            "spec": {"template": {"spec": {"containers": []}}}});
    assert_eq!(ids(&[without, deployment, plain]), ["service-named-vllm"], "pods of others get it too");
    let mut own = with("/metadata/name", json!("vllm"));
    own["spec"]["model"] = json!({"name": "m", "source": "/m", "parallelism": {"tensor": 1, "pipeline": 2}});
    own.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["startupProbe"] = json!(null);
    own.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"] = json!(null);
    assert_eq!(ids(&[own.clone()]), ["fleet-named-vllm"]);
    links(&mut own, true);
    assert_eq!(ids(&[own]), ["service-named-vllm"]);
}

#[test]
fn what_stands_in_several_files_is_held_against_each_other() {
    let yaml = |object: &Value| object.to_string().into_bytes();
    let selects = service(&json!({"selector": {"app": "f"}, "ports": [{"port": 80, "targetPort": "http"}]}));
    let (fleet, selects) = (yaml(&fleet()), yaml(&selects));
    let found = rayfleet_lint::lint_all(&[&fleet, b"a: [", &selects]);
    assert_eq!(found[0].as_ref().unwrap().len(), 0);
    assert!(found[1].is_err());
    let of_service: Vec<_> = found[2].as_ref().unwrap().iter().map(|it| it.rule.id()).collect();
    assert_eq!(of_service, ["service-selects-workers"]);
}

#[test]
fn files_in_which_nothing_was_looked_at_say_so() {
    for (text, rules, says) in [
        ("", vec!["nothing-checked"], "no fleet or LeaderWorkerSet in it"),
        (
            "apiVersion: ray.io/v1\nkind: RayCluster\nmetadata: {name: r}\n",
            vec!["nothing-checked"],
            "RayCluster is not checked",
        ),
        (
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
            vec!["nothing-checked"],
            "Cluster is not checked",
        ),
        ("replicas: 1\n", vec!["nothing-checked"], "no fleet"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: r}\n", vec![], ""),
        ("apiVersion: v1\nkind: Service\n", vec!["not-an-object"], "metadata.name"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: r}\n---\na: 1\n", vec!["not-an-object"; 3], ""),
    ] {
        let found = lint(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(|it| it.rule.id()).collect::<Vec<_>>(), rules, "{text}");
        assert!(found.iter().all(|it| it.what.contains(says)), "{found:?}");
    }
}

#[test]
fn a_set_that_restarts_single_pods_is_said_of_any_group() {
    for (line, rule) in
        [("vllm serve /m -pp 2", "lws-restarts-one-pod"), ("python x.py", "lws-may-restart-one-pod")]
    {
        let mut given = set(&json!({"name": "s"}), &json!({"restartPolicy": "Default"}));
        given["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"][2] =
            json!(line);
        assert!(ids(&[given]).contains(&rule), "{line}");
    }
    for (name, rules) in [("8b", 1), ("b.llama", 1), ("a-", 1), ("b-8", 0)] {
        let found = ids(&[set(&json!({"name": name}), &json!({}))]);
        assert_eq!(found.iter().filter(|id| **id == "invalid-set").count(), rules, "{name}");
    }
    let mut blocks = set(&json!({"name": "s"}), &json!({}));
    blocks["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"][2] =
        json!("ray start --head --block; vllm serve /m -pp 2");
    assert!(ids(&[blocks]).contains(&"ray-start-blocks"));
}

#[test]
fn one_cause_is_said_once_and_nothing_of_what_serves_nobody() {
    let mut blocked = with("/spec/template/spec/headGroupSpec/rayStartParams", json!({"block": "false"}));
    assert_eq!(ids(&[blocked.clone()]), ["block-ignored"]);
    blocked.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"][2] =
        json!("$KUBERAY_GEN_RAY_START_CMD; vllm serve /m -pp 2");
    assert_eq!(ids(&[blocked]), ["ray-start-blocks"]);
    let mut sample = with("/metadata/annotations", json!({"rayfleet.io/engine-port": "none"}));
    sample["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!(0);
    for pod in [HEAD, "/spec/template/spec/workerGroupSpecs/0/template/spec"] {
        let pod = sample.pointer_mut(pod).unwrap();
        pod["containers"][0]["resources"] = json!({"limits": {"cpu": 1}});
        pod["containers"][0]["command"] = json!(["bash", "-c", "sleep 1"]);
        pod["terminationGracePeriodSeconds"] = json!(null);
    }
    assert_eq!(ids(&[sample]), [""; 0]);
}

#[test]
fn pods_on_the_nodes_network_find_the_head() {
    let mut host = with(&format!("{HEAD}/hostNetwork"), json!(true));
    assert_eq!(ids(&[host.clone()]), ["host-network-dns"]);
    host.pointer_mut(HEAD).unwrap()["dnsPolicy"] = json!("ClusterFirstWithHostNet");
    assert_eq!(ids(&[host]), [""; 0]);
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
fn numbers_with_a_leading_zero_are_octal_as_kubectl_reads_them() {
    let text = "apiVersion: v1\nkind: Thing\nmetadata: {name: a}\nmodes: [0644, 0400, 0o17, 10]\n";
    let manifest = rayfleet_lint::read::read(text.as_bytes()).unwrap();
    assert_eq!(manifest.objects[0].value["modes"], json!([420, 256, 15, 10]));
}

#[test]
fn a_thousand_warnings_hide_no_error() {
    let mut crowded = fleet();
    let env: Vec<Value> = (0..2_000).map(|n| json!({"name": format!("A{n}"), "value": "$X"})).collect();
    crowded["spec"]["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] =
        json!(env);
    let misled = service(&json!({"selector": {"app": "f"}, "ports": [{"port": 8000}]}));
    let found = found(&[crowded, misled]);
    assert_eq!((found.len(), exit_code(&found, Severity::Error)), (1_000, 1));
}

#[test]
fn a_set_whose_fleet_would_be_refused_is_no_success() {
    let named = include_str!("corpus/lws-vllm-gpu.yaml").replacen("name: ", "name: llama-3.1-405b-", 1);
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
    let set = include_str!("corpus/lws-vllm-gpu.yaml");
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
