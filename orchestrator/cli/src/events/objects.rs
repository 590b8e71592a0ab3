//! What objects say of their own times, as entries: an Event, the status of a fleet and of its groups, RayClusters, pods, nodes,
//! revisions. A field that cannot be read is left out. No call and no clock.

use rayfleet_api::names::{ANNOTATION_CHANGE_CAUSE, LABEL_FLEET, LABEL_GROUP, RAY_LABEL_CLUSTER};
use rayfleet_api::status::RolloutStep;
use serde_json::Value;

use super::entry::{Entry, Object};
use super::fact::{Fact, conditions, life, object, text, time};

/// What a Kubernetes Event is about, and what it says; whose it is, is not known yet.
pub(super) fn event(value: &Value) -> Option<Entry> {
    let about = &value["involvedObject"];
    let times = [
        &value["series"]["lastObservedTime"],
        &value["lastTimestamp"],
        &value["eventTime"],
        &value["firstTimestamp"],
        &value["metadata"]["creationTimestamp"],
    ];
    let last = times.into_iter().find_map(time)?;
    let first =
        [&value["firstTimestamp"], &value["eventTime"]].into_iter().find_map(time).unwrap_or(last).min(last);
    let count = [&value["series"]["count"], &value["count"]].into_iter().find_map(Value::as_u64);
    let source = [&value["reportingComponent"], &value["source"]["component"]].into_iter().map(text);
    let kind = text(&about["kind"]).to_lowercase();
    // Events of nodes are in the namespace `default`, and nodes are in none.
    let namespace = if kind == "node" { String::new() } else { text(&about["namespace"]) };
    Some(Entry {
        first,
        last,
        count: count.unwrap_or(1).max(1),
        warning: value["type"] == "Warning",
        reason: text(&value["reason"]),
        object: Object { kind, namespace, name: text(&about["name"]) },
        message: text(&value["message"]),
        source: source.into_iter().find(|source| !source.is_empty()).unwrap_or_default(),
        fleet: String::new(),
        groups: Vec::new(),
    })
}

/// A fleet: its life, conditions, rollout, and the groups of its status.
pub(super) fn fleet(value: &Value) -> Vec<Entry> {
    let object = object("rayclusterfleet", value);
    let (name, status) = (object.name.clone(), &value["status"]);
    let rollout = &status["rollout"];
    let rollback = &rollout["rollback"];
    // Of one that is complete the conditions say when.
    let under_way =
        time(&rollout["lastProgress"]).filter(|_| rollout["step"] != RolloutStep::Complete.as_str());
    let step = format!("{}: {}", text(&rollout["step"]), text(&rollout["reason"]));
    let facts = life(value)
        .into_iter()
        .chain(conditions(value, bad_condition))
        .chain(under_way.and_then(|at| Fact::new(Some(at), "Rollout", step.trim_end_matches(": "))))
        .chain(
            Fact::new(
                time(&rollback["since"]),
                "RolledBack",
                format!("revision {} failed: {}", text(&rollback["failed"]), text(&rollback["cause"])),
            )
            .map(|fact| fact.warn(true)),
        );
    let mut entries: Vec<Entry> = facts.map(|fact| fact.of(&object, &name, &[])).collect();
    for group in status["groups"].as_array().into_iter().flatten() {
        let of = Object {
            kind: "group".to_owned(),
            namespace: object.namespace.clone(),
            name: text(&group["name"]),
        };
        let groups = [of.name.clone()];
        entries.extend(self::group(group).into_iter().map(|fact| fact.of(&of, &name, &groups)));
    }
    entries
}

