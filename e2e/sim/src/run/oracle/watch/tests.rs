//! Each rule is violated once: after a valid beginning, something forbidden is written, and only that rule
//! reports it.

use std::path::Path;

use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::run::Plan;
use crate::run::scenario::Scenario;
use crate::run::trace::Trace;

const NAMESPACE: &str = "default";
const FLEET: &str = "light";

struct Bench {
    api: ApiServer,
    shared: Shared,
    watch: Watch,
}

/// A fleet of two groups with a surge of one and one that may be unavailable.
fn bench() -> Bench {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/create.yaml");
    let mut fleet = Scenario::read(&file).unwrap().fleet;
    fleet["metadata"]["namespace"] = json!(NAMESPACE);
    let api = ApiServer::new();
    api.create(&Kind::FLEET, fleet).unwrap();
    let shared = Shared::new(1, Plan::default(), Trace::begin(), mpsc::unbounded_channel().0);
    let watch = Watch::new(NAMESPACE, FLEET, api.clone(), shared.clone());
    let bench = Bench { api, shared, watch };
    bench.ledger(1, &[(0, 1, "Serve"), (1, 1, "Serve"), (2, 1, "Serve"), (3, 1, "Serve")]);
    bench
}

impl Bench {
    /// Writes the status of a generation, with groups by number, launch and goal.
    fn ledger(&self, generation: i64, groups: &[(u32, u32, &str)]) {
        let groups: Vec<Value> = groups
            .iter()
            .map(|(number, launch, goal)| {
                json!({"name": format!("g-{number}"), "slot": number, "revision": "a", "phase": "Pending", "launch": launch, "goal": goal})
            })
            .collect();
        let status = json!({"status": {"observedGeneration": generation, "groups": groups}});
        self.api.merge_patch_status(&Kind::FLEET, NAMESPACE, FLEET, &status).unwrap();
        self.watch.look();
    }

    fn spec(&self, spec: &Value) {
        self.api.merge_patch(&Kind::FLEET, NAMESPACE, FLEET, &json!({"spec": spec})).unwrap();
        self.watch.look();
    }

    fn cluster(&self, number: u32) {
        let metadata = json!({
            "namespace": NAMESPACE, "name": format!("g-{number}"), "labels": {names::LABEL_FLEET: FLEET}
        });
        self.api.create(&Kind::RAY_CLUSTER, json!({"metadata": metadata})).unwrap();
        self.watch.look();
    }

    /// Creates the head of a group, ready, with the given gate.
    fn head(&self, number: u32, gate: &str, reason: &str) {
        let name = format!("g-{number}-head");
        if self.api.get(&Kind::POD, NAMESPACE, &name).is_none() {
            let labels = json!({
                names::LABEL_FLEET: FLEET, names::RAY_LABEL_CLUSTER: format!("g-{number}"), names::RAY_LABEL_NODE_TYPE: "head"
            });
            let pod = json!({
                "metadata": {"namespace": NAMESPACE, "name": name, "labels": labels},
                "spec": {"containers": [{"name": "ray", "image": "ray"}]}
            });
            self.api.create(&Kind::POD, pod).unwrap();
        }
        let conditions = json!([
            {"type": "Ready", "status": "True"},
            {"type": names::GATE_SERVING, "status": gate, "reason": reason},
        ]);
        let status = json!({"status": {"conditions": conditions}});
        self.api.merge_patch_status(&Kind::POD, NAMESPACE, &name, &status).unwrap();
        self.watch.look();
    }

    /// Deletes the RayCluster of a group while a pod of it still runs.
    fn leaves_a_pod(&self, number: u32) {
        let labels = json!({names::LABEL_FLEET: FLEET, names::RAY_LABEL_CLUSTER: format!("g-{number}")});
        let owner = json!({
            "apiVersion": "ray.io/v1", "kind": "RayCluster", "name": format!("g-{number}"), "uid": "u", "controller": true
        });
        let pod = json!({
            "metadata": {"namespace": NAMESPACE, "name": format!("g-{number}-w"), "labels": labels, "ownerReferences": [owner]},
            "spec": {"nodeName": "node-1", "containers": [{"name": "ray", "image": "ray"}]}
        });
        self.api.create(&Kind::POD, pod).unwrap();
        self.api.delete(&Kind::RAY_CLUSTER, NAMESPACE, &format!("g-{number}")).unwrap();
        self.watch.look();
    }

    fn open(&self, number: u32) {
        self.head(number, "True", "Ready");
    }

    fn drain(&self, number: u32) {
        self.head(number, "False", "Draining");
    }
}

