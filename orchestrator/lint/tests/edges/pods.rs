//! What pods of a group have to have in common, what they wait for, and what their commands name.

use serde_json::{Value, json};

use crate::{HEAD, fleet, found, ids, set, with};

const WORKER: &str = "/spec/template/spec/workerGroupSpecs/0/template/spec";

#[test]
fn a_liveness_probe_lets_an_engine_load() {
    let asks = json!({"httpGet": {"path": "/health", "port": "http"}});
    let by_command = json!({"exec": {"command": ["curl", "-f", "localhost:8000/health"]}});
    for (probe, further, seconds) in [
        (&asks, json!({}), Some(30)),
        (&by_command, json!({}), Some(30)),
        (&asks, json!({"initialDelaySeconds": 120, "periodSeconds": 20, "failureThreshold": 5}), Some(220)),
        (&asks, json!({"initialDelaySeconds": 2669}), Some(2699)),
        (&asks, json!({"initialDelaySeconds": 2670}), None),
        (&asks, json!({"periodSeconds": u32::MAX, "failureThreshold": u64::MAX}), None),
        (&json!({"httpGet": {"port": 8265}}), json!({}), None),
        (&json!({"exec": {"command": ["ray", "health-check"]}}), json!({}), None),
    ] {
        let mut given = fleet();
        let container = given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap();
        let mut probe = probe.clone();
        for (field, value) in further.as_object().unwrap() {
            probe[field] = value.clone();
        }
        container["livenessProbe"] = probe.clone();
        let of_rule = |given: &Value| -> Vec<String> {
            let found = found(std::slice::from_ref(given)).into_iter();
            found.filter(|it| it.rule.id() == "no-startup-probe").map(|it| it.what).collect()
        };
        assert_eq!(of_rule(&given), Vec::<String>::new(), "with a startup probe: {probe}");
        given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["startupProbe"] = json!(null);
        let said = of_rule(&given);
        assert_eq!(said.len(), usize::from(seconds.is_some()), "{probe}: {said:?}");
        let about = seconds.map(|seconds| format!("about {seconds} s")).unwrap_or_default();
        assert!(said.iter().all(|what| what.contains(&about)), "{said:?}");
    }
    let mut other = with(&format!("{HEAD}/containers/0/livenessProbe"), asks);
    let container = other.pointer_mut(&format!("{HEAD}/containers/0")).unwrap();
    container["startupProbe"] = json!(null);
    container["command"][2] = json!("$KUBERAY_GEN_RAY_START_CMD & exec python3 -m sglang.launch_server");
    assert_eq!(ids(&[other]), ["no-startup-probe"], "on the port on which the fleet's engine is asked");
}

#[test]
fn all_of_a_ray_cluster_has_one_image() {
    let image = |image: &str| with(&format!("{WORKER}/containers/0/image"), json!(image));
    assert_eq!(ids(&[image("r.example.com/v:2")]), ["images-differ"]);
    assert_eq!(ids(&[image("r.example.com/v@sha256:00")]), ["images-differ"]);
    for unknown in ["{{ .Values.image }}", "$IMAGE", "<image>"] {
        assert_eq!(ids(&[image(unknown)]), [""; 0], "{unknown}");
    }
    let mut beside = fleet();
    let sidecar = json!({"name": "x", "image": "x:1"});
    beside.pointer_mut(&format!("{WORKER}/containers")).unwrap().as_array_mut().unwrap().push(sidecar);
    assert_eq!(ids(&[beside]), [""; 0], "a sidecar is no node of Ray");
    let mut given = set(&json!({"name": "s"}), &json!({}));
    let leader = "/spec/leaderWorkerTemplate/leaderTemplate/spec/containers/0";
    given.pointer_mut(leader).unwrap()["image"] = json!("v:2");
    assert!(ids(&[given.clone()]).contains(&"images-differ"));
    given.pointer_mut(leader).unwrap()["command"][2] = json!("python3 -m sglang.launch_server");
    assert!(!ids(&[given]).contains(&"images-differ"), "without Ray nothing is known of it");
}

#[test]
fn a_claim_of_one_node_is_not_for_several_pods() {
    let claim = |modes: Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
               "spec": {"accessModes": modes}})
    };
    let volumes = json!([{"name": "other", "emptyDir": {}}, {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]);
    let mounting = with(&format!("{HEAD}/volumes"), volumes.clone());
    let once = claim(json!(["ReadWriteOnce"]));
    let said = found(&[mounting.clone(), once.clone()]);
    assert_eq!(said.len(), 1, "{said:?}");
    let (rule, field) = (said[0].rule.id(), said[0].field.as_str());
    let volume = "spec.template.spec.headGroupSpec.template.spec.volumes[1].persistentVolumeClaim.claimName";
    assert_eq!((rule, field), ("claim-of-one-node", volume));
    assert!(said[0].what.starts_with("up to 3 pods mount the claim c,"), "heads of two groups and a surge");
    for (modes, rules) in [
        (json!(["ReadWriteOncePod"]), 1),
        (json!(["ReadWriteOnce", "ReadOnlyMany"]), 0),
        (json!(["ReadOnlyMany"]), 0),
        (json!([]), 0),
        (json!(null), 0),
    ] {
        let found = ids(&[mounting.clone(), claim(modes.clone())]);
        assert_eq!(found, vec!["claim-of-one-node"; rules], "{modes}");
    }
    let mut elsewhere = once.clone();
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(ids(&[mounting.clone(), elsewhere]), [""; 0]);
    let single = |name: &str| {
        let mut single = mounting.clone();
        single["metadata"]["name"] = json!(name);
        single["spec"]["replicas"] = json!(1);
        single["spec"]["strategy"] = json!({"type": "Recreate"});
        single
    };
    let rules = |objects: &[Value]| ids(objects).iter().filter(|id| **id == "claim-of-one-node").count();
    assert_eq!(rules(&[single("f"), once.clone()]), 0, "one pod, and never two");
    assert_eq!(rules(&[single("f"), single("g"), once.clone()]), 2, "one pod of each of two fleets");
    let mut both = single("f");
    both.pointer_mut(WORKER).unwrap()["volumes"] = volumes;
    assert_eq!(rules(&[both, once.clone()]), 1, "head and worker of one group");
    assert_eq!(ids(&[fleet(), once]), [""; 0]);
    let misspelt = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
                          "spec": {"accessMode": ["ReadWriteOnce"]}});
    assert_eq!(ids(&[fleet(), misspelt]), ["dropped-field"]);
}

