//! What the ResourceQuotas of a namespace leave. A quota counts objects that exist, with or without a node.

use k8s_openapi::api::core::v1::{ResourceQuota, ScopedResourceSelectorRequirement};
use serde_json::Value;

use super::quantity::amounts;
use super::requests::{Resources, add, limits, requests};

/// A ResourceQuota for pods or their requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quota {
    /// Name of the ResourceQuota.
    pub name: String,
    /// What is left, by quota names: `requests.nvidia.com/gpu`, `limits.cpu`, `pods`.
    pub left: Resources,
    /// Priority classes that it applies to; `None` if to all pods.
    pub priority_classes: Option<Vec<String>>,
}

/// A quota that is exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) quota: String,
    pub(super) resource: String,
    pub(super) asked: i128,
    pub(super) left: i128,
}

impl Quota {
    /// Reads a ResourceQuota; `None` for one that does not apply to a group's pods.
    pub(super) fn of(quota: &ResourceQuota) -> Option<Self> {
        let spec = quota.spec.as_ref()?;
        // A group's pods have no deadline, and have requests.
        let scopes = spec.scopes.iter().flatten();
        if scopes.clone().any(|scope| !["NotTerminating", "NotBestEffort"].contains(&scope.as_str())) {
            return None;
        }
        let selector = spec.scope_selector.as_ref().and_then(|selector| selector.match_expressions.as_ref());
        let mut priority_classes = None;
        for expression in selector.into_iter().flatten() {
            match (expression.scope_name.as_str(), expression.operator.as_str()) {
                ("NotTerminating" | "NotBestEffort", "Exists") => {}
                ("PriorityClass", "In") => priority_classes = Some(classes(expression)),
                _ => return None,
            }
        }
        let status = quota.status.as_ref();
        let hard = status.and_then(|status| status.hard.as_ref()).or(spec.hard.as_ref())?;
        let mut left = amounts(hard);
        let used = status.and_then(|status| status.used.as_ref()).map(amounts).unwrap_or_default();
        for (resource, used) in used {
            if let Some(left) = left.get_mut(&resource) {
                *left = left.saturating_sub(used);
            }
        }
        Some(Self { name: quota.metadata.name.clone().unwrap_or_default(), left, priority_classes })
    }

    fn is_for(&self, spec: &Value) -> bool {
        let class = spec["priorityClassName"].as_str().unwrap_or_default();
        self.priority_classes.as_ref().is_none_or(|classes| classes.iter().any(|of| of == class))
    }

    /// Subtracts the requests of pods; what is left may become negative.
    pub(super) fn take<'s>(&mut self, specs: impl IntoIterator<Item = (&'s Value, usize)>) {
        for (resource, asked) in self.asked(specs) {
            if let Some(left) = self.left.get_mut(&resource) {
                *left = left.saturating_sub(asked);
            }
        }
    }

    /// Which requests of these pods exceed what is left.
    pub(super) fn short<'s>(&self, specs: impl IntoIterator<Item = (&'s Value, usize)>) -> Option<Short> {
        let asked = self.asked(specs);
        let short = asked.iter().find(|(resource, asked)| {
            **asked > 0 && self.left.get(*resource).is_some_and(|left| left < asked)
        });
        short.map(|(resource, asked)| Short {
            quota: self.name.clone(),
            resource: resource.clone(),
            asked: *asked,
            left: self.left.get(resource).copied().unwrap_or_default().max(0),
        })
    }

    fn asked<'s>(&self, specs: impl IntoIterator<Item = (&'s Value, usize)>) -> Resources {
        let mut sum = Resources::new();
        for (spec, count) in specs.into_iter().filter(|(spec, _)| self.is_for(spec)) {
            let count = i128::try_from(count).unwrap_or(i128::MAX);
            let mut asked = in_quota_names(spec);
            for amount in asked.values_mut() {
                *amount = amount.saturating_mul(count);
            }
            add(&mut sum, &asked);
        }
        sum
    }
}

fn classes(expression: &ScopedResourceSelectorRequirement) -> Vec<String> {
    expression.values.clone().unwrap_or_default()
}