/// A group of a status: its phase, its launch and its last failure.
fn group(group: &Value) -> Vec<Fact> {
    let failure = &group["lastFailure"];
    let phase = text(&group["phase"]);
    let launch = group["launch"].as_u64().filter(|launch| *launch > 0);
    let started = launch.and_then(|launch| {
        let engine = text(&group["engineRevision"]);
        Fact::new(time(&group["startedAt"]), "Launched", format!("launch {launch} of engine {engine}"))
    });
    let message = match (text(&group["message"]), text(&group["ranks"])) {
        (message, ranks) if message.is_empty() && !ranks.is_empty() => format!("{ranks} ranks"),
        (message, _) => message,
    };
    let failed = phase == "Failed";
    [
        Fact::new(time(&group["phaseSince"]), phase, message).map(|fact| fact.warn(failed)),
        started,
        Fact::new(time(&group["leftEndpointsAt"]), "LeftEndpoints", "no new requests: it drains"),
        Fact::new(time(&group["notReadySince"]), "NotReady", "it served, and does not now")
            .map(|fact| fact.warn(true)),
        Fact::new(time(&group["unreachableSince"]), "Unreachable", "neither Ray nor the engine answers")
            .map(|fact| fact.warn(true)),
        Fact::new(
            time(&group["repairedAt"]),
            "SizeSetBack",
            "its RayCluster had been resized by somebody else",
        ),
        Fact::new(
            time(&failure["time"]),
            text(&failure["kind"]),
            "the last failure of this group, or of the one that it stands in for",
        )
        .map(|fact| fact.warn(true)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A RayCluster: its life, and KubeRay's conditions.
pub(super) fn cluster(value: &Value) -> Vec<Entry> {
    let object = object("raycluster", value);
    let (fleet, groups) = (text(&value["metadata"]["labels"][LABEL_FLEET]), [object.name.clone()]);
    let facts = life(value).into_iter().chain(conditions(value, |_, _| false));
    facts.map(|fact| fact.of(&object, &fleet, &groups)).collect()
}

/// A pod: its life, its node, its readiness, starts and ends of its containers.
pub(super) fn pod(value: &Value) -> Vec<Entry> {
    let object = object("pod", value);
    let labels = &value["metadata"]["labels"];
    let group = [RAY_LABEL_CLUSTER, LABEL_GROUP].into_iter().find_map(|label| labels[label].as_str());
    let (fleet, groups) =
        (text(&labels[LABEL_FLEET]), group.map(str::to_owned).into_iter().collect::<Vec<_>>());
    let status = &value["status"];
    let node = text(&value["spec"]["nodeName"]);
    let all = status["conditions"].as_array().into_iter().flatten();
    let transitions = all.filter_map(|condition| {
        let at = time(&condition["lastTransitionTime"]);
        let message = text(&condition["message"]);
        match (condition["type"].as_str()?, condition["status"].as_str()?) {
            ("PodScheduled", "True") => Fact::new(at, "Assigned", format!("to {node}")),
            ("PodScheduled", _) => Fact::new(at, "Unschedulable", message).map(|fact| fact.warn(true)),
            ("Ready", "True") => Fact::new(at, "PodReady", "it takes traffic, or could"),
            ("rayfleet.io/serving", "True") => Fact::new(at, "GateOpened", "the serving gate is open"),
            ("rayfleet.io/serving", "False") => Fact::new(at, "GateClosed", "the serving gate is closed"),
            ("DisruptionTarget", "True") => {
                let reason = text(&condition["reason"]);
                Fact::new(at, reason, message).map(|fact| fact.warn(true))
            }
            _ => None,
        }
    });
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers = statuses.into_iter().flat_map(|field| status[field].as_array().into_iter().flatten());
    let runs = containers.flat_map(container);
    let facts: Vec<Fact> = life(value).into_iter().chain(transitions).chain(runs).collect();
    facts.into_iter().map(|fact| fact.of(&object, &fleet, &groups)).collect()
}

fn container(status: &Value) -> Vec<Fact> {
    let name = text(&status["name"]);
    let mut facts = Vec::new();
    for state in [&status["lastState"], &status["state"]] {
        let ended = &state["terminated"];
        for started in [&state["running"]["startedAt"], &ended["startedAt"]] {
            facts.extend(Fact::new(time(started), "ContainerRan", format!("container {name} started")));
        }
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        let (reason, words) = (text(&ended["reason"]), text(&ended["message"]));
        let words = format!("container {name} ended with code {code} {reason}: {words}");
        let words = words.trim_end_matches(": ").trim_end();
        facts.extend(
            Fact::new(time(&ended["finishedAt"]), "ContainerEnded", words).map(|fact| fact.warn(code != 0)),
        );
    }
    facts
}

/// A node: whether it is ready, and its taints.
pub(super) fn node(value: &Value) -> Vec<(Object, Fact)> {
    let object = Object { namespace: String::new(), ..object("node", value) };
    let taints = value["spec"]["taints"].as_array().into_iter().flatten().filter_map(|taint| {
        Fact::new(
            time(&taint["timeAdded"]),
            "Tainted",
            format!("{}:{}", text(&taint["key"]), text(&taint["effect"])),
        )
    });
    let mut conditions = conditions(value, |kind, status| (kind == "Ready") != (status == "True"));
    // A pressure that there is not is no news.
    conditions.retain(|fact| fact.warning || fact.message.starts_with("Ready is "));
    let deleted = Fact::new(time(&value["metadata"]["deletionTimestamp"]), "Deleting", "it is being deleted");
    conditions.into_iter().chain(taints).chain(deleted).map(|fact| (object.clone(), fact)).collect()
}

/// Facts of a node as entries of a fleet.
pub(super) fn of_fleet(object: &Object, fact: Fact, fleet: &str, groups: &[String]) -> Entry {
    fact.of(object, fleet, groups)
}

/// A ControllerRevision of a fleet.
pub(super) fn revision(value: &Value) -> Vec<Entry> {
    let named = object("controllerrevision", value);
    let metadata = &value["metadata"];
    let number = value["revision"].as_i64().unwrap_or_default();
    let cause = text(&metadata["annotations"][ANNOTATION_CHANGE_CAUSE]);
    let words = format!("revision {number} is recorded: {cause}");
    let fact = Fact::new(time(&metadata["creationTimestamp"]), "Revision", words.trim_end_matches(": "));
    fact.map(|fact| fact.of(&named, &text(&metadata["labels"][LABEL_FLEET]), &[])).into_iter().collect()
}

/// As `status` marks conditions of a fleet that somebody should look at.
fn bad_condition(kind: &str, status: &str) -> bool {
    let condition =
        crate::view::Condition { kind: kind.to_owned(), status: status.to_owned(), ..Default::default() };
    condition.needs_attention()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn shown(entries: &[Entry]) -> String {
        let line = |entry: &Entry| {
            let Entry { last, warning, reason, object, message, groups, .. } = entry;
            let mark = if *warning { "!" } else { " " };
            format!("{last} {mark} {reason} {}/{} {groups:?} {message}", object.kind, object.name)
        };
        entries.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_fleet_s_status_says_what_happened() {
        let mut object = json!(sample::upgrading());
        object["status"]["groups"][1]["lastFailure"] =
            json!({"kind": "RankDied", "time": "2026-03-01T11:00:00Z"});
        object["status"]["groups"][0]["startedAt"] = json!("2026-03-01T12:01:00Z");
        object["status"]["groups"][0]["launch"] = json!(3);
        object["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-03-01T12:02:00Z");
        insta::assert_snapshot!(shown(&fleet(&object)));
    }

    #[test]
    fn a_pod_s_status_says_when_containers_started_and_ended() {
        let object = json!({
            "metadata": {
                "name": "g-head", "namespace": "serving", "creationTimestamp": "2026-03-01T12:00:00Z",
                "labels": {LABEL_FLEET: "llama", "ray.io/cluster": "g"}
            },
            "spec": {"nodeName": "node-a"},
            "status": {
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-01T12:00:01Z"},
                    {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-01T12:00:01Z"}
                ],
                "containerStatuses": [{
                    "name": "ray", "restartCount": 1, "state": {"running": {"startedAt": "2026-03-01T12:03:00Z"}},
                    "lastState": {"terminated": {
                        "startedAt": "2026-03-01T12:01:00Z", "finishedAt": "2026-03-01T12:02:00Z", "exitCode": 137,
                        "reason": "OOMKilled"
                    }}
                }]
            }
        });
        insta::assert_snapshot!(shown(&pod(&object)), @r#"
        2026-03-01T12:00:00Z   Created pod/g-head ["g"] it was created
        2026-03-01T12:00:01Z   Assigned pod/g-head ["g"] to node-a
        2026-03-01T12:01:00Z   ContainerRan pod/g-head ["g"] container ray started
        2026-03-01T12:02:00Z ! ContainerEnded pod/g-head ["g"] container ray ended with code 137 OOMKilled
        2026-03-01T12:03:00Z   ContainerRan pod/g-head ["g"] container ray started
        "#);
    }

    #[test]
    fn an_event_has_its_times_and_count_in_either_form() {
        let old = json!({
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "serving"}, "reason": "BackOff", "message": "m",
            "type": "Warning", "count": 12, "firstTimestamp": "2026-03-01T12:00:00Z", "lastTimestamp": "2026-03-01T12:03:00Z",
            "eventTime": null, "source": {"component": "kubelet"}, "reportingComponent": ""
        });
        let entry = event(&old).unwrap();
        assert_eq!((entry.count, entry.warning, entry.source.as_str()), (12, true, "kubelet"));
        assert_eq!(entry.last.duration_since(entry.first).as_secs(), 180);
        let new = json!({
            "involvedObject": {"kind": "Node", "name": "n", "namespace": "default"}, "reason": "x",
            "series": {"count": 3, "lastObservedTime": "2026-03-01T12:03:00.5Z"}, "eventTime": "2026-03-01T12:00:00.5Z",
            "reportingComponent": "kubelet"
        });
        let entry = event(&new).unwrap();
        assert_eq!((entry.count, entry.object.namespace.as_str()), (3, ""));
        assert_eq!(entry.last.duration_since(entry.first).as_secs(), 180);
        assert_eq!(event(&json!({"lastTimestamp": "noon"})), None);
    }

    #[test]
    fn odd_objects_say_nothing() {
        for odd in [
            json!(null),
            json!({"status": 7}),
            json!({"status": {"groups": {}, "conditions": [null, 7, {}]}}),
        ] {
            assert_eq!(
                (fleet(&odd).len(), pod(&odd).len(), cluster(&odd).len(), node(&odd).len()),
                (0, 0, 0, 0),
                "{odd}"
            );
            assert_eq!((revision(&odd).len(), event(&odd)), (0, None), "{odd}");
        }
        let groups = json!({"status": {"groups": [null, {"phaseSince": "9999-99-99"}, {"name": "g", "phaseSince": "2026-03-01T12:00:00Z"}]}});
        assert_eq!(fleet(&groups).len(), 1);
    }

    #[test]
    fn a_node_says_when_it_was_lost_and_tainted() {
        let object = json!({
            "metadata": {"name": "node-a"},
            "spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-03-01T12:01:00Z"}]},
            "status": {"conditions": [
                {"type": "MemoryPressure", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": "2026-03-01T12:00:00Z"},
                {"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure", "lastTransitionTime": "2026-03-01T10:00:00Z"},
                {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": "2026-03-01T12:00:00Z"}
            ]}
        });
        let facts = node(&object);
        let entries: Vec<Entry> =
            facts.into_iter().map(|(object, fact)| of_fleet(&object, fact, "llama", &[])).collect();
        insta::assert_snapshot!(shown(&entries), @r#"
        2026-03-01T10:00:00Z ! KubeletHasDiskPressure node/node-a [] DiskPressure is True
        2026-03-01T12:00:00Z ! NodeStatusUnknown node/node-a [] Ready is Unknown
        2026-03-01T12:01:00Z   Tainted node/node-a [] node.kubernetes.io/unreachable:NoExecute
        "#);
    }
}
