//! Lists, pages and watches.

use serde_json::{Value, json};

use super::{config_map, lease, with};
use crate::step::{Sequence, Step, delete, forget, get, merge, post, watch};

pub(super) fn all() -> Vec<Sequence> {
    vec![lists(), pages(), watches(), selected_watches(), initial_events(), expired_watches()]
}

fn labelled(name: &str, color: &str) -> Value {
    with(config_map(name), &json!({"metadata": {"labels": {"color": color}}}))
}

fn five() -> Vec<Step> {
    ["a", "b", "c", "d", "e"].into_iter().map(|name| post("leases", lease(name)).code(201)).collect()
}

fn lists() -> Sequence {
    let names = |names: &[&str]| json!({"code": 200, "/items/*/metadata/name": names});
    let list = |query: &str| get(&format!("configmaps?{query}")).show(&["/items/*/metadata/name"]);
    let steps = vec![
        post("configmaps", labelled("red", "red")).code(201),
        post("configmaps", labelled("blue", "blue")).code(201),
        list("labelSelector=color").gives(names(&["blue", "red"])),
        list("labelSelector=color%3Dred").gives(names(&["red"])),
        list("labelSelector=color,color!%3Dred").gives(names(&["blue"])),
        list("labelSelector=color%20in%20(red,green)").gives(names(&["red"])),
        list("labelSelector=color&resourceVersion=0").gives(names(&["blue", "red"])),
        list("fieldSelector=metadata.name%3Dblue").gives(names(&["blue"])),
        get("configmaps?fieldSelector=data.a%3D1").gives(json!({"code": 400, "reason": "BadRequest"})),
        get("configmaps?labelSelector=color%3Dred")
            .show(&["/kind", "/metadata/resourceVersion?", "/items/*/kind"])
            .gives(json!({"code": 200, "/kind": "ConfigMapList", "/metadata/resourceVersion?": true, "/items/*/kind": ["absent"]})),
        get("leases?resourceVersion=999999999999").gives(json!({
            "code": 504, "reason": "Timeout", "causes": [" ResourceVersionTooLarge"],
        })),
    ];
    Sequence { name: "lists", steps }
}

fn pages() -> Sequence {
    let shown = [
        "/items/*/metadata/name",
        "/metadata/continue?",
        "/metadata/remainingItemCount",
        "/metadata/resourceVersion",
    ];
    let page = |names: &[&str], more: bool, left: Value| {
        json!({
            "code": 200, "/items/*/metadata/name": names, "/metadata/continue?": more,
            "/metadata/remainingItemCount": left, "/metadata/resourceVersion": "${first}",
        })
    };
    let next = |token: &str| get(&format!("leases?limit=2&continue=${{{token}}}"));
    let mut steps = five();
    steps.extend([
        get("leases?limit=2").version("first").keep("one", "/metadata/continue").show(&shown).gives(page(
            &["a", "b"],
            true,
            json!(3),
        )),
        delete("leases/c", Value::Null).code(200),
        post("leases", lease("bb")).code(201),
        next("one").keep("two", "/metadata/continue").show(&shown).gives(page(&["c", "d"], true, json!(1))),
        next("two").show(&shown).gives(page(&["e"], false, json!("absent"))),
        get("leases?limit=2&continue=nonsense").gives(json!({"code": 400, "reason": "BadRequest"})),
    ]);
    Sequence { name: "pages", steps }
}

fn watches() -> Sequence {
    let steps = vec![
        post("configmaps", labelled("a", "red")).version("v1").code(201),
        post("configmaps", labelled("b", "red")).code(201),
        merge("configmaps/a", json!({"data": {"a": "2"}})).version("v2").code(200),
        delete("configmaps/b", Value::Null).code(200),
        watch("configmaps?labelSelector=color&resourceVersion=${v1}").show(&["/data/a"]).gives(json!({
            "code": 200, "events": [["ADDED", "b", "1"], ["MODIFIED", "a", "2"], ["DELETED", "b", "1"]],
        })),
        watch("configmaps?labelSelector=color&resourceVersion=${v2}")
            .gives(json!({"code": 200, "events": [["DELETED", "b"]]})),
        watch("configmaps?fieldSelector=metadata.name%3Da&resourceVersion=${v1}")
            .gives(json!({"code": 200, "events": [["MODIFIED", "a"]]})),
        watch("configmaps?labelSelector=color").gives(json!({"code": 200, "events": [["ADDED", "a"]]})),
        watch("configmaps?labelSelector=color&resourceVersion=0")
            .gives(json!({"code": 200, "events": [["ADDED", "a"]]})),
    ];
    Sequence { name: "watches", steps }
}

fn selected_watches() -> Sequence {
    let paint = |color: &str| merge("configmaps/a", json!({"metadata": {"labels": {"color": color}}}));
    let steps = vec![
        post("configmaps", labelled("a", "red")).version("v1").code(201),
        paint("blue").version("v2").code(200),
        merge("configmaps/a", json!({"data": {"a": "2"}})).code(200),
        paint("red").version("v3").code(200),
        watch("configmaps?labelSelector=color%3Dred&resourceVersion=${v1}")
            .show(&["/metadata/labels/color", "/metadata/resourceVersion", "/data/a"])
            .gives(json!({"code": 200, "events": [["DELETED", "a", "red", "${v2}", "1"], ["ADDED", "a", "red", "${v3}", "2"]]})),
    ];
    Sequence { name: "watches with a selector", steps }
}

fn initial_events() -> Sequence {
    let query = "labelSelector=color&sendInitialEvents=true&allowWatchBookmarks=true";
    let steps = vec![
        post("configmaps", labelled("a", "red")).code(201),
        post("configmaps", labelled("b", "red")).code(201),
        watch(&format!("configmaps?{query}&resourceVersionMatch=NotOlderThan"))
            .gives(json!({"code": 200, "events": [["ADDED", "a"], ["ADDED", "b"], ["BOOKMARK"]]})),
        watch(&format!("configmaps?{query}")).gives(json!({
            "code": 422, "reason": "Invalid", "about": "ListOptions meta.k8s.io",
            "causes": ["resourceVersionMatch FieldValueForbidden"],
        })),
    ];
    Sequence { name: "initial events", steps }
}

fn expired_watches() -> Sequence {
    let steps = vec![
        post("configmaps", labelled("a", "red")).version("v1").code(201),
        // A real server decides itself when to compact; later writes are reported in any case.
        forget(),
        watch("configmaps?labelSelector=color&resourceVersion=${v1}")
            .gives(json!({"code": 200, "events": []})),
    ];
    Sequence { name: "expired watches", steps }
}
