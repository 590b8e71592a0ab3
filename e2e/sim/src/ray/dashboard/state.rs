//! The state API: nodes, actors and placement groups in one shape, with filters.

use serde_json::{Map, Value, json};

use super::super::clock::{millis, timestamp};
use super::super::gcs::{Actor, Gcs, Group, Node};
use super::super::launch::job_hex;
use super::super::wire::{Call, Reply};

/// A kind of entry.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    columns: &'static [&'static str],
    all: fn(&Gcs) -> Vec<Value>,
}

pub(super) const NODES: Kind = Kind {
    columns: &["node_id", "node_ip", "state", "node_name", "is_head_node", "labels"],
    all: |gcs| gcs.nodes.iter().map(|(id, of)| node(id, of)).collect(),
};

pub(super) const ACTORS: Kind = Kind {
    columns: &[
        "name",
        "job_id",
        "repr_name",
        "actor_id",
        "class_name",
        "placement_group_id",
        "node_id",
        "state",
        "pid",
        "ray_namespace",
    ],
    all: |gcs| {
        let mut actors: Vec<&Actor> = gcs.actors.iter().collect();
        actors.sort_by_key(|actor| &actor.id);
        actors.into_iter().map(|of| actor(gcs, of)).collect()
    },
};

pub(super) const GROUPS: Kind = Kind {
    columns: &["placement_group_id", "name", "creator_job_id", "state", "is_detached"],
    all: |gcs| gcs.groups.iter().map(group).collect(),
};

/// Entries that match the filters.
pub(super) fn list(gcs: &Gcs, kind: Kind, call: &Call) -> Reply {
    let values = |key: &str| -> Vec<&str> {
        call.query.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    };
    let limit = match values("limit").first().map(|text| (text, text.parse::<i64>())) {
        None => 100,
        Some((_, Ok(limit @ 0..=10_000))) => usize::try_from(limit).unwrap_or(100),
        Some((text, Ok(_))) => {
            return refused(&format!("Given limit {text} is not supported. It must be 0 to 10000."));
        }
        Some((text, Err(_))) => return refused(&format!("invalid literal for int() with base 10: '{text}'")),
    };
    let (keys, signs, wanted) = (values("filter_keys"), values("filter_predicates"), values("filter_values"));
    if keys.len() != signs.len() || keys.len() != wanted.len() {
        return Reply::text(500, "500 Internal Server Error\n\nServer got itself in trouble");
    }
    if let Some(bad) = keys.iter().find(|key| !kind.columns.contains(key)) {
        let known = kind.columns.iter().map(|column| format!("'{column}'")).collect::<Vec<_>>().join(", ");
        return refused(&format!(
            "The given filter column {bad} is not supported. Enter filters with –-filter key=value or –-filter key!=value \
             Supported filter columns: {{{known}}}"
        ));
    }
    let all = (kind.all)(gcs);
    let total = all.len();
    let fits = |entry: &Value| {
        keys.iter().zip(&signs).zip(&wanted).all(|((key, sign), wanted)| {
            let is = match entry.get(key) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Null) | None => false,
                Some(other) => other.to_string().eq_ignore_ascii_case(wanted),
            };
            is == (*sign == "=")
        })
    };
    let mut found: Vec<Value> = all.into_iter().filter(fits).collect();
    let filtered = found.len();
    found.truncate(limit);
    let result = json!({
        "total": total, "num_after_truncation": total, "num_filtered": filtered, "result": found,
        "partial_failure_warning": "", "warnings": null,
    });
    Reply::json(200, &json!({ "result": true, "msg": "", "data": { "result": result } }))
}

fn refused(message: &str) -> Reply {
    Reply::json(400, &json!({ "result": false, "msg": message, "data": { "result": null } }))
}