/// A pod's requests by quota names: a plain `cpu` is `requests.cpu`.
fn in_quota_names(spec: &Value) -> Resources {
    let mut named = Resources::new();
    for (resource, amount) in requests(spec) {
        if resource == "pods" {
            named.insert("count/pods".to_owned(), amount);
        } else {
            named.insert(format!("requests.{resource}"), amount);
        }
        named.insert(resource, amount);
    }
    named.extend(limits(spec).into_iter().map(|(resource, amount)| (format!("limits.{resource}"), amount)));
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(spec: &Value, used: &Value) -> Option<Quota> {
        let quota = json!({
            "metadata": {"name": "team"}, "spec": spec, "status": {"hard": spec["hard"], "used": used}
        });
        Quota::of(&serde_json::from_value(quota).unwrap())
    }

    fn pod() -> Value {
        json!({"containers": [{"resources": {
            "requests": {"cpu": "2"}, "limits": {"cpu": "4", "nvidia.com/gpu": "8"}
        }}]})
    }

    #[test]
    fn every_name_of_a_quota_is_counted() {
        for (name, hard, fits) in [
            ("requests.nvidia.com/gpu", "8", true),
            ("requests.nvidia.com/gpu", "7", false),
            ("cpu", "2", true),
            ("cpu", "1999m", false),
            ("requests.cpu", "1", false),
            ("limits.cpu", "4", true),
            ("limits.cpu", "3", false),
            ("pods", "1", true),
            ("pods", "0", false),
            ("count/pods", "0", false),
            ("services", "0", true),
        ] {
            let quota = quota(&json!({"hard": {name: hard}}), &json!({})).unwrap();
            assert_eq!(quota.short([(&pod(), 1)]).is_none(), fits, "{name}: {hard}");
        }
    }

    #[test]
    fn used_amounts_are_subtracted() {
        let hard = json!({"hard": {"requests.nvidia.com/gpu": "24"}});
        let mut quota = quota(&hard, &json!({"requests.nvidia.com/gpu": "8"})).unwrap();
        assert_eq!(quota.short([(&pod(), 2)]), None);
        quota.take([(&pod(), 1)]);
        let short = quota.short([(&pod(), 2)]).unwrap();
        assert_eq!((short.asked, short.left, short.quota.as_str()), (16_000, 8_000, "team"));
    }

    #[test]
    fn a_selector_that_does_not_match_pods_of_groups_is_left_out() {
        let of = |scope: &str, operator: &str| {
            let expression = json!({"scopeName": scope, "operator": operator, "values": ["high"]});
            let spec = json!({"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [expression]}});
            quota(&spec, &json!({})).map(|quota| quota.priority_classes)
        };
        assert_eq!(of("NotTerminating", "Exists"), Some(None));
        assert_eq!(of("NotBestEffort", "Exists"), Some(None));
        assert_eq!(of("PriorityClass", "In"), Some(Some(vec!["high".to_owned()])));
        assert_eq!((of("Terminating", "Exists"), of("PriorityClass", "NotIn")), (None, None));
    }

    #[test]
    fn a_quota_without_status_leaves_its_hard_limits() {
        let young = json!({"metadata": {"name": "team"}, "spec": {"hard": {"pods": "3"}}});
        let quota = Quota::of(&serde_json::from_value(young).unwrap()).unwrap();
        assert_eq!((quota.name.as_str(), quota.left["pods"]), ("team", 3_000));
    }

    #[test]
    fn an_overdrawn_resource_does_not_matter_without_a_request_for_it() {
        let hard = json!({"hard": {"requests.cpu": "1", "requests.memory": "1"}});
        let quota = quota(&hard, &json!({"requests.cpu": "3"})).unwrap();
        let pod = |cpu: &str| json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]});
        assert_eq!(quota.short([(&pod("0"), 1)]), None);
        let short = quota.short([(&pod("1"), 1)]).unwrap();
        assert_eq!((short.resource.as_str(), short.left), ("requests.cpu", 0), "never negative");
    }

    #[test]
    fn scopes_select_pods() {
        let of = |scopes: Value| quota(&json!({"hard": {"pods": "0"}, "scopes": scopes}), &json!({}));
        assert!(of(json!(["NotTerminating"])).is_some());
        assert!(of(json!(["Terminating"])).is_none());
        assert!(of(json!(["BestEffort"])).is_none());
        let selected = json!({"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
        ]}});
        let quota = quota(&selected, &json!({})).unwrap();
        let mut pod = pod();
        assert_eq!(quota.short([(&pod, 1)]), None);
        pod["priorityClassName"] = json!("high");
        assert!(quota.short([(&pod, 1)]).is_some());
    }
}
