//! A fleet can always be read. Other CRDs of the kind, AIBrix's above all, store what ours refuses, and who may write a status may
//! write times into it that no library holds; a fleet that the program could not read would be watched by nobody and reported nowhere.
//! So each field of spec and status is read by itself, one that is of another kind is left out, and what is wrong is kept: of the spec
//! for the check of [`crate::ValidFleet`], of the status for whoever writes it again.

use rayfleet_text::cut;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::spec::RayClusterFleetSpec;
use crate::status::{GroupStatus, RayClusterFleetStatus, RolloutStatus};
use crate::valid::{FieldError, invalid};

/// Bytes of a parser's error that are kept: it may repeat what it was given.
const LONGEST: usize = 300;
/// Errors of one object that are kept.
const MOST: usize = 16;
/// What makes an entry of the ledger what it is. One that lacks a part of it is left out: its group is found again by its RayCluster,
/// with the launch that its gate was opened for, and a guess in its place would restart an engine that serves.
const IDENTITY: [&str; 6] = ["name", "slot", "attempt", "revision", "engineRevision", "launch"];

/// The fields of an object that are still to be read.
struct Fields {
    /// Where they are: `spec`.
    at: &'static str,
    left: Map<String, Value>,
    unreadable: Vec<FieldError>,
}

impl Fields {
    fn of<'de, D: Deserializer<'de>>(at: &'static str, deserializer: D) -> Result<Self, D::Error> {
        let left = match Value::deserialize(deserializer)? {
            Value::Object(left) => left,
            _ => Map::new(),
        };
        Ok(Self { at, left, unreadable: Vec::new() })
    }

    fn value(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn push_unreadable(&mut self, field: &str, error: &serde_json::Error) {
        if self.unreadable.len() < MOST {
            let problem = cut(&format!("cannot be read: {error}"), LONGEST);
            self.unreadable.push(invalid(&format!("{}.{field}", self.at), problem));
        }
    }

    /// A field, or nothing in its place.
    fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.value(name).and_then(|value| self.read(name, value)).unwrap_or_default()
    }

    fn read<T: DeserializeOwned>(&mut self, field: &str, value: Value) -> Option<T> {
        serde_json::from_value(value).inspect_err(|error| self.push_unreadable(field, error)).ok()
    }

    /// The elements of a list that can be read.
    fn each<T>(&mut self, name: &str, read: impl Fn(&mut Self, &str, Value) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Some(elements) = self.read::<Vec<Value>>(name, value) else { return Vec::new() };
        let elements = elements.into_iter().enumerate();
        elements.filter_map(|(number, value)| read(self, &format!("{name}[{number}]"), value)).collect()
    }

    /// As much of an object as can be read, and the names of those of its fields that cannot.
    fn part<T>(&mut self, field: &str, value: Value) -> Option<(T, Vec<String>)>
    where
        T: DeserializeOwned + Serialize + Default,
    {
        let whole = match T::deserialize(&value) {
            Ok(whole) => return Some((whole, Vec::new())),
            Err(error) => error,
        };
        let (Value::Object(given), Ok(Value::Object(empty))) = (value, serde_json::to_value(T::default()))
        else {
            self.push_unreadable(field, &whole);
            return None;
        };
        // What every such object has and this one lacks.
        let mut lost: Vec<String> = empty.keys().filter(|name| !given.contains_key(*name)).cloned().collect();
        let mut part = (T::default(), Value::Object(empty));
        for (name, value) in given {
            let Some(fields) = part.1.as_object_mut() else { break };
            let before = fields.insert(name.clone(), value);
            match T::deserialize(&part.1) {
                Ok(readable) => part.0 = readable,
                Err(error) => {
                    self.push_unreadable(&format!("{field}.{name}"), &error);
                    let fields = part.1.as_object_mut();
                    match before {
                        Some(before) => fields.and_then(|fields| fields.insert(name.clone(), before)),
                        None => fields.and_then(|fields| fields.remove(&name)),
                    };
                    lost.push(name);
                }
            }
        }
        Some((part.0, lost))
    }

    /// An entry of the ledger, without those of its fields that can be found again.
    fn group(&mut self, field: &str, value: Value) -> Option<GroupStatus> {
        let (group, lost) = self.part::<GroupStatus>(field, value)?;
        lost.iter().all(|name| !IDENTITY.contains(&name.as_str())).then_some(group)
    }
}

