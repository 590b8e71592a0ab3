//! What it costs to look for room, in looks: however a tenant writes its pods, it is bounded, and what is beyond the bound is no room for
//! those who ask and nobody's place for those who wait.

use std::sync::Arc;

use rayfleet_api::valid::GroupShape;
use serde_json::{Value, json};

use super::super::budget::Budget;
use super::super::eligible::eligible;
use super::super::room::{self, Room};
use super::super::settle::{self, settle};
use super::super::{Capacity, Labels, Neighbour, PendingPod, Taint};
use super::{group, stackable};
use crate::testing::nodes;

/// A group with so many workers of one spec.
fn workers(count: usize, spec: Value) -> GroupShape {
    let mut shape = group(&[stackable(0), spec]);
    shape.roles[1].count = count;
    shape
}

/// Whether a group has room, and what that cost.
fn placed(capacity: &Capacity, shape: &GroupShape) -> (bool, usize) {
    let mut room = Room::of(capacity);
    let fits = room.place(shape).is_ok();
    (fits, room::LOOKS - room.budget.left())
}

fn anti_affinity(terms: &[Value]) -> Value {
    let mut pod = stackable(0);
    pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!(terms);
    pod
}

fn demands(count: usize) -> Value {
    json!(vec![json!({"key": "x", "operator": "DoesNotExist"}); count])
}

#[test]
fn keys_of_anti_affinity_are_counted_at_each_look() {
    let terms = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"topologyKey": format!("a{n:04}"), "labelSelector": {}})).collect()
    };
    let capacity = nodes(&[8; 100]);
    let cost = |keys: usize| placed(&capacity, &workers(100, anti_affinity(&terms(keys)))).1;
    let (few, many) = (cost(10), cost(1_000));
    assert!(many - few >= 100 * 990, "each pod is held against each key: {few}, {many}");
    let mut room = Room::of(&capacity);
    let no_room = room.place(&workers(2_000, anti_affinity(&terms(5_000)))).unwrap_err();
    assert!(room.budget.is_spent());
    assert!(no_room.to_string().contains("; given up, as the scheduling rules"), "{no_room}");
    assert!(room.place(&group(&[stackable(1)])).is_err(), "nothing more has room in this pass");
}

#[test]
fn a_group_of_two_thousand_pods_costs_as_many_looks_as_pods_whether_it_fits_or_not() {
    let (fits, looks) = placed(&nodes(&[1; 2_000]), &workers(2_000, stackable(1)));
    assert!(fits && looks < 200_000, "{looks}");
    let (fits, looks) = placed(&nodes(&[1; 1_999]), &workers(2_000, stackable(1)));
    assert!(!fits && looks < 200_000, "{looks}");
    let apart = anti_affinity(&[json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}})]);
    let (fits, looks) = placed(&nodes(&[1; 2_100]), &workers(2_000, apart.clone()));
    assert!(fits && looks < 500_000, "{looks}");
    let (fits, looks) = placed(&nodes(&[1; 1_999]), &workers(2_000, apart));
    assert!(!fits && looks < 500_000, "{looks}");
}

