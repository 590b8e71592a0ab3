//! RayClusterFleets: schema, rules, subresources. An orchestrator may be running in the cluster: the fleets
//! want no groups, and nothing that it writes is compared.

use serde_json::{Value, json};

use super::with;
use crate::step::{Sequence, delete, get, merge, post, put, strategic};

pub(super) fn all() -> Vec<Sequence> {
    vec![schema(), rules(), subresources(), generations(), ends()]
}

pub(super) fn fleet(name: &str) -> Value {
    let limits = json!({"nvidia.com/gpu": "1"});
    let containers =
        json!([{"name": "ray", "image": "registry.invalid/ray:1", "resources": {"limits": limits}}]);
    json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": {"name": name},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
            "model": {"name": "m", "source": "/models/m", "parallelism": {}},
            "template": {
                "metadata": {"labels": {"a": "b", "c": "d"}},
                "spec": {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": containers}}}},
            },
        },
    })
}

fn invalid(name: &str, causes: &[&str]) -> Value {
    let about = format!("RayClusterFleet orchestration.aibrix.ai {name}");
    json!({"code": 422, "reason": "Invalid", "about": about, "causes": causes})
}

fn schema() -> Sequence {
    let create = |change: Value| post("rayclusterfleets?dryRun=All", with(fleet("f"), &change));
    let unchecked = "<nil> FieldValueInvalid";
    let steps = vec![
        create(json!({"spec": {"replicas": null, "nonsense": 1, "template": {"spec": {"rayVersion": "2.60.0"}}}}))
            .show(&["/spec/replicas", "/spec/model/parallelism", "/spec/nonsense", "/spec/template/spec/rayVersion", "/status?"])
            .gives(json!({
                "code": 201, "/spec/replicas": 1, "/spec/model/parallelism": {"tensor": 1, "pipeline": 1},
                "/spec/nonsense": "absent", "/spec/template/spec/rayVersion": "2.60.0", "/status?": false,
            })),
        create(json!({"spec": {"selector": null}}))
            .gives(invalid("f", &[unchecked, "spec.selector FieldValueRequired"])),
        create(json!({"spec": {"replicas": "many"}}))
            .gives(invalid("f", &[".spec.replicas FieldValueInvalid", unchecked, "spec.replicas FieldValueTypeInvalid"])),
        create(json!({"spec": {"strategy": {"type": "Sometimes"}}}))
            .gives(invalid("f", &[unchecked, "spec.strategy.type FieldValueNotSupported"])),
        create(json!({"spec": {"replicas": -1}}))
            .gives(invalid("f", &[".spec.replicas FieldValueInvalid", "spec.replicas FieldValueInvalid"])),
        create(json!({"spec": {"drain": {"timeout": "soon"}}}))
            .gives(invalid("f", &["spec.drain.timeout FieldValueInvalid"])),
        create(json!({"spec": {"model": {"name": ""}}})).gives(invalid("f", &["spec.model.name FieldValueInvalid"])),
    ];
    Sequence { name: "schema of a fleet", steps }
}

fn rules() -> Sequence {
    let create = |change: Value| post("rayclusterfleets?dryRun=All", with(fleet("f"), &change));
    let steps = vec![
        post("rayclusterfleets?dryRun=All", fleet("1f")).gives(invalid("1f", &["<nil> FieldValueInvalid"])),
        create(json!({"spec": {"selector": {"matchLabels": {"a": "x"}}}}))
            .gives(invalid("f", &["spec.selector.matchLabels FieldValueInvalid"])),
        create(json!({"spec": {"selector": {"matchLabels": null}}}))
            .gives(invalid("f", &["spec.selector FieldValueInvalid"])),
        create(json!({"spec": {"model": {"parallelism": {"tensor": 2}}}}))
            .gives(invalid("f", &["spec.model.parallelism FieldValueInvalid"])),
        create(json!({"spec": {"model": {"parallelism": {"data": 2}}}}))
            .gives(invalid("f", &["spec.model.parallelism FieldValueInvalid"])),
        create(json!({"spec": {"model": {"engine": {"type": "custom"}}}}))
            .gives(invalid("f", &["spec.model.engine FieldValueInvalid"])),
        post("rayclusterfleets", fleet("f")).code(201),
        merge("rayclusterfleets/f", json!({"spec": {"selector": {"matchLabels": {"c": "d"}}}}))
            .gives(invalid("f", &["spec.selector FieldValueInvalid"])),
    ];
    Sequence { name: "rules of a fleet", steps }
}

