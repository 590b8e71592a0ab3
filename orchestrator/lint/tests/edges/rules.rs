//! What is close to what bites and does not, and what only bites under conditions.

use serde_json::{Value, json};

use crate::{HEAD, fleet, found, ids, migrated, service, set, with};

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
        let found = ids(&[fleet]);
        assert_eq!(found.iter().filter(|id| **id == "floating-image").count(), rules, "{image}");
        let whole = image.contains(|c: char| c.is_ascii_lowercase()) && !image.contains(['{', '<']);
        assert_eq!(found.contains(&"images-differ"), whole, "{image}");
    }
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
    own["spec"]["template"]["spec"]["rayVersion"] = json!("2.60.0");
    own.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"] = json!(null);
    assert_eq!(ids(&[own.clone()]), ["fleet-named-vllm"]);
    links(&mut own, true);
    assert_eq!(ids(&[own]), ["service-named-vllm"]);
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

/// The orchestrator turns tokens on by the version, unless the template decides.
#[test]
fn a_model_without_a_version_of_ray_has_no_tokens() {
    let rayless = migrated(&fleet()).0;
    let warned = |fleet: &Value| {
        found(std::slice::from_ref(fleet)).iter().filter(|it| it.rule.id() == "no-ray-version").count()
    };
    assert_eq!(warned(&rayless), 1);
    for (field, value) in [("rayVersion", json!("2.60.0")), ("authOptions", json!({"mode": "disabled"}))] {
        let mut decided = rayless.clone();
        decided["spec"]["template"]["spec"][field] = value;
        assert_eq!(warned(&decided), 0, "{field}");
    }
    assert_eq!(warned(&fleet()), 0, "without spec.model");
}
