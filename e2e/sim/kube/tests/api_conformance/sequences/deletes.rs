//! Deletes, finalizers, garbage collection.

use serde_json::{Value, json};

use super::{config_map, lease, with};
use crate::step::{Sequence, delete, get, merge, post};

pub(super) fn all() -> Vec<Sequence> {
    vec![
        plain(),
        preconditions(),
        finalizers(),
        collections(),
        background(),
        foreground(),
        orphans(),
        no_owner(),
        namespaces(),
    ]
}

fn gone(name: &str) -> Value {
    json!({"code": 404, "reason": "NotFound", "about": format!("configmaps {name}")})
}

fn plain() -> Sequence {
    let steps = vec![
        post("configmaps", config_map("c")).keep("uid", "/metadata/uid").code(201),
        delete("configmaps/c", json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}))
            .code(200),
        get("configmaps/c").code(200),
        delete("configmaps/c", Value::Null).show(&["/kind", "/status", "/details"]).gives(json!({
            "code": 200, "/kind": "Status", "/status": "Success",
            "/details": {"kind": "configmaps", "name": "c", "uid": "${uid}"},
        })),
        delete("configmaps/c", Value::Null).gives(gone("c")),
    ];
    Sequence { name: "delete", steps }
}

fn preconditions() -> Sequence {
    let given = |field: &str, value: &str| json!({"preconditions": {field: value}});
    let conflict = json!({"code": 409, "reason": "Conflict", "about": "ConfigMap c"});
    let steps = vec![
        post("configmaps", config_map("c")).keep("uid", "/metadata/uid").version("v1").code(201),
        merge("configmaps/c", json!({"data": {"a": "2"}})).version("v2").code(200),
        delete("configmaps/c", given("uid", "00000000-0000-4000-8000-000000000000")).gives(conflict.clone()),
        delete("configmaps/c", given("resourceVersion", "${v1}")).gives(conflict),
        delete("configmaps/c", json!({"preconditions": {"uid": "${uid}", "resourceVersion": "${v2}"}}))
            .code(200),
        get("configmaps/c").gives(gone("c")),
    ];
    Sequence { name: "preconditions", steps }
}

fn finalizers() -> Sequence {
    let held = |names: &[&str]| json!({"metadata": {"finalizers": names}});
    let steps = vec![
        post("configmaps", with(config_map("c"), &held(&["x.io/a"]))).code(201),
        delete("configmaps/c", Value::Null)
            .version("v2")
            .show(&["/kind", "/metadata/deletionTimestamp?", "/metadata/deletionGracePeriodSeconds"])
            .gives(json!({
                "code": 200, "/kind": "ConfigMap", "/metadata/deletionTimestamp?": true,
                "/metadata/deletionGracePeriodSeconds": 0,
            })),
        delete("configmaps/c", Value::Null)
            .show(&["/metadata/resourceVersion"])
            .gives(json!({"code": 200, "/metadata/resourceVersion": "${v2}"})),
        merge("configmaps/c", held(&["x.io/a", "x.io/b"])).gives(json!({
            "code": 422, "reason": "Invalid", "about": "ConfigMap c", "causes": ["metadata.finalizers FieldValueForbidden"],
        })),
        merge("configmaps/c", json!({"data": {"a": "2"}, "metadata": {"deletionTimestamp": null}}))
            .show(&["/data/a", "/metadata/deletionTimestamp?"])
            .gives(json!({"code": 200, "/data/a": "2", "/metadata/deletionTimestamp?": true})),
        merge("configmaps/c", json!({"metadata": {"finalizers": null}}))
            .show(&["/metadata/finalizers?"])
            .gives(json!({"code": 200, "/metadata/finalizers?": false})),
        get("configmaps/c").gives(gone("c")),
    ];
    Sequence { name: "finalizers", steps }
}

fn collections() -> Sequence {
    let colored =
        |name: &str, color: &str| with(lease(name), &json!({"metadata": {"labels": {"color": color}}}));
    let steps = vec![
        post("leases", colored("a", "red")).code(201),
        post("leases", colored("b", "blue")).code(201),
        post("leases", colored("c", "red")).code(201),
        delete("leases?labelSelector=color%3Dred", Value::Null)
            .show(&["/items/*/metadata/name"])
            .gives(json!({"code": 200, "/items/*/metadata/name": ["a", "c"]})),
        get("leases")
            .show(&["/items/*/metadata/name"])
            .gives(json!({"code": 200, "/items/*/metadata/name": ["b"]})),
    ];
    Sequence { name: "collections", steps }
}

