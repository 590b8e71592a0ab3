//! Behaviour specific to single kinds: Services, ControllerRevisions, Events.

use serde_json::json;

use crate::step::{Sequence, get, merge, post, strategic};

pub(super) fn all() -> Vec<Sequence> {
    vec![services(), revisions(), events()]
}

fn services() -> Sequence {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]},
    });
    let headless = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "h"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]},
    });
    let ports = ["/spec/ports/*/port", "/spec/ports/*/targetPort", "/spec/ports/*/protocol"];
    let steps = vec![
        post("services", service)
            .keep("address", "/spec/clusterIP")
            .show(&ports)
            .show(&["/spec/type", "/spec/clusterIP", "/spec/clusterIPs", "/metadata/generation"])
            .gives(json!({
                "code": 201, "/spec/ports/*/port": [80], "/spec/ports/*/targetPort": [80],
                "/spec/ports/*/protocol": ["TCP"], "/spec/type": "ClusterIP", "/spec/clusterIP": "${address}",
                "/spec/clusterIPs": ["${address}"], "/metadata/generation": "absent",
            })),
        merge("services/s", json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8000}]}}))
            .show(&ports)
            .show(&["/spec/clusterIP"])
            .gives(json!({
                "code": 200, "/spec/ports/*/port": [80], "/spec/ports/*/targetPort": [8000],
                "/spec/ports/*/protocol": ["TCP"], "/spec/clusterIP": "${address}",
            })),
        strategic("services/s", json!({"spec": {"ports": [{"name": "more", "port": 81}]}}))
            .show(&["/spec/ports/*/name", "/spec/ports/*/targetPort"])
            .gives(json!({"code": 200, "/spec/ports/*/name": ["more", "http"], "/spec/ports/*/targetPort": [81, 8000]})),
        post("services", headless)
            .show(&["/spec/clusterIP", "/spec/clusterIPs"])
            .gives(json!({"code": 201, "/spec/clusterIP": "None", "/spec/clusterIPs": ["None"]})),
    ];
    Sequence { name: "services", steps }
}

fn revisions() -> Sequence {
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"},
        "data": {"a": 1}, "revision": 1,
    });
    let steps = vec![
        post("controllerrevisions", revision).code(201),
        merge("controllerrevisions/r", json!({"revision": 2}))
            .show(&["/revision", "/data", "/metadata/generation"])
            .gives(json!({"code": 200, "/revision": 2, "/data": {"a": 1}, "/metadata/generation": "absent"})),
        merge("controllerrevisions/r", json!({"data": {"a": 2}})).gives(json!({
            "code": 422, "reason": "Invalid", "about": "ControllerRevision apps r", "causes": ["data FieldValueInvalid"],
        })),
    ];
    Sequence { name: "controller revisions", steps }
}

fn events() -> Sequence {
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2030-01-01T00:00:00.000000Z", "reportingController": "rayfleet", "reportingInstance": "one",
        "action": "Do", "reason": "Why", "type": "Warning", "note": "because",
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "${ns}"},
    });
    let series = json!({"series": {"count": 2, "lastObservedTime": "2030-01-01T00:00:01.000000Z"}});
    let steps = vec![
        post("events.k8s.io", event)
            .show(&["/note", "/regarding/kind"])
            .gives(json!({"code": 201, "/note": "because", "/regarding/kind": "ConfigMap"})),
        merge("events.k8s.io/e", series)
            .show(&["/series/count"])
            .gives(json!({"code": 200, "/series/count": 2})),
        get("events/e")
            .show(&[
                "/apiVersion",
                "/message",
                "/involvedObject/kind",
                "/reportingComponent",
                "/series/count",
            ])
            .gives(json!({
                "code": 200, "/apiVersion": "v1", "/message": "because", "/involvedObject/kind": "ConfigMap",
                "/reportingComponent": "rayfleet", "/series/count": 2,
            })),
        get("events?fieldSelector=involvedObject.kind%3DConfigMap,type%3DWarning")
            .show(&["/items/*/metadata/name"])
            .gives(json!({"code": 200, "/items/*/metadata/name": ["e"]})),
        get("events?fieldSelector=involvedObject.kind%3DRayCluster,type%3DWarning")
            .show(&["/items/*/metadata/name"])
            .gives(json!({"code": 200, "/items/*/metadata/name": []})),
    ];
    Sequence { name: "events", steps }
}
