//! Creates, updates and patches.

use serde_json::{Value, json};

use super::{config_map, lease, with};
use crate::step::{Sequence, apply, get, json_patch, merge, post, put, strategic};

pub(super) fn all() -> Vec<Sequence> {
    vec![
        create(),
        refused_creates(),
        generated_names(),
        dry_run(),
        update(),
        update_creates(),
        patch(),
        refused_patches(),
        server_side_apply(),
    ]
}

fn create() -> Sequence {
    let steps = vec![
        post("configmaps", config_map("c"))
            .show(&["/kind", "/metadata/uid?", "/metadata/creationTimestamp?", "/metadata/resourceVersion?", "/data"])
            .gives(json!({
                "code": 201, "/kind": "ConfigMap", "/metadata/uid?": true, "/metadata/creationTimestamp?": true,
                "/metadata/resourceVersion?": true, "/data": {"a": "1"},
            })),
        post("configmaps", config_map("c")).show(&["/message"]).gives(json!({
            "code": 409, "reason": "AlreadyExists", "about": "configmaps c",
            "/message": "configmaps \"c\" already exists",
        })),
        get("configmaps/c").show(&["/data/a"]).gives(json!({"code": 200, "/data/a": "1"})),
        get("configmaps/d").show(&["/message"]).gives(json!({
            "code": 404, "reason": "NotFound", "about": "configmaps d", "/message": "configmaps \"d\" not found",
        })),
        get("leases/d").show(&["/message"]).gives(json!({
            "code": 404, "reason": "NotFound", "about": "leases coordination.k8s.io d",
            "/message": "leases.coordination.k8s.io \"d\" not found",
        })),
        get("configmaps/c")
            .accept("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
            .show(&["/kind", "/metadata/name", "/data"])
            .gives(json!({"code": 200, "/kind": "PartialObjectMetadata", "/metadata/name": "c", "/data": "absent"})),
        get("gadgets").gives(json!({"code": 404, "reason": "NotFound"})),
    ];
    Sequence { name: "create", steps }
}

fn refused_creates() -> Sequence {
    let invalid = |name: &str, cause: &str| {
        json!({
            "code": 422, "reason": "Invalid", "about": format!("ConfigMap {name}").trim(), "causes": [cause],
        })
    };
    let labelled = |value: &str| with(config_map("c"), &json!({"metadata": {"labels": {"a": value}}}));
    let steps = vec![
        post("configmaps", with(config_map("c"), &json!({"metadata": {"name": null}})))
            .gives(invalid("", "metadata.name FieldValueRequired")),
        post("configmaps", config_map("C")).gives(invalid("C", "metadata.name FieldValueInvalid")),
        post("configmaps", labelled("-")).gives(invalid("c", "metadata.labels FieldValueInvalid")),
        post("configmaps", with(config_map("c"), &json!({"metadata": {"resourceVersion": "5"}})))
            .show(&["/message"])
            .gives(json!({"code": 500, "/message": "resourceVersion should not be set on objects to be created"})),
        post("configmaps", with(config_map("c"), &json!({"metadata": {"namespace": "other"}})))
            .gives(json!({"code": 400, "reason": "BadRequest"})),
        post("/api/v1/namespaces/rayfleet-never/configmaps", config_map("c")).show(&["/message"]).gives(json!({
            "code": 404, "reason": "NotFound", "about": "namespaces rayfleet-never",
            "/message": "namespaces \"rayfleet-never\" not found",
        })),
        post("secrets", config_map("c")).gives(json!({"code": 400, "reason": "BadRequest"})),
    ];
    Sequence { name: "refused creates", steps }
}

fn generated_names() -> Sequence {
    let object = with(config_map("x"), &json!({"metadata": {"name": null, "generateName": "some-"}}));
    let steps = vec![
        post("configmaps", object)
            .keep("name", "/metadata/name")
            .show(&["/metadata/generateName", "/metadata/name"])
            .gives(json!({"code": 201, "/metadata/generateName": "some-", "/metadata/name": "${name}"})),
        get("configmaps/${name}").code(200),
    ];
    Sequence { name: "generated names", steps }
}

fn dry_run() -> Sequence {
    let steps = vec![
        post("configmaps?dryRun=All", config_map("c"))
            .show(&["/metadata/uid?", "/metadata/resourceVersion?"])
            .gives(json!({"code": 201, "/metadata/uid?": true, "/metadata/resourceVersion?": false})),
        get("configmaps/c").gives(json!({"code": 404, "reason": "NotFound", "about": "configmaps c"})),
        post("configmaps", config_map("c")).version("v1").code(201),
        post("configmaps?dryRun=All", config_map("c"))
            .gives(json!({"code": 409, "reason": "AlreadyExists", "about": "configmaps c"})),
        merge("configmaps/c?dryRun=All", json!({"data": {"a": "2"}}))
            .show(&["/data/a"])
            .gives(json!({"code": 200, "/data/a": "2"})),
        get("configmaps/c")
            .show(&["/data/a", "/metadata/resourceVersion"])
            .gives(json!({"code": 200, "/data/a": "1", "/metadata/resourceVersion": "${v1}"})),
    ];
    Sequence { name: "dry run", steps }
}

fn update() -> Sequence {
    let at = |version: &str, value: &str| {
        with(config_map("c"), &json!({"metadata": {"resourceVersion": version}, "data": {"a": value}}))
    };
    let other_uid = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let shown = ["/metadata/resourceVersion", "/data/a"];
    let version = |version: &str, value: &str| json!({"code": 200, "/metadata/resourceVersion": version, "/data/a": value});
    let steps = vec![
        post("configmaps", config_map("c")).version("v1").code(201),
        put("configmaps/c", at("${v1}", "1")).version("v2").show(&shown).gives(version("${v1}", "1")),
        put("configmaps/c", at("${v1}", "2")).version("v2").show(&shown).gives(version("${v2}", "2")),
        put("configmaps/c", at("${v1}", "3")).show(&["/message"]).gives(json!({
            "code": 409, "reason": "Conflict", "about": "configmaps c",
            "/message": "Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again",
        })),
        put("configmaps/c", with(config_map("c"), &json!({"data": {"a": "4"}})))
            .version("v3")
            .show(&shown)
            .gives(version("${v3}", "4")),
        put("configmaps/c", config_map("d")).gives(json!({"code": 400, "reason": "BadRequest"})),
        put("configmaps/d", config_map("d")).gives(json!({"code": 404, "reason": "NotFound", "about": "configmaps d"})),
        put("configmaps/c", with(config_map("c"), &other_uid))
            .gives(json!({"code": 409, "reason": "Conflict", "about": "configmaps c"})),
    ];
    Sequence { name: "update", steps }
}

fn update_creates() -> Sequence {
    let known = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let changed = json!({"spec": {"holderIdentity": "you"}});
    let steps = vec![
        put("leases/l", with(lease("l"), &known))
            .gives(json!({"code": 409, "reason": "Conflict", "about": "leases coordination.k8s.io l"})),
        put("leases/l", lease("l"))
            .version("v1")
            .show(&["/metadata/uid?"])
            .gives(json!({"code": 201, "/metadata/uid?": true})),
        put("leases/l", with(lease("l"), &changed)).gives(json!({
            "code": 422, "reason": "Invalid", "about": "leases coordination.k8s.io l",
            "causes": ["metadata.resourceVersion FieldValueInvalid"],
        })),
        put("leases/l", with(with(lease("l"), &changed), &json!({"metadata": {"resourceVersion": "${v1}"}})))
            .show(&["/spec/holderIdentity", "/metadata/generation"])
            .gives(json!({"code": 200, "/spec/holderIdentity": "you", "/metadata/generation": "absent"})),
    ];
    Sequence { name: "an update that creates", steps }
}

fn patch() -> Sequence {
    let shown = ["/metadata/resourceVersion", "/data"];
    let gives = |version: &str, data: Value| json!({"code": 200, "/metadata/resourceVersion": version, "/data": data});
    let tested = json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
    let steps = vec![
        post("configmaps", config_map("c")).version("v1").code(201),
        merge("configmaps/c", json!({"data": {"a": "1"}}))
            .show(&shown)
            .gives(gives("${v1}", json!({"a": "1"}))),
        merge("configmaps/c", json!({"data": {"a": null, "b": "2"}}))
            .version("v2")
            .show(&shown)
            .gives(gives("${v2}", json!({"b": "2"}))),
        json_patch("configmaps/c", tested)
            .version("v3")
            .show(&shown)
            .gives(gives("${v3}", json!({"b": "2", "c": "3"}))),
        strategic("configmaps/c", json!({"metadata": {"finalizers": ["x.io/a"]}, "data": {"c": null}}))
            .version("v4")
            .show(&shown)
            .gives(gives("${v4}", json!({"b": "2"}))),
        strategic("configmaps/c", json!({"metadata": {"finalizers": ["x.io/b"]}}))
            .show(&["/metadata/finalizers"])
            .gives(json!({"code": 200, "/metadata/finalizers": ["x.io/b", "x.io/a"]})),
        strategic(
            "configmaps/c",
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.io/a", "x.io/b"]}}),
        )
        .show(&["/metadata/finalizers?"])
        .gives(json!({"code": 200, "/metadata/finalizers?": false})),
    ];
    Sequence { name: "patch", steps }
}

fn refused_patches() -> Sequence {
    let failed = json!([{"op": "test", "path": "/data/a", "value": "9"}]);
    let steps = vec![
        post("configmaps", config_map("c")).version("v1").code(201),
        merge("configmaps/d", json!({"data": {}})).gives(json!({"code": 404, "reason": "NotFound", "about": "configmaps d"})),
        merge("configmaps/c", json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}, "data": {"a": "2"}}))
            .gives(json!({
                "code": 422, "reason": "Invalid", "about": "ConfigMap c", "causes": ["metadata.uid FieldValueInvalid"],
            })),
        merge("configmaps/c", json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "2"}}))
            .gives(json!({"code": 409, "reason": "Conflict", "about": "configmaps c"})),
        merge("configmaps/c", json!({"metadata": {"name": "d"}})).gives(json!({"code": 400, "reason": "BadRequest"})),
        json_patch("configmaps/c", failed).gives(json!({"code": 422, "reason": "Invalid"})),
        merge("configmaps/c", json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}})).gives(json!({
            "code": 422, "reason": "Invalid", "about": "ConfigMap c",
            "causes": ["metadata.deletionTimestamp FieldValueInvalid"],
        })),
        get("configmaps/c")
            .show(&["/metadata/resourceVersion"])
            .gives(json!({"code": 200, "/metadata/resourceVersion": "${v1}"})),
    ];
    Sequence { name: "refused patches", steps }
}

fn server_side_apply() -> Sequence {
    let data = |data: Value| with(config_map("c"), &json!({"data": data}));
    let steps = vec![
        apply("configmaps/c", config_map("c")).gives(json!({
            "code": 422, "reason": "Invalid", "about": "PatchOptions meta.k8s.io",
            "causes": ["fieldManager FieldValueRequired"],
        })),
        apply("configmaps/c?fieldManager=one", data(json!({"a": "1", "b": "2"})))
            .show(&["/data"])
            .gives(json!({"code": 201, "/data": {"a": "1", "b": "2"}})),
        apply("configmaps/c?fieldManager=two", data(json!({"a": null, "c": "3"})))
            .show(&["/data"])
            .gives(json!({"code": 200, "/data": {"a": "1", "b": "2", "c": "3"}})),
        apply("configmaps/c?fieldManager=one", data(json!({"a": "1"})))
            .show(&["/data"])
            .gives(json!({"code": 200, "/data": {"a": "1", "c": "3"}})),
        apply(
            "configmaps/d?fieldManager=one",
            with(config_map("d"), &json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}})),
        )
        .gives(json!({"code": 409, "reason": "Conflict", "about": "configmaps d"})),
    ];
    Sequence { name: "server-side apply", steps }
}
