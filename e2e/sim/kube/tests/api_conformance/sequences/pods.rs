//! Pods: status, grace period, immutable fields.

use serde_json::{Value, json};

use super::{pod, with};
use crate::step::{Sequence, delete, get, merge, post, put, strategic};

pub(super) fn all() -> Vec<Sequence> {
    vec![status(), spec(), nowhere(), grace()]
}

fn status() -> Sequence {
    let condition =
        |name: &str, status: &str| json!({"status": {"conditions": [{"type": name, "status": status}]}});
    let shown = ["/status/conditions/*/type", "/status/conditions/*/status", "/metadata/generation"];
    let conditions = |types: &[&str], states: &[&str]| {
        json!({
            "code": 200, "/status/conditions/*/type": types, "/status/conditions/*/status": states, "/metadata/generation": 1,
        })
    };
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "00000000-0000-4000-8000-000000000000"});
    let precondition = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let steps = vec![
        post("pods", with(pod("p"), &json!({"status": {"phase": "Running"}})))
            .keep("uid", "/metadata/uid")
            .show(&[
                "/status/phase",
                "/spec/terminationGracePeriodSeconds",
                "/spec/restartPolicy",
                "/metadata/generation",
            ])
            .gives(json!({
                "code": 201, "/status/phase": "Pending", "/spec/terminationGracePeriodSeconds": 30,
                "/spec/restartPolicy": "Always", "/metadata/generation": 1,
            })),
        strategic("pods/p/status", condition("x.io/A", "False"))
            .show(&shown)
            .gives(conditions(&["x.io/A"], &["False"])),
        strategic("pods/p/status", condition("x.io/B", "True"))
            .show(&shown)
            .gives(conditions(&["x.io/B", "x.io/A"], &["True", "False"])),
        strategic(
            "pods/p/status",
            with(condition("x.io/A", "True"), &json!({"metadata": {"uid": "${uid}"}})),
        )
        .version("v3")
        .show(&shown)
        .gives(conditions(&["x.io/B", "x.io/A"], &["True", "True"])),
        strategic("pods/p/status", with(condition("x.io/A", "False"), &precondition)).gives(json!({
            "code": 422, "reason": "Invalid", "about": "Pod p", "causes": ["metadata.uid FieldValueInvalid"],
        })),
        strategic("pods/p/status", condition("x.io/A", "True"))
            .show(&["/metadata/resourceVersion"])
            .gives(json!({"code": 200, "/metadata/resourceVersion": "${v3}"})),
        merge("pods/p", json!({"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}}))
            .show(&["/status/phase", "/metadata/labels/a"])
            .gives(json!({"code": 200, "/status/phase": "Pending", "/metadata/labels/a": "b"})),
        merge("pods/p/status", json!({"status": {"phase": "Failed"}, "spec": {"priority": 7}}))
            .show(&["/status/phase", "/spec/priority"])
            .gives(json!({"code": 200, "/status/phase": "Failed", "/spec/priority": 0})),
        merge("pods/p/status", json!({"metadata": {"ownerReferences": [owner], "labels": {"a": "c"}}}))
            .show(&["/metadata/ownerReferences?", "/metadata/labels/a"])
            .gives(json!({"code": 200, "/metadata/ownerReferences?": false, "/metadata/labels/a": "c"})),
        strategic("pods/p/status", json!({"metadata": {"annotations": {"a": "b"}}}))
            .show(&["/metadata/annotations/a"])
            .gives(json!({"code": 200, "/metadata/annotations/a": "b"})),
        strategic("pods/p/status", json!({"metadata": {"annotations": {"a": null}}}))
            .show(&["/metadata/annotations?"])
            .gives(json!({"code": 200, "/metadata/annotations?": false})),
        delete("pods/p", Value::Null).show(&["/kind"]).gives(json!({"code": 200, "/kind": "Pod"})),
        get("pods/p").gives(json!({"code": 404, "reason": "NotFound", "about": "pods p"})),
    ];
    Sequence { name: "status of a pod", steps }
}

fn spec() -> Sequence {
    let image = json!({"spec": {"containers": [{"name": "c", "image": "registry.invalid/c:2"}]}});
    let fixed =
        json!({"code": 422, "reason": "Invalid", "about": "Pod p", "causes": ["spec FieldValueForbidden"]});
    let steps = vec![
        post("pods", pod("p")).code(201),
        merge("pods/p", json!({"spec": {"schedulerName": "other"}})).gives(fixed),
        strategic("pods/p", image)
            .show(&["/spec/containers/*/image", "/metadata/generation"])
            .gives(json!({
                "code": 200, "/spec/containers/*/image": ["registry.invalid/c:2"], "/metadata/generation": 2,
            })),
        put("pods/p/status", with(pod("p"), &json!({"status": {"phase": "Running"}})))
            .show(&["/spec/containers/*/image", "/status/phase"])
            .gives(json!({
                "code": 200, "/spec/containers/*/image": ["registry.invalid/c:2"], "/status/phase": "Running",
            })),
        post("pods", with(pod("q"), &json!({"spec": {"containers": []}}))).gives(json!({
            "code": 422, "reason": "Invalid", "about": "Pod q", "causes": ["spec.containers FieldValueRequired"],
        })),
    ];
    Sequence { name: "spec of a pod", steps }
}

fn nowhere() -> Sequence {
    let steps = vec![
        post("pods", pod("p")).code(201),
        delete("pods/p", json!({"gracePeriodSeconds": 60}))
            .show(&["/kind", "/metadata/name"])
            .gives(json!({"code": 200, "/kind": "Pod", "/metadata/name": "p"})),
        get("pods/p").gives(json!({"code": 404, "reason": "NotFound", "about": "pods p"})),
    ];
    Sequence { name: "a pod that was never scheduled", steps }
}

fn grace() -> Sequence {
    let placed = json!({"spec": {"nodeName": "rayfleet-no-such-node"}});
    let shown =
        ["/metadata/deletionGracePeriodSeconds", "/metadata/deletionTimestamp?", "/metadata/generation"];
    let ending = |seconds: u64| {
        json!({
            "code": 200, "/metadata/deletionGracePeriodSeconds": seconds, "/metadata/deletionTimestamp?": true,
            "/metadata/generation": 2,
        })
    };
    let steps = vec![
        post("pods", with(pod("p"), &placed)).code(201),
        delete("pods/p", Value::Null).version("v2").show(&shown).gives(ending(30)),
        delete("pods/p", json!({"gracePeriodSeconds": 60}))
            .show(&["/metadata/resourceVersion"])
            .gives(json!({"code": 200, "/metadata/resourceVersion": "${v2}"})),
        delete("pods/p", json!({"gracePeriodSeconds": 10})).show(&shown).gives(ending(10)),
        get("pods/p").code(200),
        delete("pods/p", json!({"gracePeriodSeconds": 0})).code(200),
        get("pods/p").gives(json!({"code": 404, "reason": "NotFound", "about": "pods p"})),
    ];
    Sequence { name: "grace of a pod", steps }
}
