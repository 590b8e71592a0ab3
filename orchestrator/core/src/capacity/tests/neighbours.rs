//! Existing pods exclude others from their nodes, attract them, or count for their topology spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rayfleet_api::NodeName;
use rayfleet_api::valid::GroupShape;
use serde_json::{Value, json};

use super::super::{Capacity, Labels, Neighbour, NodeRoom, fits};
use super::{group, stackable, zoned};

fn labelled(pods: &[Value], labels: &[(&str, &str)]) -> GroupShape {
    let mut shape = group(pods);
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let labels = Arc::new(labels);
    shape.roles.iter_mut().for_each(|pod| pod.labels = labels.clone());
    shape
}

fn term(app: &str, key: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
}

fn affine(kind: &str, term: &Value) -> Value {
    let mut pod = stackable(1);
    pod["affinity"] = json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    pod
}

/// Two nodes in each of the zones a and b, with two GPUs each; the first node has a pod of `app: other`.
fn with_other(spec: &Value, namespace: &str) -> Capacity {
    let mut capacity = zoned(&[(2, "a"), (2, "a"), (2, "b"), (2, "b")]);
    put(&mut capacity.nodes[0], namespace, &[("app", "other")], spec);
    capacity
}

fn put(node: &mut NodeRoom, namespace: &str, labels: &[(&str, &str)], spec: &Value) {
    let pod = Neighbour::of(namespace, Labels::of(labels.iter().copied()), spec);
    node.pods.add(&Arc::new(pod), 1);
}

fn places(shape: &GroupShape, capacity: &Capacity) -> Vec<NodeName> {
    fits(shape, capacity).unwrap_or_default()
}

#[test]
fn anti_affinity_excludes_the_nodes_of_matching_pods() {
    let apart = |app: &str, key: &str| group(&[affine("podAntiAffinity", &term(app, key))]);
    let there = with_other(&json!({}), "");
    assert_eq!(places(&apart("other", "kubernetes.io/hostname"), &there), ["node-1"]);
    assert_eq!(places(&apart("other", "zone"), &there), ["node-2"]);
    assert_eq!(places(&apart("third", "zone"), &there), ["node-0"]);
    // Rules apply to the own namespace unless they name others.
    let elsewhere = with_other(&json!({}), "elsewhere");
    assert_eq!(places(&apart("other", "zone"), &elsewhere), ["node-0"]);
    for more in [json!({"namespaces": ["elsewhere"]}), json!({"namespaceSelector": {}})] {
        let mut term = term("other", "zone");
        term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(places(&group(&[affine("podAntiAffinity", &term)]), &elsewhere), ["node-2"], "{more}");
    }
}

#[test]
fn anti_affinity_of_existing_pods_excludes_a_new_one() {
    let theirs = affine("podAntiAffinity", &term("mine", "zone"));
    let there = with_other(&theirs, "");
    assert_eq!(places(&labelled(&[stackable(1)], &[("app", "mine")]), &there), ["node-2"]);
    assert_eq!(places(&labelled(&[stackable(1)], &[("app", "yours")]), &there), ["node-0"]);
}

#[test]
fn anti_affinity_between_groups_of_a_fleet_is_obeyed() {
    // Each pod needs a node without any other pod of the app, of any group.
    let pod = affine("podAntiAffinity", &term("llama", "kubernetes.io/hostname"));
    let shape = labelled(&[pod.clone(), pod.clone()], &[("app", "llama")]);
    let mut capacity = zoned(&[(2, "a"), (2, "a"), (2, "b")]);
    for node in &mut capacity.nodes[..2] {
        put(node, "", &[("app", "llama")], &pod);
    }
    let no_room = fits(&shape, &capacity).unwrap_err().to_string();
    assert!(no_room.contains("pods on 2 nodes with room rule them out"), "{no_room}");
    // A group that was placed a moment ago counts as well.
    let empty = zoned(&[(2, "a"), (2, "a"), (2, "b")]);
    let mut room = super::super::Room::of(&empty);
    assert!(room.place(&shape).is_ok());
    assert!(room.place(&shape).is_err());
}

