//! How many pods a RayCluster asks for, in which worker groups; what it was made with stands in an annotation. Held against
//! each other they show what somebody else changed since. Pure.

use rayfleet_api::kuberay::WorkerSize;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Sizes of a RayCluster as KubeRay's CRD defaults them; what they amount to is said in `rayfleet_api::kuberay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    /// `enableInTreeAutoscaling`: Ray's autoscaler moves `replicas` between the bounds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) autoscaling: bool,
    workers: Vec<Workers>,
}

/// A worker group and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Workers {
    name: String,
    #[serde(flatten)]
    size: WorkerSize,
}

impl Workers {
    fn of(group: &Value) -> Self {
        Self { name: group["groupName"].as_str().unwrap_or_default().to_owned(), size: WorkerSize::of(group) }
    }

    /// What differs in another one, in words.
    fn differs(&self, now: &Self, autoscaling: bool) -> Option<String> {
        let (was, is) = (&self.size, &now.size);
        let fields = [
            ("replicas", was.replicas, is.replicas),
            ("minReplicas", was.min, is.min),
            ("maxReplicas", was.max, is.max),
            ("numOfHosts", was.hosts, is.hosts),
            ("suspend", was.suspend.into(), is.suspend.into()),
        ];
        let moved =
            fields.iter().filter(|(field, was, is)| was != is && !(autoscaling && *field == "replicas"));
        let words: Vec<String> =
            moved.map(|(field, was, is)| format!("{field} {is} instead of {was}")).collect();
        (!words.is_empty()).then(|| format!("worker group {}: {}", self.name, words.join(", ")))
    }
}

impl Size {
    /// Of a RayClusterSpec.
    pub(crate) fn of(spec: &Value) -> Self {
        let workers = spec["workerGroupSpecs"].as_array().into_iter().flatten().map(Workers::of);
        Self { autoscaling: spec["enableInTreeAutoscaling"] == true, workers: workers.collect() }
    }

    /// The head and all workers; with the autoscaler the fewest that it may leave.
    pub(crate) fn pods(&self) -> Option<usize> {
        let wanted = |group: &Workers| {
            if self.autoscaling { group.size.fewest_pods() } else { group.size.pods() }
        };
        let sum = self.workers.iter().map(wanted).fold(1_u64, u64::saturating_add);
        usize::try_from(sum).ok()
    }

