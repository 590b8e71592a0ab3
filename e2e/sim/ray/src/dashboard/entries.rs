//! Nodes, actors and placement groups as the state API lists them. They are asked for all the time, so they are written
//! from where they are, with their fields in the order of the alphabet.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::actor::{Actor, SIGTERM};
use super::super::clock::{millis, timestamp};
use super::super::gcs::{Gcs, Group, Node};
use super::super::ids::job_hex;

/// What can be listed.
pub(super) trait Entry {
    /// Columns that can be filtered by.
    const COLUMNS: &'static [&'static str];

    /// What it has in a column.
    fn column(&self, name: &str) -> Value;

    /// All of it.
    fn shown(&self) -> impl Serialize;
}

/// Amounts of resources by name.
type Resources = BTreeMap<Cow<'static, str>, f64>;

#[derive(Serialize)]
struct Empty {}

/// A node and its id.
pub(super) struct NodeEntry<'g>(pub(super) &'g str, pub(super) &'g Node);

#[derive(Serialize)]
struct ShownNode<'g> {
    end_time_ms: i64,
    is_head_node: bool,
    labels: &'g BTreeMap<String, String>,
    node_id: &'g str,
    node_ip: &'g str,
    node_name: &'g str,
    resources_total: Resources,
    start_time_ms: i64,
    state: &'static str,
    state_message: Option<String>,
}

impl NodeEntry<'_> {
    fn state(&self) -> &'static str {
        if self.1.dead.is_some() { "DEAD" } else { "ALIVE" }
    }

    fn resources(&self) -> Resources {
        let node = self.1;
        let mut resources = Resources::from([
            ("CPU".into(), 8.0),
            ("memory".into(), 23_842_987_008.0),
            ("object_store_memory".into(), 80_000_000.0),
            (format!("node:{}", node.ip).into(), 1.0),
        ]);
        if node.gpus > 0 {
            resources.insert("GPU".into(), f64::from(node.gpus));
        }
        if node.head {
            resources.insert("node:__internal_head__".into(), 1.0);
        }
        resources
    }
}

impl Entry for NodeEntry<'_> {
    const COLUMNS: &'static [&'static str] =
        &["node_id", "node_ip", "state", "node_name", "is_head_node", "labels"];

    fn column(&self, name: &str) -> Value {
        let Self(id, node) = self;
        match name {
            "node_id" => json!(id),
            "node_ip" | "node_name" => json!(node.ip),
            "state" => json!(self.state()),
            "is_head_node" => json!(node.head),
            "labels" => json!(node.labels),
            _ => Value::Null,
        }
    }

    fn shown(&self) -> impl Serialize {
        let Self(id, node) = self;
        ShownNode {
            end_time_ms: node.dead.map_or(0, |(at, _)| millis(at)),
            is_head_node: node.head,
            labels: &node.labels,
            node_id: id,
            node_ip: &node.ip,
            node_name: &node.ip,
            resources_total: self.resources(),
            start_time_ms: millis(node.began),
            state: self.state(),
            state_message: node.dead.map(|(_, why)| match why {
                SIGTERM => format!("Expected termination: {why}"),
                _ => format!("Unexpected termination: {why}"),
            }),
        }
    }
}

/// An actor and the head that knows it.
pub(super) struct ActorEntry<'g>(pub(super) &'g Gcs, pub(super) &'g Actor);

#[derive(Serialize)]
struct ShownActor<'g> {
    actor_id: &'g str,
    call_site: (),
    class_name: &'g str,
    death_cause: Option<Value>,
    fallback_strategy: (),
    is_detached: bool,
    job_id: &'g str,
    label_selector: Empty,
    name: &'g str,
    node_id: Option<&'g str>,
    num_restarts: &'static str,
    num_restarts_due_to_lineage_reconstruction: &'static str,
    num_restarts_due_to_node_preemption: &'static str,
    pid: u64,
    placement_group_id: Option<&'g str>,
    ray_namespace: &'static str,
    repr_name: &'static str,
    required_resources: Resources,
    serialized_runtime_env: String,
    state: &'g str,
}

impl ActorEntry<'_> {
    fn namespace(&self) -> &'static str {
        if self.1.class == "JobSupervisor" { "SUPERVISOR_ACTOR_RAY_NAMESPACE" } else { "rayfleet" }
    }

    /// In a placement group resources carry its name and that of the bundle.
    fn resources(&self, ip: &str) -> Resources {
        let actor = self.1;
        let (Some(group), Some(bundle)) = (&actor.group, actor.bundle) else {
            return Resources::from([(format!("node:{ip}").into(), 0.001)]);
        };
        let mut all = Resources::from([
            (format!("bundle_group_{group}").into(), 0.001),
            (format!("bundle_group_{bundle}_{group}").into(), 0.001),
        ]);
        if actor.gpus > 0 {
            all.insert(format!("GPU_group_{group}").into(), f64::from(actor.gpus));
            all.insert(format!("GPU_group_{bundle}_{group}").into(), f64::from(actor.gpus));
        }
        all
    }
}

