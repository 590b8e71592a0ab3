//! What a migration keeps, changes and leaves out, and that it says so.

use rayfleet_lint::migrate::Options;
use rayfleet_lint::{Finding, Severity, exit_code, migrate};
use serde_json::{Value, json};

use crate::{HEAD, fleet, found, ids, migrated, set, with};

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
        ("vllm serve /m -pp 2 --data-parallel-size-local 1", "spec.model.engine.args"),
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
fn data_parallel_engines_become_those_of_the_model_block() {
    let line = "$KUBERAY_GEN_RAY_START_CMD; vllm serve /m -dp 2 -dpb ray --enable-expert-parallel";
    let given = with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-c", line]));
    let new = migrate(given.to_string().as_bytes(), Options::default()).unwrap();
    let model = &new.objects[0].value["spec"]["model"];
    assert_eq!(model["parallelism"], json!({"tensor": 1, "pipeline": 1, "data": 2}));
    assert_eq!(model["engine"]["args"], json!(["--enable-expert-parallel"]));
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

/// What is said of steps of the head's script before its engine, and the environment that the engine gets.
fn lost(before: &str) -> (Vec<String>, Value) {
    let script = format!("{before}\neval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve /m -pp 2");
    let (fleet, findings) =
        migrated(&with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-c", script])));
    assert!(fleet["spec"]["model"].is_object(), "{before}: {findings:?}");
    let lost = findings.into_iter().filter(|it| it.rule.id() == "dropped").map(|it| it.what).collect();
    (lost, fleet["spec"]["model"]["engine"]["env"].clone())
}

#[test]
fn a_step_that_only_waits_or_reports_is_missed_by_nobody() {
    for idle in [
        "ulimit -n 65536; echo starting; set -e",
        "until curl -sf http://localhost:8265/ > /dev/null 2>&1; do sleep 1; done",
        "until curl -s -o /dev/null http://localhost:8265/; do echo 'waits' >&2; sleep 1; done",
        "while ! curl --output /dev/null -w '%{http_code}' http://a/; do sleep 1; break; done",
        "for i in 1 2 3; do if ray status; then break; fi; sleep 1; done",
        "[ -d /models/m ] && echo found || echo none",
        "echo x > /dev/stderr; echo y &> /dev/null",
    ] {
        assert_eq!(lost(idle).0, [""; 0], "{idle}");
    }
}

#[test]
fn a_step_with_an_effect_is_never_lost_without_a_word() {
    for (step, part) in [
        ("curl -fL -o /tmp/chat.jinja https://e.example/c", "`curl -fL -o /tmp/chat.jinja"),
        ("curl -fsSLO https://e.example/c", "`curl -fsSLO"),
        ("curl -m 5 -o/tmp/c https://e.example/c", "`curl -m 5 -o/tmp/c"),
        ("curl --output=/tmp/c https://e.example/c", "`curl --output=/tmp/c"),
        ("curl -sX POST https://e.example/register", "`curl -sX POST"),
        ("curl -s https://e.example/c > /tmp/c", "`curl -s"),
        ("echo '{\"a\": 1}' > /tmp/conf.json", "`echo {\"a\": 1}`"),
        ("printf x >> /tmp/conf", "`printf x`"),
        ("echo x &> /tmp/conf", "`echo x`"),
        ("echo x >& /tmp/conf", "`echo x`"),
        ("echo x > /dev/shm/conf", "`echo x`"),
        ("for i in 1 2; do echo $i; done > /tmp/list", "`done`"),
        ("> /tmp/marker", "`>`"),
        ("echo $(python3 /fetch.py)", "`echo $(python3 /fetch.py)`"),
        ("until hf download org/m --local-dir /models/m; do sleep 1; done", "`hf download org/m"),
        ("if [ -d /a ]; then ln -s /a /b; else mkdir /b; fi", "`ln -s /a /b`"),
        ("if [ -d /a ]; then ln -s /a /b; else mkdir /b; fi", "`mkdir /b`"),
        ("while ! mount /x; do sleep 1; done", "`mount /x`"),
        ("{ nvidia-smi -pm 1; }", "`nvidia-smi -pm 1`"),
    ] {
        let (lost, _) = lost(step);
        assert!(lost.iter().any(|what| what.contains(part)), "{step}: {lost:?}");
    }
}

#[test]
fn an_export_becomes_the_engines_only_if_it_always_is() {
    let env = json!([{"name": "NCCL_IB_HCA", "value": "mlx5"}]);
    for always in [
        "export NCCL_IB_HCA=mlx5",
        "if true; then echo a; fi; export NCCL_IB_HCA=mlx5; for i in 1; do echo; done",
    ] {
        assert_eq!(lost(always), (vec![], env.clone()), "{always}");
    }
    for maybe in [
        "if [ -d /sys/class/infiniband ]; then export NCCL_IB_HCA=mlx5; fi",
        "if [ -d /sys/class/infiniband ]; then echo ib; export NCCL_IB_HCA=mlx5; fi",
        "[ -d /sys/class/infiniband ] && export NCCL_IB_HCA=mlx5",
        "[ -d /sys/class/infiniband ] || export NCCL_IB_HCA=mlx5",
        "export NCCL_IB_HCA=mlx5 | true",
        "export NCCL_IB_HCA=mlx5 && sleep 1 &",
    ] {
        let said = "NCCL_IB_HCA of `export` is no longer set".to_owned();
        assert_eq!(lost(maybe), (vec![said], json!(null)), "{maybe}");
    }
    let chain = "export NCCL_IB_HCA=mlx5; eval \"$KUBERAY_GEN_RAY_START_CMD\" & ulimit -n 1 && export A=1 && vllm serve /m -pp 2";
    let (fleet, _) = migrated(&with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-c", chain])));
    assert_eq!(fleet["spec"]["model"]["engine"]["env"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_export_of_workers_alone_is_said() {
    for (export, said) in [
        ("NCCL_SOCKET_IFNAME=eth0", vec![]),
        ("NCCL_SOCKET_IFNAME=eth1", vec!["NCCL_SOCKET_IFNAME of `export` is no longer set"]),
        ("HF_TOKEN=hf_x", vec!["HF_TOKEN of `export` is no longer set"]),
    ] {
        let mut given = set(&json!({"name": "s"}), &json!({}));
        let start = "ray start --head; vllm serve /m -pp 2";
        let roles = [
            ("leaderTemplate", format!("export NCCL_SOCKET_IFNAME=eth0; {start}")),
            ("workerTemplate", format!("export {export}; ray start --address=x --block")),
        ];
        for (role, line) in roles {
            given["spec"]["leaderWorkerTemplate"][role]["spec"]["containers"][0]["command"][2] = json!(line);
        }
        let (fleet, findings) = migrated(&given);
        assert!(fleet["spec"]["model"].is_object(), "{findings:?}");
        let of_worker = findings.iter().filter(|it| it.field.contains("workerTemplate.spec.containers[0]"));
        let lost: Vec<&str> =
            of_worker.filter(|it| it.rule.id() == "dropped").map(|it| it.what.as_str()).collect();
        assert_eq!(lost, said, "{export}");
    }
}

#[test]
fn what_stands_around_rays_start_is_said_on_both_ways() {
    for model in ["/m", "$MODEL"] {
        for (start, parts) in [
            ("eval \"$KUBERAY_GEN_RAY_START_CMD --node-ip-address=$IP\"", vec!["adds to Ray's start"]),
            ("$KUBERAY_GEN_RAY_START_CMD --node-ip-address=$IP", vec!["adds to Ray's start"]),
            ("RAY_X=1 eval \"${KUBERAY_GEN_RAY_START_CMD}\"", vec!["adds to Ray's start"]),
            ("$KUBERAY_GEN_RAY_START_CMD > /tmp/ray.log 2>&1", vec!["file with the output"]),
            ("exec $KUBERAY_GEN_RAY_START_CMD 2>&1", vec![]),
            ("x/multi-node-serving.sh leader --num-cpus=4 --odd", vec!["`--odd` of ray start is gone"]),
            (
                "x/multi-node-serving.sh leader --num-cpus=4 --num-gpus 1 --num-cpus=5",
                vec!["`--num-cpus=5` of ray start is gone"],
            ),
        ] {
            let script = format!("{start}; vllm serve {model} -pp 2");
            let (fleet, findings) =
                migrated(&with(&format!("{HEAD}/containers/0/command"), json!(["bash", "-c", script])));
            assert_eq!(fleet["spec"]["model"].is_null(), model == "$MODEL", "{findings:?}");
            let lost: Vec<&str> =
                findings.iter().filter(|it| it.rule.id() == "dropped").map(|it| it.what.as_str()).collect();
            assert_eq!(lost.len(), parts.len(), "{script}: {lost:?}");
            assert!(parts.iter().all(|part| lost.iter().any(|it| it.contains(part))), "{script}: {lost:?}");
            let cpus = &fleet["spec"]["template"]["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"];
            assert_eq!(cpus == "4", start.contains("num-cpus"), "{script}");
        }
    }
}

#[test]
fn a_probe_that_asks_the_engine_goes_from_whatever_container() {
    let shell = json!({"exec": {"command": ["sh", "-c", "curl -f http://localhost:8000/health"]}});
    let mut given = with(&format!("{HEAD}/containers/0/startupProbe"), shell);
    let of_other = json!({"exec": {"command": ["curl", "http://localhost:80001/"]}});
    let sidecar = json!({"name": "x", "image": "x:1", "readinessProbe": {"httpGet": {"port": 8000}}, "livenessProbe": of_other});
    let pod = given.pointer_mut(HEAD).unwrap();
    pod["containers"].as_array_mut().unwrap().push(sidecar);
    pod["initContainers"] = json!([{"name": "i", "image": "i:1", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 8000}}}]);
    let (fleet, findings) = migrated(&given);
    let pod = fleet.pointer(HEAD).unwrap();
    assert!(
        pod["containers"][0]["startupProbe"].is_null() && pod["containers"][1]["readinessProbe"].is_null()
    );
    assert!(pod["initContainers"][0]["startupProbe"].is_null());
    assert_eq!(pod["containers"][1]["livenessProbe"], of_other, "of another port");
    let said = findings.iter().filter(|it| it.rule.id() == "changed" && it.what.contains("asked the engine"));
    assert_eq!(said.count(), 3, "{findings:?}");
    let mut typed = given;
    typed["spec"]["model"] =
        json!({"name": "m", "source": "/m", "parallelism": {"tensor": 1, "pipeline": 2}});
    let waits = found(&[typed]).into_iter().filter(|it| it.rule.id() == "probe-waits-for-engine");
    let fields: Vec<String> = waits.map(|it| it.field.rsplit_once("spec.").unwrap().1.to_owned()).collect();
    assert_eq!(
        fields,
        ["containers[0].startupProbe", "containers[1].readinessProbe", "initContainers[0].startupProbe"]
    );
}

/// The fleet with another end of its engine's command.
fn started(further: &str) -> Value {
    let mut given = fleet();
    let line = format!("eval \"$KUBERAY_GEN_RAY_START_CMD\" & exec vllm serve /m {further}");
    given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"][2] = json!(line);
    given
}

fn said(findings: &[Finding], rule: &str, part: &str) -> usize {
    findings.iter().filter(|it| it.rule.id() == rule && it.what.contains(part)).count()
}

#[test]
fn an_engine_is_not_opened_to_the_network_without_a_word() {
    for (host, warned) in [("0.0.0.0", 0), ("::", 0), ("127.0.0.1", 1), ("localhost", 1)] {
        let (new, findings) = migrated(&started(&format!("-tp 1 -pp 2 --host {host}")));
        assert!(new["spec"]["model"].is_object(), "{host}: {findings:?}");
        assert_eq!(
            said(&findings, "dropped", "is gone: the engine listens on every address"),
            warned,
            "{host}"
        );
    }
}

/// As vLLM's documentation starts data-parallel engines over nodes by Ray.
#[test]
fn data_parallel_engines_over_nodes_become_their_size() {
    let leader = |further: &str| {
        let mut given = set(&json!({"name": "s"}), &json!({}));
        let line = format!(
            "x/multi-node-serving.sh leader --ray_cluster_size=2; vllm serve /m --data-parallel-size 2 {further}"
        );
        given["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"][2] =
            json!(line);
        given
    };
    let places = "--data-parallel-size-local 1 --data-parallel-address $(LWS_LEADER_ADDRESS) --data-parallel-rpc-port 13345";
    let on_ray = format!("{places} --data-parallel-backend=ray");
    let (new, findings) = migrated(&leader(&format!("{on_ray} --enable-expert-parallel")));
    let model = &new["spec"]["model"];
    assert_eq!(model["parallelism"], json!({"tensor": 1, "pipeline": 1, "data": 2}), "{findings:?}");
    assert_eq!(model["engine"]["args"], json!(["--enable-expert-parallel"]));
    assert_eq!((said(&findings, "changed", places), said(&findings, "check", "mixtures of experts")), (1, 0));
    assert_eq!(said(&findings, "check", "$(LWS_LEADER_ADDRESS)"), 0, "{findings:?}");
    let (_, findings) = migrated(&leader(&on_ray));
    assert_eq!(said(&findings, "check", "a dense model is refused when it loads"), 1);
    for (further, reason) in [
        (format!("{places} --data-parallel-backend=mp"), "`--data-parallel-backend mp`"),
        (format!("{on_ray} --data-parallel-hybrid-lb"), "--data-parallel-hybrid-lb"),
        (format!("{on_ray} --data-parallel-external-lb"), "--data-parallel-external-lb"),
        (places.to_owned(), "$(LWS_LEADER_ADDRESS)"),
    ] {
        let (new, findings) = migrated(&leader(&further));
        assert!(new["spec"]["model"].is_null(), "{further}");
        assert!(said(&findings, "not-translated", reason) > 0, "{further}: {findings:?}");
    }
}

#[test]
fn a_set_without_ray_is_told_the_way_to_a_fleet() {
    let mut given = set(&json!({"name": "s"}), &json!({}));
    given["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0]["command"][2] =
        json!("vllm serve /m --data-parallel-size 2 --data-parallel-address $(LWS_LEADER_ADDRESS)");
    let (new, findings) = migrated(&given);
    assert_eq!(new, given);
    let cure = &findings.iter().find(|it| it.rule.id() == "not-migrated").unwrap().cure;
    assert!(
        cure.contains("kubectl rayfleet template MODEL --gpu GPU") && cure.contains("--data N"),
        "{cure}"
    );
}