    /// What somebody changed in a RayCluster that was made with this size, in words.
    pub(crate) fn drift(&self, now: &Self) -> Option<String> {
        let mut words = Vec::new();
        if self.autoscaling != now.autoscaling {
            words
                .push(format!("enableInTreeAutoscaling {} instead of {}", now.autoscaling, self.autoscaling));
        }
        let others = self
            .workers
            .iter()
            .filter_map(|was| Some((was, now.workers.iter().find(|is| is.name == was.name)?)));
        words.extend(others.filter_map(|(was, is)| was.differs(is, self.autoscaling)));
        let has = |size: &Self, name: &str| size.workers.iter().any(|workers| workers.name == name);
        let removed = self.workers.iter().filter(|was| !has(now, &was.name));
        words.extend(removed.map(|was| format!("worker group {}: removed", was.name)));
        let added = now.workers.iter().filter(|is| !has(self, &is.name));
        let most = |is: &Workers| if now.autoscaling { is.size.most_pods() } else { is.size.pods() };
        let added = added.map(|is| (&is.name, most(is))).filter(|(_, pods)| *pods > 0);
        words.extend(added.map(|(name, pods)| format!("worker group {name}: added, with {pods} pods")));
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// A merge patch of the spec that sets this size again. Worker groups are one list to the API server: they are given whole. One that
    /// was removed is taken from `made`, the spec that the RayCluster was made with. One that was added stays and has no pods: KubeRay
    /// ends those of a group that has none, and forgets those of a group that is not there.
    pub(crate) fn restored(&self, spec: &Value, made: Option<&Value>) -> Value {
        let groups = |spec: &Value| spec["workerGroupSpecs"].as_array().cloned().unwrap_or_default();
        let mut workers = groups(spec);
        let is_there = |was: &Value| workers.iter().any(|group| group["groupName"] == was["groupName"]);
        let removed: Vec<Value> =
            made.map(groups).unwrap_or_default().into_iter().filter(|was| !is_there(was)).collect();
        workers.extend(removed);
        for group in &mut workers {
            let elastic = self.autoscaling;
            let was = self.workers.iter().find(|was| group["groupName"] == was.name).map(|was| &was.size);
            let Some(fields) = group.as_object_mut() else { continue };
            let Some(was) = was else {
                for field in ["replicas", "minReplicas", "maxReplicas"] {
                    fields.insert(field.to_owned(), json!(0));
                }
                continue;
            };
            if !elastic {
                fields.insert("replicas".to_owned(), json!(was.replicas));
            }
            fields.insert("minReplicas".to_owned(), json!(was.min));
            fields.insert("maxReplicas".to_owned(), json!(was.max));
            fields.insert("numOfHosts".to_owned(), json!(was.hosts));
            if was.suspend {
                fields.insert("suspend".to_owned(), json!(true));
            } else {
                fields.remove("suspend");
            }
        }
        let autoscaling = if self.autoscaling { json!(true) } else { Value::Null };
        json!({ "workerGroupSpecs": workers, "enableInTreeAutoscaling": autoscaling })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(workers: &Value) -> Value {
        json!({"headGroupSpec": {}, "workerGroupSpecs": workers})
    }

    fn pods(workers: &Value) -> Option<usize> {
        Size::of(&spec(workers)).pods()
    }

    #[test]
    fn pods_are_counted_as_kuberay_counts_them() {
        assert_eq!(pods(&json!([{"replicas": 3}, {"replicas": 2, "numOfHosts": 2}, {}])), Some(8));
        assert_eq!(pods(&json!([{"replicas": 4, "maxReplicas": 2}])), Some(3));
        assert_eq!(pods(&json!([{"minReplicas": 2}])), Some(3));
        assert_eq!(pods(&json!([{"replicas": 4, "suspend": true}])), Some(1));
        assert_eq!(pods(&Value::Null), Some(1));
        // The same function says what a template asks for.
        for odd in [
            json!({"replicas": 2, "numOfHosts": 0}),
            json!({"replicas": 2.0, "numOfHosts": 2.0}),
            json!({"replicas": 2, "minReplicas": -1, "numOfHosts": -1}),
            json!({"replicas": -2}),
        ] {
            let of_template = rayfleet_api::kuberay::pods(&spec(&json!([odd])));
            assert_eq!(pods(&json!([odd])).and_then(|pods| u64::try_from(pods).ok()), of_template, "{odd}");
        }
        let elastic = json!({"enableInTreeAutoscaling": true, "workerGroupSpecs": [{"replicas": 4, "minReplicas": 1, "maxReplicas": 9}]});
        assert_eq!(Size::of(&elastic).pods(), Some(2), "the autoscaler may leave as few");
    }

    #[test]
    fn a_changed_size_is_named_and_set_back() {
        let made = json!([
            {"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "template": {"spec": 1}},
            {"groupName": "v", "replicas": 2, "minReplicas": 2, "maxReplicas": 2, "numOfHosts": 2}
        ]);
        let size = Size::of(&spec(&made));
        for (changed, words) in [
            (
                json!({"replicas": 0, "minReplicas": 0}),
                "worker group w: replicas 0 instead of 1, minReplicas 0 instead of 1",
            ),
            (json!({"maxReplicas": 4}), "worker group w: maxReplicas 4 instead of 1"),
            (json!({"numOfHosts": 2}), "worker group w: numOfHosts 2 instead of 1"),
            (json!({"suspend": true}), "worker group w: suspend 1 instead of 0"),
        ] {
            let mut now = spec(&made);
            for (field, value) in changed.as_object().unwrap() {
                now["workerGroupSpecs"][0][field] = value.clone();
            }
            let drift = size.drift(&Size::of(&now)).unwrap();
            assert_eq!(drift, words);
            let patch = size.restored(&now, None);
            assert_eq!(
                patch["workerGroupSpecs"][0]["template"],
                json!({"spec": 1}),
                "the rest stays as it is"
            );
            now["workerGroupSpecs"] = patch["workerGroupSpecs"].clone();
            assert_eq!(size.drift(&Size::of(&now)), None, "{patch}");
        }
        let mut elastic = spec(&made);
        elastic["enableInTreeAutoscaling"] = json!(true);
        let drift = size.drift(&Size::of(&elastic)).unwrap();
        assert_eq!(drift, "enableInTreeAutoscaling true instead of false");
        assert_eq!(size.restored(&elastic, None)["enableInTreeAutoscaling"], Value::Null);
    }

    #[test]
    fn a_worker_group_that_somebody_removed_or_added_is_named_and_set_back() {
        let made = spec(&json!([
            {"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "template": {"spec": 1}},
            {"groupName": "v", "replicas": 2, "minReplicas": 2, "maxReplicas": 2, "template": {"spec": 2}}
        ]));
        let size = Size::of(&made);
        let mut now = made.clone();
        now["workerGroupSpecs"].as_array_mut().unwrap().remove(0);
        assert_eq!(size.drift(&Size::of(&now)).unwrap(), "worker group w: removed");
        let restored = size.restored(&now, Some(&made));
        let back = restored["workerGroupSpecs"].as_array().unwrap();
        assert_eq!((&back[1]["groupName"], &back[1]["template"]), (&json!("w"), &json!({"spec": 1})));
        assert_eq!((back.len(), size.drift(&Size::of(&restored))), (2, None));
        assert!(size.drift(&Size::of(&size.restored(&now, None))).is_some(), "of nothing it cannot be made");
        let mut now = made.clone();
        let more = json!({"groupName": "x", "replicas": 3, "template": {"spec": 3}});
        now["workerGroupSpecs"].as_array_mut().unwrap().push(more);
        assert_eq!(size.drift(&Size::of(&now)).unwrap(), "worker group x: added, with 3 pods");
        let restored = size.restored(&now, Some(&made));
        assert_eq!(restored["workerGroupSpecs"][2]["replicas"], 0, "KubeRay ends its pods");
        assert_eq!(Size::of(&restored).pods(), size.pods());
        assert_eq!(size.drift(&Size::of(&restored)), None, "one without pods is nobody's affair");
    }

    #[test]
    fn an_equal_size_is_no_drift_however_it_is_written() {
        let size = |workers: &Value| Size::of(&spec(workers));
        let bare = size(&json!([{"groupName": "w"}]));
        let defaulted = json!([{"groupName": "w", "replicas": 0, "minReplicas": 0, "maxReplicas": i32::MAX, "numOfHosts": 1, "suspend": false}]);
        assert_eq!(bare.drift(&size(&defaulted)), None);
        let stored: Size = serde_json::from_str(&serde_json::to_string(&bare).unwrap()).unwrap();
        assert_eq!(stored, bare);
        // As annotations of RayClusters that are there already have it.
        let annotation = r#"{"workers":[{"name":"w","replicas":0,"min":0,"max":2147483647,"hosts":1}]}"#;
        assert_eq!(serde_json::to_string(&bare).unwrap(), annotation);
        // The API server stores whole numbers, however they were written.
        let floats = json!([{"groupName": "w", "replicas": 2.0, "minReplicas": 1.0, "maxReplicas": 2.0, "numOfHosts": 2.0}]);
        let whole =
            json!([{"groupName": "w", "replicas": 2, "minReplicas": 1, "maxReplicas": 2, "numOfHosts": 2}]);
        assert_eq!(size(&floats).drift(&size(&whole)), None);
    }

    #[test]
    fn the_autoscaler_may_move_replicas_and_nobody_its_bounds() {
        let made = json!({"enableInTreeAutoscaling": true, "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "minReplicas": 1, "maxReplicas": 4}]});
        let size = Size::of(&made);
        let mut now = made.clone();
        now["workerGroupSpecs"][0]["replicas"] = json!(3);
        assert_eq!(size.drift(&Size::of(&now)), None);
        now["workerGroupSpecs"][0]["minReplicas"] = json!(0);
        assert!(size.drift(&Size::of(&now)).is_some());
        let restored = size.restored(&now, None);
        assert_eq!(
            (&restored["workerGroupSpecs"][0]["replicas"], &restored["enableInTreeAutoscaling"]),
            (&json!(3), &json!(true))
        );
    }
}