#[test]
fn a_rule_about_the_own_group_ignores_other_groups() {
    let mut own = term("llama", "kubernetes.io/hostname");
    own["matchLabelKeys"] = json!(["rayfleet.io/group"]);
    let pod = affine("podAntiAffinity", &own);
    let mut capacity = zoned(&[(2, "a"), (2, "a")]);
    for node in &mut capacity.nodes {
        put(node, "", &[("app", "llama"), ("rayfleet.io/group", "llama-pods1-0")], &pod);
    }
    let shape = labelled(&[pod.clone(), pod], &[("app", "llama")]);
    assert_eq!(places(&shape, &capacity), ["node-0", "node-1"]);
    let mut room = super::super::Room::of(&capacity);
    let mut placed = || room.place(&shape).is_ok();
    assert_eq!([placed(), placed(), placed()], [true, true, false], "two new groups may share their nodes");
}

#[test]
fn affinity_selects_the_domain_of_matching_pods() {
    let near = |app: &str| {
        group(&[affine("podAffinity", &term(app, "zone")), affine("podAffinity", &term(app, "zone"))])
    };
    let mut there = zoned(&[(2, "a"), (2, "b"), (2, "b")]);
    put(&mut there.nodes[2], "", &[("app", "cache")], &json!({}));
    let places_of = |shape: &GroupShape| places(shape, &there);
    assert!(places_of(&near("cache")).iter().all(|node| node != "node-0"));
    assert!(!places_of(&near("nobody")).is_empty(), "the first pod of its kind has none to be near");
}

#[test]
fn a_host_port_is_used_once_per_node() {
    let holds = |port: u32, protocol: &str, address: Option<&str>| {
        let mut pod = stackable(1);
        pod["containers"][0]["ports"] =
            json!([{"containerPort": 1, "hostPort": port, "protocol": protocol, "hostIP": address}]);
        pod
    };
    let there = with_other(&holds(8000, "TCP", None), "any");
    assert_eq!(places(&group(&[holds(8000, "TCP", Some("10.0.0.1"))]), &there), ["node-1"]);
    assert_eq!(places(&group(&[holds(8000, "UDP", None)]), &there), ["node-0"]);
    assert_eq!(places(&group(&[holds(8001, "TCP", None)]), &there), ["node-0"]);
    let two = group(&[holds(8000, "TCP", None), holds(8000, "TCP", None)]);
    assert_eq!(places(&two, &there), ["node-1", "node-2"], "nor do two pods of one group share a host");
    let mut own_network = stackable(1);
    own_network["hostNetwork"] = json!(true);
    own_network["containers"][0]["ports"] = json!([{"containerPort": 8000}]);
    assert_eq!(places(&group(&[own_network]), &there), ["node-1"]);
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let means = |selector: Value, more: Value| {
        let mut term = json!({"topologyKey": "zone", "labelSelector": selector});
        term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let shape = labelled(&[affine("podAntiAffinity", &term)], &[("app", "other"), ("release", "2")]);
        places(&shape, &with_other(&json!({}), "")) == ["node-2"]
    };
    let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    assert!(means(json!({}), json!({})), "an empty selector matches every pod");
    assert!(!means(Value::Null, json!({})), "a missing one matches none");
    for (key, operator, values, holds) in [
        ("app", "In", ["other", "x"].as_slice(), true),
        ("app", "In", &["x"], false),
        ("app", "NotIn", &["x"], true),
        ("app", "NotIn", &["other"], false),
        ("app", "Exists", &[], true),
        ("tier", "Exists", &[], false),
        ("tier", "DoesNotExist", &[], true),
    ] {
        assert_eq!(means(expression(key, operator, values), json!({})), holds, "{key} {operator} {values:?}");
    }
    assert!(means(json!({}), json!({"matchLabelKeys": ["app"]})));
    assert!(!means(json!({}), json!({"matchLabelKeys": ["release"]})), "the pod there has no release");
    assert!(!means(json!({}), json!({"mismatchLabelKeys": ["app"]})));
}