#[test]
fn a_group_that_has_to_be_together_on_one_of_many_nodes_costs_no_more_than_it_may() {
    let mut near = stackable(4);
    near["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}]);
    let (fits, looks) = placed(&nodes(&[4; 2_000]), &workers(2, near));
    assert!(!fits && looks < 200_000, "{looks}");
}

#[test]
fn many_roles_cost_no_more_than_they_may() {
    let roles: Vec<Value> =
        (0..2_000).map(|n| json!({"containers": [{}], "hostname": n.to_string()})).collect();
    let capacity = nodes(&vec![8; 5_000]);
    let mut room = Room::of(&capacity);
    assert!(room.place(&group(&roles)).is_err());
    assert!(room.budget.is_spent() && room.kinds.len() < 1_000, "{}", room.kinds.len());
}

/// Pods that wait with `affinity` and the like, beside so many that run and have so many labels.
fn beside(running: usize, labels: usize, waiting: usize, spec: &Value) -> Capacity {
    let mut capacity = nodes(&[8; 10]);
    for number in 0..running {
        let labels: Vec<(String, String)> =
            (0..labels).map(|label| (format!("{label}"), format!("{number}"))).collect();
        let labels = Labels::of(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let pod = Arc::new(Neighbour::of("n", labels, &Value::Null));
        capacity.nodes[number % 10].pods.add(&pod, 1);
    }
    capacity.pending = (0..waiting)
        .map(|number| {
            let app = number.to_string();
            PendingPod {
                name: format!("n/{number:04}"),
                pod: Arc::new(Neighbour::of("n", Labels::of([("i", app.as_str())]), spec)),
                spec: Arc::new(spec.clone()),
            }
        })
        .collect();
    capacity
}

fn looks(capacity: &Capacity) -> usize {
    settle::LOOKS - settle(capacity).budget.left()
}

#[test]
fn demands_on_labels_are_counted_for_each_pod_that_they_are_held_against() {
    let selector = json!({"matchExpressions": demands(95)});
    let term = json!({"topologyKey": "zone", "labelSelector": selector});
    let rules = anti_affinity(std::slice::from_ref(&term));
    let cost = looks(&beside(20, 100, 10, &rules));
    assert!((20 * 10 * 95..20 * 10 * 95 * 3).contains(&cost), "{cost}");
    let settled = beside(300, 100, 300, &rules);
    assert!(settle(&settled).budget.is_spent(), "8.5 million demands are more than is looked at");
    let mut elsewhere = term;
    elsewhere["namespaces"] = json!(["m"]);
    let cost = looks(&beside(20, 100, 10, &anti_affinity(&[elsewhere])));
    assert!(cost < 20 * 10 * 95 / 2, "the namespace is asked before the labels: {cost}");
}

#[test]
fn rules_of_those_that_run_are_counted_too() {
    let selector = json!({"matchExpressions": demands(95)});
    let rules = anti_affinity(&[json!({"topologyKey": "zone", "labelSelector": selector})]);
    let mut capacity = beside(0, 0, 10, &stackable(1));
    let pod = Arc::new(Neighbour::of("n", Labels::default(), &rules));
    capacity.nodes.iter_mut().for_each(|node| node.pods.add(&pod, 1));
    let cost = looks(&capacity);
    assert!((10 * 10 * 95..10 * 10 * 95 * 2).contains(&cost), "{cost}");
}

#[test]
fn rules_to_spread_and_tolerations_are_counted_for_each_node() {
    let mut spread = stackable(1);
    spread["topologySpreadConstraints"] = json!(vec![json!({"topologyKey": "zone", "maxSkew": 1}); 130]);
    let cost = looks(&beside(0, 0, 1, &spread));
    assert!((10 * 130..10 * 130 * 3).contains(&cost), "{cost}");
    let mut tolerant = stackable(1);
    tolerant["tolerations"] = json!(vec![json!({"key": "a"}); 700]);
    let mut capacity = beside(0, 0, 1, &tolerant);
    let taint = Taint { key: "b".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    capacity.nodes.iter_mut().for_each(|node| node.taints.push(taint.clone()));
    let cost = looks(&capacity);
    assert!((10 * 700..10 * 700 * 2).contains(&cost), "{cost}");
    let mut choosy = stackable(1);
    let values: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    choosy["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": values}]}]
    });
    let budget = Budget::of(10_000);
    assert!(!eligible(&choosy, &capacity.nodes[0], &budget));
    assert!(budget.left() < 9_500);
}

#[test]
fn a_pending_pod_that_costs_too_much_is_not_counted() {
    // Each has hundreds of rules for every pod that runs; none of them is given a node by halves.
    let rules = anti_affinity(&vec![
        json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}});
        50
    ]);
    let capacity = beside(50_000, 1, 2, &rules);
    let settled = settle(&capacity);
    assert!(settled.budget.is_spent());
    assert!(settled.joined.is_empty() && settled.free.claimed.is_empty());
    let mut room = Room::of(&capacity);
    assert!(room.place(&group(&[stackable(1)])).is_ok(), "the fleet's own budget is another one");
}

#[test]
fn every_label_is_found_and_no_other() {
    let all: Vec<String> = (0..200).map(|n| format!("k{}", n * 2)).collect();
    let labels = Labels::of(all.iter().map(|key| (key.as_str(), key.trim_start_matches('k'))));
    for key in &all {
        assert_eq!(labels.get(key), Some(key.trim_start_matches('k')));
        assert_eq!(labels.get(&format!("{key}x")), None);
    }
    for none in ["", "a", "k", "k1", "k399", "z", "k0="] {
        assert_eq!(labels.get(none), None, "{none}");
    }
    let odd = Labels::of([("b", ""), ("a-c", "2"), ("a", "1=2"), ("a/b", "3")]);
    let found = ["a", "a-c", "a/b", "b"].map(|key| odd.get(key));
    assert_eq!(found, [Some("1=2"), Some("2"), Some("3"), Some("")]);
    assert_eq!(Labels::default().get("a"), None);
}
