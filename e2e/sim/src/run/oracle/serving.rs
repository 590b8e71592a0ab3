//! The rule that a group takes traffic only while its engine is up, whatever else is refused or away. Looked at in steps of
//! simulated time: that nothing is done about a death is no change of any object.

use std::collections::BTreeMap;
use std::time::Duration;

use rayfleet_api::names;
use serde_json::Value;

use super::takes_traffic;
use crate::api::{ApiServer, Kind};
use crate::ray::RayWorld;
use crate::run::faults::Shared;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Looks in a row at a dead engine behind an open gate: longer than a replica that is cut off and the takeover by the next.
const LOOKS: u32 = 15;

/// Looks for ever.
pub async fn follow(api: ApiServer, ray: RayWorld, shared: Shared, fleet: String) {
    let mut dead: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let open = open_without_engine(&api, &ray, &fleet);
        dead.retain(|group, _| open.contains(group));
        for group in open {
            let looks = dead.entry(group.clone()).or_default();
            *looks += 1;
            if *looks == LOOKS {
                let length = (EVERY * LOOKS).as_secs();
                shared.breach(format!("group {group} takes traffic and its engine is gone for {length} s"));
            }
        }
    }
}

/// Groups of a fleet with a model that take traffic and run no job.
fn open_without_engine(api: &ApiServer, ray: &RayWorld, fleet: &str) -> Vec<String> {
    let fleets = api.list(&Kind::FLEET);
    let bridged =
        fleets.iter().any(|raw| raw["metadata"]["name"] == *fleet && !raw["spec"]["model"].is_null());
    let pods = api.list(&Kind::POD);
    let open: Vec<String> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"][names::LABEL_FLEET] == *fleet && takes_traffic(pod))
        .map(|pod| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{}/{}",
                text(&pod["metadata"]["namespace"]),
                text(&pod["metadata"]["labels"][names::LABEL_GROUP])
            )
        })
        .collect();
    if !bridged || open.is_empty() {
        return Vec::new();
    }
    let snapshot = ray.snapshot();
    open.into_iter().filter(|group| !serves(&snapshot, group)).collect()
}

fn serves(snapshot: &Value, group: &str) -> bool {
    let engines = snapshot["engines"].as_array().map(Vec::as_slice).unwrap_or_default();
    engines.iter().any(|engine| engine["cluster"] == *group && engine["serves"] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_engine_serves_its_own_group_only_and_once_it_is_up() {
        let engine =
            |cluster: &str, serves: bool| json!({"engines": [{"cluster": cluster, "serves": serves}]});
        assert!(serves(&engine("n/g", true), "n/g"));
        assert!(!serves(&engine("n/g", false), "n/g") && !serves(&engine("n/h", true), "n/g"));
        assert!(!serves(&json!({}), "n/g"));
    }
}