impl Entry for ActorEntry<'_> {
    const COLUMNS: &'static [&'static str] = &[
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
    ];

    fn column(&self, name: &str) -> Value {
        let actor = self.1;
        match name {
            "name" => json!(actor.name),
            "job_id" => json!(actor.job_id),
            "repr_name" => json!(""),
            "actor_id" => json!(actor.id),
            "class_name" => json!(actor.class),
            "placement_group_id" => json!(actor.group),
            "node_id" => json!(actor.node),
            "state" => json!(actor.state),
            "pid" => json!(actor.pid),
            "ray_namespace" => json!(self.namespace()),
            _ => Value::Null,
        }
    }

    fn shown(&self) -> impl Serialize {
        let Self(gcs, actor) = self;
        let ip = gcs.ip_of(actor.node.as_deref());
        let namespace = self.namespace();
        let environment =
            gcs.jobs.iter().find(|job| job_hex(job.serial) == actor.job_id).map(|job| &job.runtime_env);
        ShownActor {
            actor_id: &actor.id,
            call_site: (),
            class_name: actor.class,
            death_cause: actor.death.as_ref().map(|death| death.cause(actor, &ip, &gcs.ip, namespace)),
            fallback_strategy: (),
            is_detached: actor.detached,
            job_id: &actor.job_id,
            label_selector: Empty {},
            name: &actor.name,
            node_id: actor.node.as_deref(),
            num_restarts: "0",
            num_restarts_due_to_lineage_reconstruction: "0",
            num_restarts_due_to_node_preemption: "0",
            pid: actor.pid,
            placement_group_id: actor.group.as_deref(),
            ray_namespace: namespace,
            repr_name: "",
            required_resources: self.resources(&ip),
            serialized_runtime_env: environment.map_or_else(|| "{}".to_owned(), Value::to_string),
            state: actor.state,
        }
    }
}

#[derive(Serialize)]
struct ShownGroup<'g> {
    bundles: Vec<ShownBundle<'g>>,
    creator_job_id: String,
    is_detached: bool,
    name: &'g str,
    placement_group_id: &'g str,
    state: &'static str,
    stats: Stats<'g>,
    topology_assignments: Empty,
    topology_strategy: Empty,
}

#[derive(Serialize)]
struct ShownBundle<'g> {
    bundle_id: BundleId<'g>,
    label_selector: Pin<'g>,
    node_id: &'g str,
    unit_resources: Resources,
}

#[derive(Serialize)]
struct BundleId<'g> {
    bundle_index: u32,
    placement_group_id: &'g str,
}

#[derive(Serialize)]
struct Pin<'g> {
    #[serde(rename = "ray.io/node-id")]
    node: &'g str,
}

#[derive(Serialize)]
struct Stats<'g> {
    creation_request_received_ns: &'g str,
    end_to_end_creation_latency_us: &'static str,
    highest_retry_delay_ms: f64,
    scheduling_attempt: u32,
    scheduling_latency_us: &'static str,
    scheduling_started_time_ns: &'g str,
    scheduling_state: &'g str,
}

/// A placement group, and when it was made in nanoseconds.
pub(super) struct GroupEntry<'g>(&'g Group, String);

impl<'g> GroupEntry<'g> {
    pub(super) fn new(group: &'g Group) -> Self {
        Self(group, timestamp(group.began).as_nanosecond().to_string())
    }
}

impl Entry for GroupEntry<'_> {
    const COLUMNS: &'static [&'static str] =
        &["placement_group_id", "name", "creator_job_id", "state", "is_detached"];

    fn column(&self, name: &str) -> Value {
        let group = self.0;
        match name {
            "placement_group_id" => json!(group.id),
            "name" => json!(group.name),
            "creator_job_id" => json!(job_hex(group.job)),
            "state" => json!(group.state.word()),
            "is_detached" => json!(false),
            _ => Value::Null,
        }
    }

    fn shown(&self) -> impl Serialize {
        let Self(group, nanoseconds) = self;
        let bundles = (0..).zip(&group.bundles).map(|(index, bundle)| ShownBundle {
            bundle_id: BundleId { bundle_index: index, placement_group_id: &group.id },
            label_selector: Pin { node: &bundle.pin },
            node_id: bundle.node.as_deref().unwrap_or_default(),
            unit_resources: Resources::from([match bundle.gpus {
                0 => ("node".into(), 0.001),
                gpus => ("GPU".into(), f64::from(gpus)),
            }]),
        });
        ShownGroup {
            bundles: bundles.collect(),
            creator_job_id: job_hex(group.job),
            is_detached: false,
            name: &group.name,
            placement_group_id: &group.id,
            state: group.state.word(),
            stats: Stats {
                creation_request_received_ns: nanoseconds,
                end_to_end_creation_latency_us: "4773",
                highest_retry_delay_ms: 0.0,
                scheduling_attempt: 1,
                scheduling_latency_us: "4400",
                scheduling_started_time_ns: nanoseconds,
                scheduling_state: group.scheduling,
            },
            topology_assignments: Empty {},
            topology_strategy: Empty {},
        }
    }
}
