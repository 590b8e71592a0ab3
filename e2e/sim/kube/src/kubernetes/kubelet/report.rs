//! The status of a pod as its kubelet writes it, from the pod's life.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::object::{items, set_condition, written};
use super::image;
use super::life::{End, Life, PodState};

/// Condition types that a kubelet sets. Others in the status are left unchanged.
const OWN: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// The fields of the status that the kubelet writes.
pub(super) fn status(pod: &Value, life: &Life, now: Timestamp) -> Map<String, Value> {
    let containers: Vec<Value> = items(&pod["spec"]["containers"])
        .iter()
        .map(|container| container_status(container, pod, life))
        .collect();
    let init: Vec<Value> =
        items(&pod["spec"]["initContainers"]).iter().map(|container| init_status(container, life)).collect();
    let address = life.address();
    let mut fields = Map::new();
    let mut put = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    put("phase", json!(phase(life)));
    put("startTime", json!(written(life.began)));
    put("podIP", json!(address));
    put("podIPs", json!([{"ip": address}]));
    put("conditions", conditions(pod, life, &containers, now));
    put("containerStatuses", Value::Array(containers));
    if !init.is_empty() {
        put("initContainerStatuses", Value::Array(init));
    }
    fields
}

fn phase(life: &Life) -> &'static str {
    match life.stage {
        PodState::Creating { .. }
        | PodState::NoImage { .. }
        | PodState::NoSecret { .. }
        | PodState::Waiting { .. } => "Pending",
        PodState::Running { .. } | PodState::Down { .. } => "Running",
        PodState::Over { end } if end.code == 0 => "Succeeded",
        PodState::Over { .. } => "Failed",
    }
}

fn conditions(pod: &Value, life: &Life, containers: &[Value], now: Timestamp) -> Value {
    let mut conditions = items(&pod["status"]["conditions"]).to_vec();
    let names = |which: &dyn Fn(&&Value) -> bool, of: &[Value]| {
        let names: Vec<&str> =
            of.iter().filter(which).filter_map(|container| container["name"].as_str()).collect();
        names.join(" ")
    };
    let init = items(&pod["spec"]["initContainers"]);
    let began =
        matches!(life.stage, PodState::Running { .. } | PodState::Down { .. } | PodState::Over { .. });
    let mut initialized = json!({"type": "Initialized", "status": "True"});
    if !init.is_empty() && life.initialized.is_none() && !began {
        let message = format!("containers with incomplete status: [{}]", names(&|_| true, init));
        initialized = json!({
            "type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": message,
        });
    }
    let unready = names(&|container| container["ready"] != true, containers);
    let containers_ready = if matches!(life.stage, PodState::Over { .. }) {
        let reason = if phase(life) == "Failed" { "PodFailed" } else { "PodCompleted" };
        json!({"status": "False", "reason": reason})
    } else if unready.is_empty() {
        json!({"status": "True"})
    } else {
        let message = format!("containers with unready status: [{unready}]");
        json!({"status": "False", "reason": "ContainersNotReady", "message": message})
    };
    let ready = if containers_ready["status"] == "True" { gates(pod) } else { containers_ready.clone() };
    let sandbox =
        json!({"type": OWN[0], "status": if life.over_since().is_some() { "False" } else { "True" }});
    for (kind, mut condition) in OWN.into_iter().zip([sandbox, initialized, ready, containers_ready]) {
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("type".to_owned(), json!(kind));
        }
        set_condition(&mut conditions, condition, now);
    }
    Value::Array(conditions)
}

/// The pod's readiness as far as its readiness gates decide it.
fn gates(pod: &Value) -> Value {
    let closed = items(&pod["spec"]["readinessGates"]).iter().filter_map(|gate| {
        let kind = gate["conditionType"].as_str()?;
        let conditions = items(&pod["status"]["conditions"]);
        match conditions.iter().find(|condition| condition["type"] == kind) {
            None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            Some(condition) if condition["status"] == "True" => None,
            Some(condition) => {
                let status = condition["status"].as_str().unwrap_or_default();
                Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {status}"))
            }
        }
    });
    let closed: Vec<String> = closed.collect();
    if closed.is_empty() {
        return json!({"status": "True"});
    }
    json!({"status": "False", "reason": "ReadinessGatesNotReady", "message": closed.join(", ")})
}

