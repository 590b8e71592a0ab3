//! A fleet as the program shows it, read from the object's JSON. Reading never fails: a status of an
//! older, newer or half-written shape shows what it has. Nothing is rendered here.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::{RayClusterFleet, ValidFleet};
use serde_json::Value;

/// A fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleting: bool,
    /// Served name of the model, when the fleet has one.
    pub(crate) model: Option<String>,
    pub(crate) paused: bool,
    /// Groups wanted.
    pub(crate) desired: i64,
    /// Groups that are to stay on the old revision.
    pub(crate) partition: i64,
    /// Generation that the status speaks of; `None` while there is no status.
    pub(crate) observed: Option<i64>,
    pub(crate) replicas: i64,
    pub(crate) updated: i64,
    pub(crate) ready: i64,
    pub(crate) available: i64,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) groups: Vec<Group>,
    pub(crate) rollout: Option<Rollout>,
}

/// A condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Condition {
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A replica group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// `<pod>/<engine>`, or the pod revision alone.
    pub(crate) revision: String,
    pub(crate) phase: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) goal: String,
    pub(crate) goal_reason: Option<String>,
    pub(crate) head: Option<String>,
    pub(crate) nodes: Vec<String>,
    pub(crate) ranks: Option<String>,
    pub(crate) placement: Vec<Rank>,
    pub(crate) in_flight: Option<i64>,
    pub(crate) restarts: i64,
    pub(crate) message: Option<String>,
}

/// Where one rank is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) stage: i64,
    pub(crate) number: i64,
    pub(crate) node: String,
}

/// What a rollout does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) step: String,
    pub(crate) reason: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) number: Option<i64>,
    pub(crate) last_progress: Option<Timestamp>,
    pub(crate) lost_requests: i64,
}

impl Fleet {
    /// Reads an object.
    pub(crate) fn read(object: &DynamicObject) -> Self {
        let (spec, status) = (&object.data["spec"], &object.data["status"]);
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            generation: object.metadata.generation.unwrap_or_default(),
            created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: object.metadata.deletion_timestamp.is_some(),
            model: text(&spec["model"], "name"),
            paused: spec["paused"].as_bool().unwrap_or_default(),
            desired: spec["replicas"].as_i64().unwrap_or(1),
            partition: partition(object),
            observed: status["observedGeneration"].as_i64(),
            replicas: number(status, "replicas"),
            updated: number(status, "updatedReplicas"),
            ready: number(status, "readyReplicas"),
            available: number(status, "availableReplicas"),
            conditions: list(status, "conditions", Condition::read),
            groups: list(status, "groups", Group::read),
            rollout: status["rollout"].is_object().then(|| Rollout::read(&status["rollout"])),
        }
    }

    /// The condition of a type.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The status speaks of the spec as it is now.
    pub(crate) fn observed_now(&self) -> bool {
        self.observed.is_some_and(|observed| observed >= self.generation)
    }
}

impl Condition {
    fn read(value: &Value) -> Self {
        Self {
            kind: text(value, "type").unwrap_or_default(),
            status: text(value, "status").unwrap_or_default(),
            since: time(value, "lastTransitionTime"),
            reason: text(value, "reason").unwrap_or_default(),
            message: text(value, "message").unwrap_or_default(),
        }
    }

    /// Says something that a person should look at. Types that this program does not know are not
    /// judged: which of their values is the good one is not known either.
    pub(crate) fn needs_attention(&self) -> bool {
        match self.kind.as_str() {
            "Available" | "Progressing" | "PlacementVerified" => self.status == "False",
            "Stalled" | "ReplicaFailure" | "StatusTruncated" => self.status == "True",
            _ => false,
        }
    }
}

impl Group {
    fn read(value: &Value) -> Self {
        let pod = text(value, "revision").unwrap_or_default();
        Self {
            name: text(value, "name").unwrap_or_default(),
            revision: match text(value, "engineRevision") {
                Some(engine) => format!("{pod}/{engine}"),
                None => pod,
            },
            phase: text(value, "phase").unwrap_or_else(|| "<unknown>".to_owned()),
            since: time(value, "phaseSince"),
            goal: text(value, "goal").unwrap_or_else(|| "Serve".to_owned()),
            goal_reason: text(value, "goalReason"),
            head: text(value, "head"),
            nodes: list(value, "nodes", |node| node.as_str().unwrap_or_default().to_owned()),
            ranks: text(value, "ranks"),
            placement: list(value, "placement", Rank::read),
            in_flight: value["inFlight"].as_i64(),
            restarts: number(value, "restarts"),
            message: text(value, "message"),
        }
    }
}

impl Rank {
    fn read(value: &Value) -> Self {
        Self {
            stage: number(value, "stage"),
            number: number(value, "rank"),
            node: text(value, "node").unwrap_or_else(|| "<unknown>".to_owned()),
        }
    }
}

impl Rollout {
    fn read(value: &Value) -> Self {
        Self {
            step: text(value, "step").unwrap_or_else(|| "<unknown>".to_owned()),
            reason: text(value, "reason"),
            from: text(value, "from"),
            to: text(value, "to"),
            number: value["revisionNumber"].as_i64(),
            last_progress: time(value, "lastProgress"),
            lost_requests: number(value, "lostRequests"),
        }
    }
}

/// The partition in groups: a percent of the replicas is for the API's own rules to work out.
fn partition(object: &DynamicObject) -> i64 {
    if object.data["spec"]["strategy"]["rollingUpdate"]["partition"].is_null() {
        return 0;
    }
    let Ok(mut value) = serde_json::to_value(object) else { return 0 };
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    let fleet = serde_json::from_value::<RayClusterFleet>(value).ok();
    fleet
        .and_then(|fleet| ValidFleet::recorded(&fleet).ok())
        .map_or(0, |fleet| fleet.strategy.partition.into())
}

fn text(value: &Value, field: &str) -> Option<String> {
    value[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_default()
}

fn time(value: &Value, field: &str) -> Option<Timestamp> {
    value[field].as_str()?.parse().ok()
}

fn list<T>(value: &Value, field: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    value[field].as_array().into_iter().flatten().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    #[test]
    fn odd_shapes_are_read_without_panic() {
        for status in [
            json!(null),
            json!([]),
            json!("text"),
            json!({"groups": {}, "conditions": "x", "rollout": []}),
            json!({"groups": [null, 7, {"phase": 3, "placement": [[]], "nodes": [1], "phaseSince": "noon"}]}),
            json!({"replicas": "two", "observedGeneration": -1, "rollout": {"step": {}}}),
        ] {
            let fleet = Fleet::read(&sample::object(&json!({"model": []}), &status));
            assert_eq!(fleet.name, "llama", "{status}");
        }
    }

    #[test]
    fn a_partition_in_per_cent_is_counted_in_groups() {
        let spec = json!({
            "replicas": 4,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {"headGroupSpec": {"template": {"spec": {"containers": [{"name": "head"}]}}}}
            },
            "strategy": {"rollingUpdate": {"partition": "75%"}}
        });
        assert_eq!(Fleet::read(&sample::object(&spec, &json!({"groups": "odd"}))).partition, 3);
    }

    #[test]
    fn the_spec_changes_only_the_newest_generation() {
        let fleet = |observed| Fleet { generation: 3, observed, ..Fleet::default() };
        assert!(!fleet(None).observed_now());
        assert!(!fleet(Some(2)).observed_now());
        assert!(fleet(Some(3)).observed_now());
    }
}
