//! ResourceQuotas: accounting of what pods use, and refusal of pods beyond the limit.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::drive::Simulator;
use super::object::{has_ended, items, name, namespace};
use super::resources::{Amounts, add, amounts, limits, printed, requests};
use crate::api::{ApiServer, Kind};

/// The controller that updates `status.used`.
pub(super) struct Quotas;

impl Simulator for Quotas {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::RESOURCE_QUOTA, Kind::POD]
    }

    fn step(&mut self, api: &ApiServer, _: Timestamp) -> Option<Timestamp> {
        for quota in api.list(&Kind::RESOURCE_QUOTA) {
            let used = used(api, &quota);
            let status = json!({"hard": quota["spec"]["hard"], "used": written(&used, &quota)});
            if quota["status"] != status {
                let patch = json!({"status": status});
                drop(api.merge_patch_status(&Kind::RESOURCE_QUOTA, namespace(&quota), name(&quota), &patch));
            }
        }
        None
    }
}

fn written(used: &Amounts, quota: &Value) -> Map<String, Value> {
    let hard = amounts(&quota["spec"]["hard"]);
    let of = |name: &String| printed(used.get(name).copied().unwrap_or_default());
    hard.keys().map(|name| (name.clone(), json!(of(name)))).collect()
}

/// What the pods in a quota's namespace use.
fn used(api: &ApiServer, quota: &Value) -> Amounts {
    let mut sum = Amounts::new();
    for pod in api.list(&Kind::POD).iter().filter(|pod| namespace(pod) == namespace(quota) && !has_ended(pod))
    {
        add(&mut sum, &in_quota_names(pod));
    }
    sum
}

/// Whether a quota applies to all pods; only those are enforced here.
fn counts_all(quota: &Value) -> bool {
    items(&quota["spec"]["scopes"]).is_empty() && quota["spec"]["scopeSelector"].is_null()
}

fn in_quota_names(pod: &Value) -> Amounts {
    let mut named = Amounts::from([("pods".to_owned(), 1_000), ("count/pods".to_owned(), 1_000)]);
    for (resource, amount) in requests(&pod["spec"]) {
        named.insert(format!("requests.{resource}"), amount);
        if matches!(resource.as_str(), "cpu" | "memory") {
            named.insert(resource, amount);
        }
    }
    let limits = limits(&pod["spec"]).into_iter();
    named.extend(limits.map(|(resource, amount)| (format!("limits.{resource}"), amount)));
    named
}

/// Whether the API server's admission would accept a pod; else its refusal.
pub(super) fn admit(api: &ApiServer, pod: &Value) -> Result<(), String> {
    let asked = in_quota_names(pod);
    for quota in api.list(&Kind::RESOURCE_QUOTA) {
        if namespace(&quota) != namespace(pod) || !counts_all(&quota) {
            continue;
        }
        let (hard, used) = (amounts(&quota["spec"]["hard"]), used(api, &quota));
        let of = |amounts: &Amounts, name: &String| amounts.get(name).copied().unwrap_or_default();
        let short: Vec<&String> = hard
            .keys()
            .filter(|name| of(&asked, name) > 0 && of(&used, name) + of(&asked, name) > of(&hard, name))
            .collect();
        if short.is_empty() {
            continue;
        }
        let listed = |amounts: &Amounts| {
            let words: Vec<String> =
                short.iter().map(|name| format!("{name}={}", printed(of(amounts, name)))).collect();
            words.join(",")
        };
        return Err(format!(
            "pods \"{}\" is forbidden: exceeded quota: {}, requested: {}, used: {}, limited: {}",
            name(pod),
            name(&quota),
            listed(&asked),
            listed(&used),
            listed(&hard)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::super::testing::Bench;
    use super::*;

    fn pod(name: &str, cpu: &str) -> Value {
        let resources = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "4", "nvidia.com/gpu": "2"}});
        json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}
        })
    }

    #[tokio::test(start_paused = true)]
    async fn pods_count_until_they_end_and_are_refused_beyond_the_limit() {
        let mut bench = Bench::new(Options::default());
        bench.run(Quotas);
        let hard =
            json!({"requests.nvidia.com/gpu": "4", "requests.cpu": "1500m", "limits.cpu": "8", "pods": "2"});
        let quota = json!({"metadata": {"name": "team", "namespace": "n"}, "spec": {"hard": hard}});
        bench.create(&Kind::RESOURCE_QUOTA, quota);
        bench.create(&Kind::POD, pod("a", "500m"));
        bench.wait(0.1).await;
        let used = || bench.api.get(&Kind::RESOURCE_QUOTA, "n", "team").unwrap()["status"]["used"].clone();
        let one =
            json!({"requests.nvidia.com/gpu": "2", "requests.cpu": "500m", "limits.cpu": "4", "pods": "1"});
        assert_eq!(used(), one);
        assert_eq!(admit(&bench.api, &pod("b", "1")), Ok(()));
        assert_eq!(
            admit(&bench.api, &pod("b", "1200m")).unwrap_err(),
            "pods \"b\" is forbidden: exceeded quota: team, requested: requests.cpu=1200m, used: \
             requests.cpu=500m, limited: requests.cpu=1500m"
        );
        bench.create(&Kind::POD, pod("b", "1"));
        assert!(admit(&bench.api, &pod("c", "100m")).is_err());
        bench.set_status("a", "Failed", "False");
        bench.wait(0.1).await;
        assert_eq!(used()["pods"], "1");
        assert_eq!(admit(&bench.api, &pod("c", "100m")), Ok(()));
    }
}