#[test]
fn only_the_name_of_a_namespace_is_known() {
    let off = |selector: Value| {
        let mut term = term("other", "zone");
        term["namespaceSelector"] = selector;
        places(&group(&[affine("podAntiAffinity", &term)]), &with_other(&json!({}), "elsewhere"))
            == ["node-2"]
    };
    assert!(off(json!({"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}})));
    assert!(!off(json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}})));
    assert!(!off(json!({"matchLabels": {"team": "a"}})), "an unknown label matches nothing");
}

#[test]
fn a_pod_must_match_all_affinity_terms() {
    let mut pod = affine("podAffinity", &term("cache", "zone"));
    let terms =
        pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"].as_array_mut();
    let tier = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"tier": "hot"}}});
    terms.unwrap().push(tier);
    let mut there = zoned(&[(2, "a"), (2, "b")]);
    put(&mut there.nodes[0], "", &[("app", "cache"), ("tier", "cold")], &json!({}));
    put(&mut there.nodes[1], "", &[("app", "cache"), ("tier", "hot")], &json!({}));
    assert_eq!(places(&group(&[pod]), &there), ["node-1"]);
}

#[test]
fn the_memory_of_a_pod_is_bounded() {
    let many: BTreeMap<String, String> =
        (0..1_000).map(|number| (format!("label-{number:04}"), "v".repeat(60))).collect();
    let labels = Labels::from(&many);
    assert_eq!(labels.get("label-0000"), Some("v".repeat(60).as_str()));
    assert_eq!(labels.get("label-0999"), None);
    assert!(format!("{labels:?}").len() < 3_000);
    let terms: Vec<Value> = (0..100).map(|number| term(&format!("app-{number}"), "zone")).collect();
    let spec = json!({
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "hostNetwork": true,
        "containers": [{"ports": (0..1_000).map(|number| json!({"containerPort": number})).collect::<Vec<_>>()}]
    });
    let pod = Neighbour::of("n", labels, &spec);
    assert_eq!((pod.apart.len(), pod.ports.len()), (0, 64));
}