impl<'de> Deserialize<'de> for RayClusterFleetSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::of("spec", deserializer)?;
        Ok(Self {
            replicas: fields.take("replicas"),
            selector: fields.take("selector"),
            template: fields.take("template"),
            strategy: fields.take("strategy"),
            min_ready_seconds: fields.take("minReadySeconds"),
            revision_history_limit: fields.take("revisionHistoryLimit"),
            paused: fields.take("paused"),
            progress_deadline_seconds: fields.take("progressDeadlineSeconds"),
            drain: fields.take("drain"),
            failure_policy: fields.take("failurePolicy"),
            model: fields.take("model"),
            unreadable: fields.unreadable,
        })
    }
}

impl<'de> Deserialize<'de> for RayClusterFleetStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Fields::of("status", deserializer)?;
        let rollout = fields.value("rollout");
        Ok(Self {
            observed_generation: fields.take("observedGeneration"),
            replicas: fields.take("replicas"),
            updated_replicas: fields.take("updatedReplicas"),
            ready_replicas: fields.take("readyReplicas"),
            available_replicas: fields.take("availableReplicas"),
            unavailable_replicas: fields.take("unavailableReplicas"),
            collision_count: fields.take("collisionCount"),
            scaling_target_selector: fields.take("scalingTargetSelector"),
            conditions: fields.each("conditions", Fields::read),
            groups: fields.each("groups", Fields::group),
            rollout: rollout
                .and_then(|value| fields.part::<RolloutStatus>("rollout", value))
                .map(|part| part.0),
            startup_times: fields.take("startupTimes"),
            ending_times: fields.take("endingTimes"),
            node_failures: fields.each("nodeFailures", Fields::read),
            unreadable: fields.unreadable,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::StrategyType;
    use crate::{RayClusterFleet, ValidFleet};

    fn fleet(name: &str, change: impl FnOnce(&mut Value)) -> RayClusterFleet {
        let mut fleet = json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
            "metadata": {"name": name, "namespace": "n"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "f"}},
                "template": {
                    "metadata": {"labels": {"app": "f"}},
                    "spec": {"headGroupSpec": {"template": {"spec": {"containers": [{"name": "ray"}]}}}},
                },
            },
        });
        change(&mut fleet);
        serde_json::from_value(fleet).unwrap()
    }

    fn refused(fleet: &RayClusterFleet) -> Vec<String> {
        let problems = ValidFleet::new(fleet).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fleets_as_other_crds_store_them_are_read_and_refused_by_their_field() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change, &str); 9] = [
            ("a.b", |_| {}, "metadata.name: `a.b` must be at most 37 characters"),
            ("light-with-a-name-that-is-one-too-long", |_| {}, "metadata.name: "),
            (
                "f",
                |f| f["spec"]["selector"] = json!({"matchLabels": {"app": "g"}}),
                "spec.selector.matchLabels: `app: g`",
            ),
            (
                "f",
                |f| f["spec"]["strategy"] = json!({"type": "OnDelete"}),
                "spec.strategy: cannot be read: unknown variant `OnDelete`",
            ),
            ("f", |f| f["spec"]["replicas"] = json!("two"), "spec.replicas: cannot be read"),
            ("f", |f| f["spec"]["template"] = json!([]), "spec.template: cannot be read"),
            ("f", |f| f["spec"]["model"] = json!({"name": 7}), "spec.model: cannot be read"),
            ("f", |f| f["spec"] = json!(7), "spec.selector: must not be empty"),
            ("f", |f| f["spec"]["drain"] = json!({"timeout": 5}), "spec.drain: cannot be read"),
        ];
        for (name, change, wanted) in cases {
            let reported = refused(&fleet(name, change));
            assert!(reported.iter().any(|reported| reported.starts_with(wanted)), "{wanted} in {reported:?}");
        }
    }

    #[test]
    fn defaults_that_aibrix_stores_keep_their_meaning() {
        let stored = fleet("f", |fleet| {
            fleet["spec"]["strategy"] = json!({"type": "", "rollingUpdate": null});
            fleet["spec"]["minReadySeconds"] = Value::Null;
            fleet["spec"]["progressDeadlineSeconds"] = json!(600);
            fleet["spec"]["template"]["metadata"]["name"] = json!("x");
            fleet["spec"]["template"]["metadata"]["finalizers"] = json!(["x/y"]);
            fleet["spec"]["template"]["spec"]["workerGroupSpecs"] = json!([{
                "groupName": "w", "replicas": 1, "minReplicas": 0, "maxReplicas": 2_147_483_647, "numOfHosts": 1,
                "scaleStrategy": {}, "template": {"spec": {"containers": [{"name": "ray"}]}},
            }]);
        });
        let valid = ValidFleet::new(&stored).unwrap();
        assert_eq!((valid.strategy.kind, valid.shape.size()), (StrategyType::RollingUpdate, 2));
        assert_eq!(valid.progress_deadline, None, "its CRD's default is nobody's wish");
        let said = fleet("f", |fleet| fleet["spec"]["progressDeadlineSeconds"] = json!(601));
        assert_eq!(
            ValidFleet::new(&said).unwrap().progress_deadline,
            Some(std::time::Duration::from_secs(601))
        );
    }

    #[test]
    fn one_odd_field_leaves_the_others_as_they_are() {
        let odd = fleet("f", |fleet| fleet["spec"]["drain"] = json!("later"));
        assert_eq!(
            (odd.spec.replicas, odd.spec.template.spec.is_object(), odd.spec.unreadable.len()),
            (Some(2), true, 1)
        );
    }

    fn status(change: impl FnOnce(&mut Value)) -> RayClusterFleetStatus {
        let group = |slot: u32| {
            json!({
                "name": format!("f-{slot}"), "slot": slot, "attempt": 1, "uid": format!("u-{slot}"), "revision": "pods1",
                "engineRevision": "eng1", "phase": "Ready", "phaseSince": "2030-01-01T00:00:00Z", "goal": "Serve", "launch": 3,
                "restarts": 0, "failures": 0,
            })
        };
        let mut status = json!({
            "observedGeneration": 3, "readyReplicas": 2, "groups": [group(0), group(1)],
            "conditions": [{"type": "Available", "status": "True"}, {"type": "Stalled", "status": "False"}],
            "rollout": {"step": "Complete", "to": "pods1/eng1", "stable": "pods1/eng1", "lostRequests": 7},
        });
        change(&mut status);
        serde_json::from_value(status).unwrap()
    }

    /// A time that Kubernetes takes and gives back, and that jiff cannot hold.
    const NEVER: &str = "9999-12-31T23:59:59Z";

    #[test]
    fn a_status_with_odd_fields_is_read_without_them_and_names_them() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 9] = [
            ("status.rollout.step", |status| status["rollout"]["step"] = json!("Polishing")),
            ("status.groups[1].lastFailure", |status| {
                status["groups"][1]["lastFailure"] = json!({"kind": "Bored", "time": "2030-01-01T00:00:00Z"});
            }),
            ("status.groups[1].phaseSince", |status| status["groups"][1]["phaseSince"] = json!(NEVER)),
            ("status.groups[1].phase", |status| status["groups"][1]["phase"] = json!("Hibernating")),
            ("status.groups[1].restarts", |status| status["groups"][1]["restarts"] = json!(-1)),
            ("status.readyReplicas", |status| status["readyReplicas"] = json!("two")),
            ("status.conditions[0]", |status| status["conditions"][0]["lastUpdateTime"] = json!(NEVER)),
            ("status.rollout.lastProgress", |status| status["rollout"]["lastProgress"] = json!(NEVER)),
            ("status.startupTimes", |status| status["startupTimes"] = json!("slow")),
        ];
        for (field, change) in cases {
            let status = status(change);
            let named: Vec<&str> = status.unreadable.iter().map(|odd| odd.field.as_str()).collect();
            assert_eq!(named, [field]);
            let ledger: Vec<_> =
                status.groups.iter().map(|group| (&*group.name, group.slot, group.launch)).collect();
            assert_eq!(ledger, [("f-0", 0, 3), ("f-1", 1, 3)], "{field}");
            let rollout = status.rollout.unwrap();
            assert_eq!((rollout.stable, rollout.lost_requests), (Some("pods1/eng1".into()), 7), "{field}");
        }
        assert_eq!(status(|_| {}).unreadable, []);
    }

    #[test]
    fn an_entry_without_what_makes_it_one_is_left_out() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 5] = [
            ("status.groups[0].launch", |group| group["launch"] = json!(-1)),
            ("status.groups[0].slot", |group| group["slot"] = json!(-1)),
            ("status.groups[0].engineRevision", |group| group["engineRevision"] = json!(5)),
            ("status.groups[0]", |group| *group = json!("f-0")),
            // What is missing is found nowhere, and names nothing.
            ("", |group| drop(group.as_object_mut().unwrap().remove("revision"))),
        ];
        for (field, change) in cases {
            let status = status(|status| change(&mut status["groups"][0]));
            let named: Vec<&str> = status.unreadable.iter().map(|odd| odd.field.as_str()).collect();
            assert_eq!(named.concat(), field);
            assert_eq!(status.groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["f-1"]);
        }
    }

    #[test]
    fn a_status_that_is_none_at_all_is_an_empty_one_and_errors_end_somewhere() {
        assert_eq!(
            serde_json::from_value::<RayClusterFleetStatus>(json!("x")).unwrap(),
            RayClusterFleetStatus::default()
        );
        let many = status(|status| status["conditions"] = json!(vec![json!(7); 1000]));
        assert_eq!(many.unreadable.len(), MOST);
    }
}
