//! Eviction of a pod: a delete with grace period, if all `PodDisruptionBudgets` that select the pod allow
//! it.

use std::sync::Arc;

use serde_json::Value;

use super::object::{entries, is_deleting, is_true, label, namespace};
use crate::api::{ApiServer, Kind, Refusal};

/// Evicts a pod. Returns whether the budgets allowed it.
pub(super) fn evict(api: &ApiServer, namespace: &str, name: &str) -> Result<bool, Refusal> {
    let Some(pod) = api.get(&Kind::POD, namespace, name) else { return Ok(true) };
    let budgets = api.list(&Kind::BUDGET);
    let of_pod = |budget: &&Arc<Value>| selects(budget, &pod);
    let ready = is_true(&pod, "Ready");
    let allowed = budgets.iter().filter(of_pod).all(|budget| {
        let pods = api.list(&Kind::POD);
        let healthy =
            pods.iter().filter(|pod| selects(budget, pod) && is_true(pod, "Ready") && !is_deleting(pod));
        let healthy = u64::try_from(healthy.count()).unwrap_or_default();
        let least = budget["spec"]["minAvailable"].as_u64().unwrap_or_default();
        // `AlwaysAllow` lets unready pods be evicted; the default policy does so only while enough others
        // are healthy.
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if ready { healthy > least } else { always || healthy >= least }
    });
    if allowed {
        api.delete(&Kind::POD, namespace, name)?;
    }
    Ok(allowed)
}

fn selects(budget: &Value, pod: &Value) -> bool {
    namespace(budget) == namespace(pod)
        && entries(&budget["spec"]["selector"]["matchLabels"])
            .all(|(key, value)| label(pod, key) == value.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::server;
    use super::*;

    #[test]
    fn a_budget_protects_only_ready_pods() {
        let api = server();
        let pod = |name: &str, ready: &str| {
            let pod = json!({
                "metadata": {"name": name, "namespace": "n", "labels": {"g": "a"}},
                "spec": {"nodeName": "x", "containers": [{"name": "c", "image": "i"}]}
            });
            api.create(&Kind::POD, pod).unwrap();
            let status = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
            api.merge_patch_status(&Kind::POD, "n", name, &status).unwrap();
        };
        pod("ready", "True");
        pod("other", "True");
        pod("ill", "False");
        let budget = |least: u64| {
            json!({
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {"minAvailable": least, "selector": {"matchLabels": {"g": "a"}}}
            })
        };
        api.create(&Kind::BUDGET, budget(3)).unwrap();
        assert!(!evict(&api, "n", "ill").unwrap(), "by the default policy an unready pod counts as missing");
        api.delete(&Kind::BUDGET, "n", "a").unwrap();
        let mut lenient = budget(3);
        lenient["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        api.create(&Kind::BUDGET, lenient).unwrap();
        assert!(evict(&api, "n", "ill").unwrap());
        api.delete(&Kind::BUDGET, "n", "a").unwrap();
        api.create(&Kind::BUDGET, budget(2)).unwrap();
        assert!(!evict(&api, "n", "ready").unwrap());
        api.delete(&Kind::BUDGET, "n", "a").unwrap();
        api.create(&Kind::BUDGET, budget(1)).unwrap();
        assert!(evict(&api, "n", "ready").unwrap());
        assert!(!evict(&api, "n", "other").unwrap());
        assert!(evict(&api, "n", "gone").unwrap());
    }
}