/// Whether the scheduler could place `pods` pods one after the other in zones with existing ones: each where
/// the zone then has at most `skew` more than the emptiest.
fn spreads(pods: usize, free: &mut [(u32, usize)], skew: usize) -> bool {
    if pods == 0 {
        return true;
    }
    (0..free.len()).any(|zone| {
        let least = free.iter().map(|(_, count)| *count).min().unwrap_or_default();
        if free[zone].0 == 0 || free[zone].1 + 1 - least > skew {
            return false;
        }
        free[zone].0 -= 1;
        free[zone].1 += 1;
        let works = spreads(pods - 1, free, skew);
        free[zone].0 += 1;
        free[zone].1 -= 1;
        works
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_agrees_with_brute_force_about_existing_pods(
        pods in 1..6_usize,
        zones in prop::collection::vec((0..4_u32, 1..4_usize), 1..4),
        skew in 1..3_usize,
    ) {
        let mut spec = stackable(1);
        let selector = json!({"matchLabels": {"app": "x"}});
        spec["topologySpreadConstraints"] = json!([{"topologyKey": "zone", "maxSkew": skew, "labelSelector": selector}]);
        let names = ["a", "b", "c", "d"];
        let nodes: Vec<(u32, &str)> = zones.iter().zip(names).map(|((free, _), name)| (*free, name)).collect();
        let mut capacity = zoned(&nodes);
        for (node, (_, there)) in capacity.nodes.iter_mut().zip(&zones) {
            (0..*there).for_each(|_| put(node, "", &[("app", "x")], &json!({})));
        }
        let shape = labelled(&vec![spec; pods], &[("app", "x")]);
        let mut free = zones.clone();
        prop_assert_eq!(fits(&shape, &capacity).is_ok(), spreads(pods, &mut free, skew));
    }
}

/// Pods with all kinds of rules about each other.
fn pods() -> impl Strategy<Value = (Value, &'static str)> {
    let rule = prop_oneof![
        Just(json!({})),
        ("podAntiAffinity|podAffinity", "x|y", "zone|kubernetes.io/hostname")
            .prop_map(|(kind, app, key)| { affine(&kind, &term(&app, &key)) }),
        (8_000..8_002_u32)
            .prop_map(|port| json!({"containers": [{"ports": [{"containerPort": 1, "hostPort": port}]}]})),
        (1..3_usize, "x|y").prop_map(|(skew, app)| json!({"topologySpreadConstraints": [
            {"topologyKey": "zone", "maxSkew": skew, "labelSelector": {"matchLabels": {"app": app}}}
        ]})),
    ];
    (rule, prop_oneof![Just("x"), Just("y")])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Incremental updates while groups are placed give the same result as a computation from scratch.
    #[test]
    fn placed_groups_count_like_existing_ones(
        groups in prop::collection::vec((prop::collection::vec(pods(), 1..3), 0..3_usize), 1..5),
        zones in prop::collection::vec("a|b", 2..6),
    ) {
        let nodes: Vec<(u32, &str)> = zones.iter().map(|zone| (3, zone.as_str())).collect();
        let empty = zoned(&nodes);
        let mut there = empty.clone();
        let mut room = super::super::Room::of(&empty);
        for (pods, reserved) in groups {
            let mut shape = group(&pods.iter().map(|(spec, _)| spec.clone()).collect::<Vec<_>>());
            for (role, (_, app)) in shape.roles.iter_mut().zip(&pods) {
                role.labels = Arc::new([("app".to_owned(), (*app).to_owned())].into());
            }
            let kept = room.place(&shape);
            prop_assert_eq!(kept.is_ok(), fits(&shape, &there).is_ok());
            for (role, name) in shape.roles.iter().zip(kept.into_iter().flatten()) {
                let node = there.nodes.iter_mut().find(|node| node.name == name).unwrap();
                node.take(&super::super::requests(&role.spec));
                put(node, "", &[("app", role.labels["app"].as_str())], &role.spec);
            }
            // Waiting pods and pods that are about to be created count alike for later ones.
            let role = &shape.roles[0];
            room.reserve(role, reserved);
            there.pending = (0..reserved).map(|_| super::super::PendingPod {
                spec: role.spec.clone(),
                pod: Arc::new(Neighbour::of("", Labels::from(&*role.labels), &role.spec)),
                ..Default::default()
            }).collect();
            there = there.settled();
        }
    }
}

#[test]
fn a_spread_rule_of_an_earlier_group_applies_to_that_group_only() {
    let spread = |app: &str| {
        let selector = json!({"matchLabels": {"app": app}});
        json!({"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 1, "labelSelector": selector}]})
    };
    let of_x = |specs: &[Value]| {
        let mut shape = group(specs);
        for role in &mut shape.roles {
            role.labels = Arc::new([("app".to_owned(), "x".to_owned())].into());
        }
        shape
    };
    let capacity = zoned(&[(3, "a"), (3, "b")]);
    let mut room = super::super::Room::of(&capacity);
    // Two in one zone, and in the other one that excludes further ones.
    let first = of_x(&[spread("x"), affine("podAntiAffinity", &term("x", "zone"))]);
    room.place(&first).unwrap();
    room.reserve(&first.roles[0], 1);
    // None of the pods that this rule matches exists.
    assert!(room.place(&of_x(&[spread("y")])).is_ok());
}
