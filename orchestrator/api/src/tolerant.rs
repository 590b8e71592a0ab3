//! A fleet can always be read. Other CRDs of the kind, AIBrix's above all, store what ours refuses; a fleet that the program could
//! not read would be watched by nobody and told of nowhere. So each field of the spec is read by itself, one that is of another kind
//! is left out, and what is wrong is kept for the check of [`crate::ValidFleet`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::spec::RayClusterFleetSpec;
use crate::valid::{Invalid, invalid};

/// Characters of a parser's complaint that are kept: it may repeat what it was given.
const LONGEST: usize = 300;

struct Fields {
    left: Map<String, Value>,
    unreadable: Vec<Invalid>,
}

impl Fields {
    fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        let value = self.left.remove(name).filter(|value| !value.is_null());
        value
            .map(serde_json::from_value)
            .transpose()
            .unwrap_or_else(|error| {
                let problem = format!("cannot be read: {error}");
                self.unreadable.push(invalid(
                    &format!("spec.{name}"),
                    problem.chars().take(LONGEST).collect::<String>(),
                ));
                None
            })
            .unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for RayClusterFleetSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = match Value::deserialize(deserializer)? {
            Value::Object(left) => left,
            _ => Map::new(),
        };
        let mut fields = Fields { left, unreadable: Vec::new() };
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
            let told = refused(&fleet(name, change));
            assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted} in {told:?}");
        }
    }

    #[test]
    fn what_aibrix_stores_of_itself_means_what_it_meant() {
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
}