fn subresources() -> Sequence {
    let scale = |replicas: u32, version: &str| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "f", "namespace": "${ns}", "resourceVersion": version}, "spec": {"replicas": replicas},
        })
    };
    let steps = vec![
        post("rayclusterfleets", with(fleet("f"), &json!({"status": {"collisionCount": 3}})))
            .show(&["/status?", "/metadata/generation"])
            .gives(json!({"code": 201, "/status?": false, "/metadata/generation": 1})),
        merge("rayclusterfleets/f", json!({"status": {"collisionCount": 7}}))
            .show(&["/status/collisionCount?", "/metadata/generation"])
            .gives(json!({"code": 200, "/status/collisionCount?": false, "/metadata/generation": 1})),
        merge(
            "rayclusterfleets/f/status",
            json!({"status": {"collisionCount": 7}, "spec": {"paused": true}, "metadata": {"labels": {"x": "y"}}}),
        )
        .show(&["/status/collisionCount", "/status/replicas", "/spec/paused?", "/metadata/labels?", "/metadata/generation"])
        .gives(json!({
            "code": 200, "/status/collisionCount": 7, "/status/replicas": 0, "/spec/paused?": false,
            "/metadata/labels?": false, "/metadata/generation": 1,
        })),
        get("rayclusterfleets/f/scale")
            .show(&["/kind", "/apiVersion", "/metadata/name", "/spec/replicas", "/status/replicas"])
            .gives(json!({
                "code": 200, "/kind": "Scale", "/apiVersion": "autoscaling/v1", "/metadata/name": "f",
                "/spec/replicas": "absent", "/status/replicas": 0,
            })),
        merge("rayclusterfleets/f/scale?dryRun=All", json!({"spec": {"replicas": 3}}))
            .show(&["/kind", "/spec/replicas"])
            .gives(json!({"code": 200, "/kind": "Scale", "/spec/replicas": 3})),
        put("rayclusterfleets/f/scale?dryRun=All", scale(2, "1")).gives(json!({
            "code": 409, "reason": "Conflict", "about": "rayclusterfleets orchestration.aibrix.ai f",
        })),
        put("rayclusterfleets/f/scale?dryRun=All", scale(2, ""))
            .show(&["/spec/replicas"])
            .gives(json!({"code": 200, "/spec/replicas": 2})),
    ];
    Sequence { name: "subresources of a fleet", steps }
}

fn generations() -> Sequence {
    let shown = ["/metadata/generation"];
    let generation = |number: u64| json!({"code": 200, "/metadata/generation": number});
    let steps = vec![
        post("rayclusterfleets", fleet("f")).code(201),
        merge("rayclusterfleets/f", json!({"metadata": {"labels": {"x": "y"}}}))
            .show(&shown)
            .gives(generation(1)),
        merge("rayclusterfleets/f", json!({"spec": {"minReadySeconds": 5}}))
            .show(&shown)
            .gives(generation(2)),
        merge("rayclusterfleets/f", json!({"spec": {"minReadySeconds": 5}}))
            .show(&shown)
            .gives(generation(2)),
        put("rayclusterfleets/f", fleet("f")).gives(json!({
            "code": 422, "reason": "Invalid", "about": "rayclusterfleets orchestration.aibrix.ai f",
            "causes": ["metadata.resourceVersion FieldValueInvalid"],
        })),
        strategic("rayclusterfleets/f", json!({"spec": {}}))
            .gives(json!({"code": 415, "reason": "UnsupportedMediaType"})),
    ];
    Sequence { name: "generations of a fleet", steps }
}

fn ends() -> Sequence {
    let held = json!({"metadata": {"finalizers": ["x.io/a"]}});
    // An orchestrator that is at work there sets no finalizer on it.
    let undrained = json!({"metadata": {"annotations": {"rayfleet.io/skip-drain": "true"}}});
    let gone =
        json!({"code": 404, "reason": "NotFound", "about": "rayclusterfleets orchestration.aibrix.ai f"});
    let steps = vec![
        post("rayclusterfleets", with(fleet("f"), &held)).keep("uid", "/metadata/uid").code(201),
        delete("rayclusterfleets/f", Value::Null)
            .show(&["/metadata/generation", "/metadata/deletionGracePeriodSeconds"])
            .gives(json!({"code": 200, "/metadata/generation": 2, "/metadata/deletionGracePeriodSeconds": 0})),
        merge("rayclusterfleets/f", json!({"metadata": {"finalizers": null}})).code(200),
        get("rayclusterfleets/f").gives(gone),
        post("rayclusterfleets", with(fleet("g"), &undrained)).keep("other", "/metadata/uid").code(201),
        delete("rayclusterfleets/g", Value::Null).show(&["/status", "/details"]).gives(json!({
            "code": 200, "/status": "Success",
            "/details": {"group": "orchestration.aibrix.ai", "kind": "rayclusterfleets", "name": "g", "uid": "${other}"},
        })),
    ];
    Sequence { name: "the end of a fleet", steps }
}
