//! The rule that a group takes traffic only while its engine is up, whatever else is refused or away. Looked at in steps of
//! simulated time: that nothing is done about a death is no change of any object.

use std::collections::BTreeMap;
use std::time::Duration;

use rayfleet_api::names;
use rayfleet_sim_kube::api::{ApiServer, Kind};
use serde_json::Value;

use super::takes_traffic;
use crate::run::faults::Shared;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Looks in a row at a dead engine behind an open gate: longer than a replica that is cut off and the takeover by the next.
const LOOKS: u32 = 15;

/// Looks for ever. What runs in Ray is a snapshot of it.
pub async fn follow(api: ApiServer, snapshot: impl Fn() -> Value, shared: Shared, fleet: String) {
    let mut dead: BTreeMap<String, u32> = BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let open = open_without_engine(&api, &snapshot, &fleet);
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
fn open_without_engine(api: &ApiServer, snapshot: &impl Fn() -> Value, fleet: &str) -> Vec<String> {
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
    let snapshot = snapshot();
    open.into_iter().filter(|group| !serves(&snapshot, group)).collect()
}

fn serves(snapshot: &Value, group: &str) -> bool {
    let engines = snapshot["engines"].as_array().map(Vec::as_slice).unwrap_or_default();
    engines.iter().any(|engine| engine["cluster"] == *group && engine["serves"] == true)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::run::Plan;
    use crate::run::scenario::Scenario;
    use crate::run::trace::Trace;

    #[test]
    fn an_engine_serves_its_own_group_only_and_once_it_is_up() {
        let engine =
            |cluster: &str, serves: bool| json!({"engines": [{"cluster": cluster, "serves": serves}]});
        assert!(serves(&engine("n/g", true), "n/g"));
        assert!(!serves(&engine("n/g", false), "n/g") && !serves(&engine("n/h", true), "n/g"));
        assert!(!serves(&json!({}), "n/g"));
    }

    /// A fleet, with or without a model, with the head of a group; what runs in Ray is as the test says.
    struct Bench {
        api: ApiServer,
        shared: Shared,
        ray: Arc<Mutex<Value>>,
    }

    impl Bench {
        fn new(has_model: bool) -> Self {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/create.yaml");
            let mut fleet = Scenario::read(&file).unwrap().fleet;
            (fleet["metadata"]["name"], fleet["metadata"]["namespace"]) = (json!("f"), json!("default"));
            if !has_model {
                fleet["spec"].as_object_mut().unwrap().remove("model");
            }
            let api = ApiServer::new();
            api.create(&Kind::FLEET, fleet).unwrap();
            let labels = json!({
                names::LABEL_FLEET: "f", names::LABEL_GROUP: "g", names::RAY_LABEL_NODE_TYPE: "head"
            });
            let head = json!({
                "metadata": {"namespace": "default", "name": "g-head", "labels": labels},
                "spec": {"containers": [{"name": "ray", "image": "ray"}]}
            });
            api.create(&Kind::POD, head).unwrap();
            let shared = Shared::new(1, Plan::default(), Trace::begin(), mpsc::unbounded_channel().0);
            let bench = Self { api, shared, ray: Arc::default() };
            bench.gate("True");
            bench.engine(true);
            let snapshot = bench.ray.clone();
            let snapshot = move || snapshot.lock().unwrap().clone();
            tokio::spawn(follow(bench.api.clone(), snapshot, bench.shared.clone(), "f".to_owned()));
            bench
        }

        fn gate(&self, is: &str) {
            let conditions = json!([
                {"type": "Ready", "status": "True"}, {"type": names::GATE_SERVING, "status": is},
            ]);
            let status = json!({"status": {"conditions": conditions}});
            self.api.merge_patch_status(&Kind::POD, "default", "g-head", &status).unwrap();
        }

        fn engine(&self, serves: bool) {
            *self.ray.lock().unwrap() = json!({"engines": [{"cluster": "default/g", "serves": serves}]});
        }

        /// What is complained of after so many looks more.
        async fn after(&self, looks: u32) -> Vec<String> {
            tokio::time::sleep(EVERY * looks).await;
            self.shared.state().breaches.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_stays_open_in_front_of_a_dead_engine_is_a_breach_reported_once() {
        let bench = Bench::new(true);
        // Between two looks, so that none falls on the moment of a question.
        tokio::time::sleep(EVERY / 2).await;
        assert_eq!(bench.after(2 * LOOKS).await, Vec::<String>::new());
        bench.engine(false);
        assert_eq!(bench.after(LOOKS - 1).await, Vec::<String>::new());
        let reported = "group default/g takes traffic and its engine is gone for 75 s";
        assert_eq!(bench.after(1).await, [reported]);
        assert_eq!(bench.after(2 * LOOKS).await, [reported]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_comes_back_or_a_gate_that_closes_in_time_is_none() {
        let bench = Bench::new(true);
        tokio::time::sleep(EVERY / 2).await;
        for turn in 0..3 {
            bench.engine(false);
            assert_eq!(bench.after(LOOKS - 1).await, Vec::<String>::new(), "turn {turn}");
            if turn == 1 {
                bench.engine(true);
            } else {
                bench.gate("False");
            }
            assert_eq!(bench.after(LOOKS).await, Vec::<String>::new(), "turn {turn}");
            bench.gate("True");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_of_the_templates_own_is_not_looked_for() {
        let bench = Bench::new(false);
        bench.engine(false);
        assert_eq!(bench.after(3 * LOOKS).await, Vec::<String>::new());
    }
}
