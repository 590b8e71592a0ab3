//! A fleet as the program shows it, parsed from the object's JSON. Parsing never fails: of an older, newer or
//! incomplete status the known fields are shown. No formatting here.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::revision::Revision;
use rayfleet_api::{GroupName, NodeName, PodName, RayClusterFleet, ValidFleet};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleting: bool,
    /// Served name of the model, if the fleet has one.
    pub(crate) model: Option<String>,
    pub(crate) paused: bool,
    /// Desired number of groups.
    pub(crate) desired: i64,
    /// Number of groups that stay on the old revision.
    pub(crate) partition: i64,
    /// Generation that the status describes; `None` without a status.
    pub(crate) observed: Option<i64>,
    pub(crate) replicas: i64,
    pub(crate) updated: i64,
    pub(crate) ready: i64,
    pub(crate) available: i64,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) groups: Vec<Group>,
    pub(crate) rollout: Option<Rollout>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Condition {
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) name: GroupName,
    pub(crate) revision: Revision,
    pub(crate) phase: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) goal: String,
    pub(crate) goal_reason: Option<String>,
    pub(crate) head: Option<PodName>,
    pub(crate) nodes: Vec<NodeName>,
    pub(crate) ranks: Option<String>,
    pub(crate) placement: Vec<Rank>,
    pub(crate) in_flight: Option<i64>,
    pub(crate) restarts: i64,
    /// Number of its engine's launch; 0 before the first one.
    pub(crate) launch: i64,
    pub(crate) message: Option<String>,
}

/// The node of one rank.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Data-parallel rank, with data parallelism.
    pub(crate) data: Option<i64>,
    pub(crate) stage: i64,
    pub(crate) number: i64,
    pub(crate) node: NodeName,
}

/// The state of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) step: String,
    pub(crate) reason: Option<String>,
    pub(crate) from: Option<Revision>,
    pub(crate) to: Option<Revision>,
    /// The last revision that was complete.
    pub(crate) stable: Option<Revision>,
    pub(crate) number: Option<i64>,
    pub(crate) last_progress: Option<Timestamp>,
    pub(crate) lost_requests: i64,
}

impl Fleet {
    /// Parses an object.
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

    /// Whether the status describes the present spec.
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

    /// Whether it needs the attention of a person. Conditions of an unknown type do not: which of their
    /// values is good is unknown too.
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
        Self {
            name: text(value, "name").unwrap_or_default(),
            revision: Revision {
                pod: text(value, "revision").unwrap_or_default(),
                engine: text(value, "engineRevision"),
            },
            phase: text(value, "phase").unwrap_or_else(|| "<unknown>".to_owned()),
            since: time(value, "phaseSince"),
            goal: text(value, "goal").unwrap_or_else(|| "Serve".to_owned()),
            goal_reason: text(value, "goalReason"),
            head: text(value, "head"),
            nodes: list(value, "nodes", |node| node.as_str().unwrap_or_default().into()),
            ranks: text(value, "ranks"),
            placement: list(value, "placement", Rank::read),
            in_flight: value["inFlight"].as_i64(),
            restarts: number(value, "restarts"),
            launch: number(value, "launch"),
            message: text(value, "message"),
        }
    }
}

impl Rank {
    fn read(value: &Value) -> Self {
        Self {
            data: value["data"].as_i64(),
            stage: number(value, "stage"),
            number: number(value, "rank"),
            node: text(value, "node").unwrap_or_else(|| "<unknown>".into()),
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
            stable: text(value, "stable"),
            number: value["revisionNumber"].as_i64(),
            last_progress: time(value, "lastProgress"),
            lost_requests: number(value, "lostRequests"),
        }
    }
}

/// The partition in groups; the API's own rules convert a percentage of the replicas.
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

fn text<T: for<'a> From<&'a str>>(value: &Value, field: &str) -> Option<T> {
    value[field].as_str().filter(|text| !text.is_empty()).map(T::from)
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
    fn unusual_objects_are_parsed_without_panic() {
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
    fn a_partition_in_percent_is_counted_in_groups() {
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
    fn a_spec_change_affects_only_the_generation() {
        let fleet = |observed| Fleet { generation: 3, observed, ..Fleet::default() };
        assert!(!fleet(None).observed_now());
        assert!(!fleet(Some(2)).observed_now());
        assert!(fleet(Some(3)).observed_now());
    }
}