fn terminated(end: End) -> Value {
    let reason = if end.code == 0 { "Completed" } else { "Error" };
    json!({"terminated": {
        "exitCode": end.code, "reason": reason,
        "startedAt": written(end.began), "finishedAt": written(end.ended),
    }})
}

fn waiting(reason: &str, message: Option<String>) -> Value {
    let mut why = json!({"reason": reason});
    if let (Some(message), Some(fields)) = (message, why.as_object_mut()) {
        fields.insert("message".to_owned(), json!(message));
    }
    json!({"waiting": why})
}

/// Why a container is not started while its pod cannot proceed.
fn hindrance(container: &Value, life: &Life) -> Option<Value> {
    match &life.stage {
        PodState::NoImage { image, pull_error, backing_off, .. } if container["image"] == *image => {
            let (reason, message) = image::words(image, *pull_error, *backing_off);
            Some(waiting(reason, Some(message)))
        }
        PodState::NoSecret { secret, .. } if names_secret(container, secret) => {
            Some(waiting("CreateContainerConfigError", Some(format!("secret \"{secret}\" not found"))))
        }
        _ => None,
    }
}

fn names_secret(container: &Value, secret: &str) -> bool {
    items(&container["env"]).iter().any(|variable| variable["valueFrom"]["secretKeyRef"]["name"] == secret)
}

fn container_status(container: &Value, pod: &Value, life: &Life) -> Value {
    let init = items(&pod["spec"]["initContainers"]);
    let behind_init = !init.is_empty() && life.initialized.is_none();
    let state = match &life.stage {
        PodState::Running { since, .. } => json!({"running": {"startedAt": written(*since)}}),
        PodState::Down { end, again } if again.as_second() - end.ended.as_second() > 1 => {
            let seconds = again.as_second() - end.ended.as_second();
            let name = container["name"].as_str().unwrap_or_default();
            let of = pod["metadata"]["name"].as_str().unwrap_or_default();
            let space = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            let message = format!("back-off {seconds}s restarting failed container={name} pod={of}_{space}");
            waiting("CrashLoopBackOff", Some(message))
        }
        PodState::Down { end, .. } | PodState::Over { end } => terminated(*end),
        _ if behind_init => waiting("PodInitializing", None),
        _ => hindrance(container, life).unwrap_or_else(|| waiting("ContainerCreating", None)),
    };
    let running = matches!(life.stage, PodState::Running { .. });
    // While it waits to restart, its exit is its last state.
    let last = match life.stage {
        PodState::Down { end, .. } if state["waiting"].is_object() => Some(end),
        _ => life.last,
    };
    json!({
        "name": container["name"], "image": container["image"],
        "imageID": if running { container["image"].clone() } else { json!("") },
        "ready": life.is_ready(), "started": running, "restartCount": life.restarts,
        "state": state, "lastState": last.map_or_else(|| json!({}), terminated),
    })
}

fn init_status(container: &Value, life: &Life) -> Value {
    let done = life.initialized;
    let state = match (&life.stage, done) {
        (_, Some(done)) => terminated(End { code: 0, began: life.began, ended: done }),
        (PodState::Waiting { since, .. }, None) => json!({"running": {"startedAt": written(*since)}}),
        (_, None) => hindrance(container, life).unwrap_or_else(|| waiting("PodInitializing", None)),
    };
    json!({
        "name": container["name"], "image": container["image"], "imageID": "",
        "ready": done.is_some(), "started": matches!(life.stage, PodState::Waiting { .. }), "restartCount": 0,
        "state": state, "lastState": {},
    })
}