#[tokio::test(start_paused = true)]
async fn each_rule_is_reported_when_it_is_broken_and_not_before() {
    type Act = fn(&Bench);
    // What is done before, what breaks the rule, and the expected report.
    let cases: [(Act, Act, &str); 10] = [
        (|b| b.ledger(2, &[]), |b| b.ledger(1, &[]), "the status went back from generation 2 to 1"),
        (
            |b| b.ledger(1, &[(0, 2, "Serve")]),
            |b| b.ledger(1, &[(0, 1, "Serve")]),
            "group g-0 went back from launch 2 to 1",
        ),
        (|b| (0..3).for_each(|n| b.cluster(n)), |b| b.cluster(3), "4 groups exist, at most 3 allowed"),
        // A group exists as long as its pods do.
        (
            |b| {
                (0..3).for_each(|n| b.cluster(n));
                b.leaves_a_pod(2);
            },
            |b| b.cluster(3),
            "4 groups exist, at most 3 allowed: g-0, g-1, g-2, g-3",
        ),
        // The older spec still holds for decisions made under it, but not forever.
        (
            |b| {
                b.spec(&json!({"replicas": 1}));
                (0..3).for_each(|n| b.cluster(n));
                b.api.delete(&Kind::RAY_CLUSTER, NAMESPACE, "g-2").unwrap();
                b.watch.look();
            },
            |b| b.cluster(2),
            "3 groups exist, at most 2 allowed",
        ),
        // Nothing more is allowed either before old groups have ended.
        (
            |b| {
                b.spec(&json!({"strategy": {"type": "Recreate", "rollingUpdate": null}}));
                (0..2).for_each(|n| b.cluster(n));
            },
            |b| b.cluster(2),
            "3 groups exist, at most 2 allowed",
        ),
        (
            |b| {
                b.ledger(1, &[(0, 1, "Serve")]);
                b.cluster(0);
            },
            |b| b.cluster(1),
            "g-1 was created and is not in the ledger",
        ),
        (
            |b| {
                (0..2).for_each(|n| b.open(n));
                b.drain(0);
                // A failed group takes no traffic either, and nobody drained it.
                b.open(0);
                b.head(0, "False", "EngineFailed");
                b.head(1, "False", "EngineFailed");
                b.open(1);
            },
            |b| b.drain(1),
            "g-1-head was drained: 0 groups take traffic, at least 1 required",
        ),
        (
            |b| {
                b.open(0);
                b.ledger(1, &[(0, 1, "Retire")]);
                b.head(0, "False", "EngineFailed");
            },
            |b| b.open(0),
            "g-0-head starts to take traffic although its goal is Some(Retire)",
        ),
        (
            |b| {
                b.ledger(1, &[(0, 1, "Serve")]);
                b.open(0);
            },
            |b| b.open(1),
            "g-1-head starts to take traffic although its goal is None",
        ),
    ];
    for (peace, breach, says) in cases {
        let bench = bench();
        peace(&bench);
        tokio::time::sleep(CARRIED_OUT + Duration::from_secs(1)).await;
        assert_eq!(bench.shared.state().breaches, Vec::<String>::new(), "before {says}");
        breach(&bench);
        let breaches = bench.shared.state().breaches.clone();
        let [only] = breaches.as_slice() else { panic!("{breaches:?}, not: {says}") };
        assert!(only.starts_with(says), "{only}, not: {says}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_fewest_groups_count_from_when_all_took_traffic_and_the_most_always() {
    let bench = bench();
    bench.open(0);
    bench.cluster(0);
    assert_eq!(bench.watch.extremes(), Extremes { fewest: None, most: 1 });
    bench.open(1);
    bench.head(0, "False", "EngineFailed");
    bench.open(0);
    bench.cluster(1);
    bench.api.delete(&Kind::RAY_CLUSTER, NAMESPACE, "g-1").unwrap();
    bench.watch.look();
    assert_eq!(bench.watch.extremes(), Extremes { fewest: Some(1), most: 2 });
    assert_eq!(bench.watch.groups_made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_gone_once_its_pods_hold_no_resources() {
    type Act = fn(&Bench);
    let ways: [(&str, Act); 3] = [
        ("its containers have ended", |b| {
            let ended = json!({"status": {"phase": "Failed"}});
            b.api.merge_patch_status(&Kind::POD, NAMESPACE, "g-2-w", &ended).unwrap();
        }),
        ("its node is lost", |b| {
            let lost = json!({"conditions": [{"type": "Ready", "status": "Unknown"}]});
            b.api.create(&Kind::NODE, json!({"metadata": {"name": "node-1"}})).unwrap();
            b.api.merge_patch_status(&Kind::NODE, "", "node-1", &json!({"status": lost})).unwrap();
        }),
        ("it only carries the labels", |b| {
            let loose = json!({"metadata": {"ownerReferences": null}});
            b.api.merge_patch(&Kind::POD, NAMESPACE, "g-2-w", &loose).unwrap();
        }),
    ];
    for (way, act) in ways {
        let bench = bench();
        (0..3).for_each(|n| bench.cluster(n));
        bench.leaves_a_pod(2);
        act(&bench);
        bench.watch.look();
        bench.cluster(3);
        assert_eq!(bench.shared.state().breaches, Vec::<String>::new(), "{way}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_suspended_by_others_costs_no_budget() {
    let bench = bench();
    (0..2).for_each(|n| bench.cluster(n));
    (0..2).for_each(|n| bench.open(n));
    bench.drain(0);
    let head = json!({"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray", "image": "ray"}]}}});
    let suspended = json!({"spec": {"suspend": true, "headGroupSpec": head}});
    bench.api.merge_patch(&Kind::RAY_CLUSTER, NAMESPACE, "g-1", &suspended).unwrap();
    bench.drain(1);
    assert_eq!(bench.shared.state().breaches, Vec::<String>::new());
}