fn node(id: &str, node: &Node) -> Value {
    let mut resources = Map::from_iter([
        ("CPU".to_owned(), json!(8.0)),
        ("memory".to_owned(), json!(23_842_987_008.0)),
        ("object_store_memory".to_owned(), json!(80_000_000.0)),
        (format!("node:{}", node.ip), json!(1.0)),
    ]);
    if node.gpus > 0 {
        resources.insert("GPU".to_owned(), json!(f64::from(node.gpus)));
    }
    if node.head {
        resources.insert("node:__internal_head__".to_owned(), json!(1.0));
    }
    let message = node.dead.map(|(_, why)| match why {
        super::super::death::SIGTERM => format!("Expected termination: {why}"),
        _ => format!("Unexpected termination: {why}"),
    });
    json!({
        "node_id": id,
        "node_ip": node.ip,
        "is_head_node": node.head,
        "state": if node.dead.is_some() { "DEAD" } else { "ALIVE" },
        "state_message": message,
        "node_name": node.ip,
        "resources_total": resources,
        "labels": node.labels,
        "start_time_ms": millis(node.began),
        "end_time_ms": node.dead.map_or(0, |(at, _)| millis(at)),
    })
}

fn actor(gcs: &Gcs, actor: &Actor) -> Value {
    let ip = gcs.ip_of(actor.node.as_deref());
    let namespace =
        if actor.class == "JobSupervisor" { "SUPERVISOR_ACTOR_RAY_NAMESPACE" } else { "rayfleet" };
    let cause = actor.death.as_ref().map(|death| death.cause(actor, &ip, &gcs.ip, namespace));
    let environment =
        gcs.jobs.iter().find(|job| job_hex(job.serial) == actor.job_id).map(|job| &job.runtime_env);
    json!({
        "actor_id": actor.id,
        "class_name": actor.class,
        "state": actor.state,
        "job_id": actor.job_id,
        "name": actor.name,
        "node_id": actor.node,
        "pid": actor.pid,
        "ray_namespace": namespace,
        "serialized_runtime_env": environment.map_or_else(|| "{}".to_owned(), Value::to_string),
        "required_resources": resources(actor, &ip),
        "death_cause": cause,
        "is_detached": actor.detached,
        "placement_group_id": actor.group,
        "repr_name": "",
        "num_restarts": "0",
        "num_restarts_due_to_lineage_reconstruction": "0",
        "num_restarts_due_to_node_preemption": "0",
        "call_site": null,
        "label_selector": {},
        "fallback_strategy": null,
    })
}

/// In a placement group resources carry its name and that of the bundle.
fn resources(actor: &Actor, ip: &str) -> Map<String, Value> {
    let (Some(group), Some(bundle)) = (&actor.group, actor.bundle) else {
        return Map::from_iter([(format!("node:{ip}"), json!(0.001))]);
    };
    let mut all = Map::from_iter([
        (format!("bundle_group_{group}"), json!(0.001)),
        (format!("bundle_group_{bundle}_{group}"), json!(0.001)),
    ]);
    if actor.gpus > 0 {
        all.insert(format!("GPU_group_{group}"), json!(f64::from(actor.gpus)));
        all.insert(format!("GPU_group_{bundle}_{group}"), json!(f64::from(actor.gpus)));
    }
    all
}

fn group(group: &Group) -> Value {
    let bundles: Vec<Value> = (0..)
        .zip(&group.bundles)
        .map(|(index, bundle): (u32, _)| {
            let unit = match bundle.gpus {
                0 => json!({ "node": 0.001 }),
                gpus => json!({ "GPU": f64::from(gpus) }),
            };
            json!({
                "bundle_id": { "placement_group_id": group.id, "bundle_index": index },
                "unit_resources": unit,
                "node_id": bundle.node.clone().unwrap_or_default(),
                "label_selector": { "ray.io/node-id": bundle.pin },
            })
        })
        .collect();
    let nanoseconds = timestamp(group.began).as_nanosecond().to_string();
    json!({
        "placement_group_id": group.id,
        "name": group.name,
        "creator_job_id": job_hex(group.job),
        "state": group.state.word(),
        "bundles": bundles,
        "is_detached": false,
        "stats": {
            "creation_request_received_ns": nanoseconds,
            "scheduling_started_time_ns": nanoseconds,
            "scheduling_latency_us": "4400",
            "end_to_end_creation_latency_us": "4773",
            "scheduling_attempt": 1,
            "scheduling_state": group.scheduling,
            "highest_retry_delay_ms": 0.0,
        },
        "topology_strategy": {},
        "topology_assignments": {},
    })
}