/// A dependent of the object `o`, whose UID was kept.
fn dependent(uid: &str) -> Value {
    let owner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": uid, "blockOwnerDeletion": true});
    with(config_map("d"), &json!({"metadata": {"ownerReferences": [owner]}}))
}

fn background() -> Sequence {
    let steps = vec![
        post("configmaps", config_map("o")).keep("uid", "/metadata/uid").code(201),
        post("configmaps", dependent("${uid}")).code(201),
        delete("configmaps/o", json!({"propagationPolicy": "Background"})).code(200),
        get("configmaps/o").gives(gone("o")),
        get("configmaps/d").until().gives(gone("d")),
    ];
    Sequence { name: "dependents in the background", steps }
}

fn foreground() -> Sequence {
    let held = json!({"metadata": {"finalizers": ["x.io/a"]}});
    let steps = vec![
        post("configmaps", config_map("o")).keep("uid", "/metadata/uid").code(201),
        post("configmaps", with(dependent("${uid}"), &held)).code(201),
        delete("configmaps/o", json!({"propagationPolicy": "Foreground"}))
            .show(&["/metadata/finalizers"])
            .gives(json!({"code": 200, "/metadata/finalizers": ["foregroundDeletion"]})),
        get("configmaps/d")
            .until()
            .show(&["/metadata/deletionTimestamp?"])
            .gives(json!({"code": 200, "/metadata/deletionTimestamp?": true})),
        get("configmaps/o").code(200),
        merge("configmaps/d", json!({"metadata": {"finalizers": null}})).code(200),
        get("configmaps/o").until().gives(gone("o")),
    ];
    Sequence { name: "dependents in the foreground", steps }
}

fn orphans() -> Sequence {
    let steps = vec![
        post("configmaps", config_map("o")).keep("uid", "/metadata/uid").code(201),
        post("configmaps", dependent("${uid}")).code(201),
        delete("configmaps/o", json!({"propagationPolicy": "Orphan"}))
            .show(&["/metadata/finalizers"])
            .gives(json!({"code": 200, "/metadata/finalizers": ["orphan"]})),
        get("configmaps/o").until().gives(gone("o")),
        get("configmaps/d")
            .show(&["/metadata/ownerReferences?"])
            .gives(json!({"code": 200, "/metadata/ownerReferences?": false})),
    ];
    Sequence { name: "orphans", steps }
}

fn no_owner() -> Sequence {
    let steps = vec![
        post("configmaps", dependent("00000000-0000-4000-8000-000000000000")).code(201),
        get("configmaps/d").until().gives(gone("d")),
        post("configmaps", dependent("")).gives(json!({
            "code": 422, "reason": "Invalid", "about": "ConfigMap d",
            "causes": ["metadata.ownerReferences.uid FieldValueInvalid"],
        })),
    ];
    Sequence { name: "an owner that never was", steps }
}

fn namespaces() -> Sequence {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "rayfleet-conformance-"}});
    let held = json!({"metadata": {"finalizers": ["x.io/a"]}});
    let inside = |rest: &str| format!("/api/v1/namespaces/${{other}}{rest}");
    let steps = vec![
        post("/api/v1/namespaces", namespace)
            .keep("other", "/metadata/name")
            .show(&["/status/phase", "/spec/finalizers"])
            .gives(json!({"code": 201, "/status/phase": "Active", "/spec/finalizers": ["kubernetes"]})),
        post(&inside("/configmaps"), with(config_map("c"), &held)).code(201),
        delete(&inside(""), Value::Null)
            .show(&["/kind", "/status/phase"])
            .gives(json!({"code": 200, "/kind": "Namespace", "/status/phase": "Terminating"})),
        post(&inside("/configmaps"), config_map("d")).gives(json!({
            "code": 403, "reason": "Forbidden", "about": "configmaps d",
            "causes": ["metadata.namespace NamespaceTerminating"],
        })),
        get(&inside("/configmaps/c"))
            .until()
            .show(&["/metadata/deletionTimestamp?"])
            .gives(json!({"code": 200, "/metadata/deletionTimestamp?": true})),
        merge(&inside("/configmaps/c"), json!({"metadata": {"finalizers": null}})).code(200),
        get(&inside(""))
            .until()
            .gives(json!({"code": 404, "reason": "NotFound", "about": "namespaces ${other}"})),
    ];
    Sequence { name: "namespaces", steps }
}