#[test]
fn a_command_names_variables_that_there_are() {
    let arguments = |words: Value| with(&format!("{WORKER}/containers/0/args"), words);
    for (words, says) in [
        (json!(["--a=$(MODEL)"]), "$(MODEL): the program gets the text itself"),
        (json!(["$(B)$(A)$(B)"]), "$(A), $(B): the program"),
        (json!(["bash", "-c", "echo $(MODEL)"]), "$(MODEL): a shell runs a command"),
        (json!(["bash", "-c", "a", "$(MODEL)"]), "$(MODEL): the program"),
        (json!(["$(LWS_LEADER_ADDRESS)"]), "$(LWS_LEADER_ADDRESS)"),
        (json!(["$$(MODEL) $(hostname) $(date +%s) ${MODEL} $MODEL"]), ""),
        (json!(["$(FQ_RAY_IP):$(RAY_PORT) $(KUBERNETES_SERVICE_HOST) $(A_PORT_80_TCP_ADDR)"]), ""),
        (json!([1, {"a": "$(MODEL)"}]), ""),
    ] {
        let found = found(&[arguments(words.clone())]);
        let of_rule: Vec<_> = found.iter().filter(|it| it.rule.id() == "undefined-variable").collect();
        assert_eq!(of_rule.len(), usize::from(!says.is_empty()), "{words}: {found:?}");
        assert!(of_rule.iter().all(|it| it.what.contains(says)), "{of_rule:?}");
    }
    let mut defined = arguments(json!(["$(MODEL)"]));
    assert_eq!(ids(&[defined.clone()]), ["undefined-variable"]);
    let pod = format!("{WORKER}/containers/0");
    defined.pointer_mut(&pod).unwrap()["env"] =
        json!([{"name": "MODEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    assert_eq!(ids(&[defined.clone()]), [""; 0]);
    defined.pointer_mut(&pod).unwrap()["env"] = json!([]);
    defined.pointer_mut(&pod).unwrap()["envFrom"] = json!([{"configMapRef": {"name": "c"}}]);
    assert_eq!(ids(&[defined]), [""; 0], "what a ConfigMap has is not known");
    let mut given = set(&json!({"name": "s"}), &json!({}));
    assert!(!ids(&[given.clone()]).contains(&"undefined-variable"), "LWS gives its own");
    let line =
        &mut given["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"][0]["command"][2];
    *line = json!("x/multi-node-serving.sh worker --ray_address=$(RAY_IP)");
    assert!(ids(&[given]).contains(&"undefined-variable"), "and none of KubeRay's");
}

#[test]
fn a_leader_that_is_ready_with_its_workers_does_not_come_before_them() {
    let http = json!({"httpGet": {"path": "/health", "port": 8000}});
    let join = json!({"tcpSocket": {"port": 20000}});
    let script = "x/multi-node-serving.sh leader --ray_cluster_size=$(LWS_GROUP_SIZE); vllm serve /m";
    let ray = "ray start --head; vllm serve /m -pp 2";
    for (line, probe, at, waits) in [
        (script, "readinessProbe", &http, true),
        (script, "startupProbe", &http, true),
        (script, "livenessProbe", &http, false),
        (script, "readinessProbe", &join, false),
        (ray, "readinessProbe", &http, true),
        ("ray start --head; vllm serve /m", "readinessProbe", &http, false),
        (
            "x/multi-node-serving.sh leader --ray_cluster_size=1; vllm serve /m",
            "readinessProbe",
            &http,
            false,
        ),
        ("python3 -m sglang.launch_server --nnodes 2", "readinessProbe", &http, true),
        ("python3 -m sglang.launch_server --nnodes 2", "readinessProbe", &join, false),
        ("python3 -m sglang.launch_server --nnodes 1", "readinessProbe", &http, false),
        ("python3 serve.py --nnodes 2", "readinessProbe", &http, false),
    ] {
        let mut given = set(&json!({"name": "s"}), &json!({}));
        let container = &mut given["spec"]["leaderWorkerTemplate"]["leaderTemplate"]["spec"]["containers"][0];
        container["command"][2] = json!(line);
        container[probe] = at.clone();
        let has = |given: &Value| ids(std::slice::from_ref(given)).contains(&"leader-waits-for-workers");
        assert!(!has(&given), "LeaderCreated is the default");
        given["spec"]["startupPolicy"] = json!("LeaderReady");
        assert_eq!(has(&given), waits, "{line} {probe}");
        given["spec"]["leaderWorkerTemplate"]["size"] = json!(1);
        assert!(!has(&given), "a group of one");
    }
}
