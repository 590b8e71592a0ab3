//! Whether a whole group fits, on small clusters that a reader can check by hand.

mod brute_force;
mod cost;
mod neighbours;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::valid::{GroupShape, PodShape};
use serde_json::{Value, json};

use super::{Capacity, NodeRoom, PendingPod, Resources, Share, Taint, fits};
use crate::testing::{gpu_pod, gpus, nodes, shape};

fn group(pods: &[Value]) -> GroupShape {
    let pod = |(number, spec): (usize, &Value)| PodShape {
        role: if number == 0 { "head" } else { "w" }.to_owned(),
        count: 1,
        gpus: 0,
        labels: Arc::default(),
        spec: spec.clone().into(),
    };
    GroupShape { roles: pods.iter().enumerate().map(pod).collect() }
}

/// GPUs without anti-affinity.
fn stackable(gpus: u32) -> Value {
    json!({"containers": [{"resources": {"limits": {"nvidia.com/gpu": gpus}}}]})
}

#[test]
fn pods_of_a_group_are_placed_on_separate_nodes() {
    assert_eq!(fits(&shape(), &nodes(&[1, 1])).unwrap(), ["node-0", "node-1"]);
    let no_room = fits(&shape(), &nodes(&[2, 0])).unwrap_err();
    assert_eq!(no_room.to_string(), "needs 2 nodes x 1 nvidia.com/gpu; best free: 2 + 0");
}

#[test]
fn pods_without_anti_affinity_share_a_node() {
    let shape = group(&[stackable(1), stackable(1)]);
    assert_eq!(fits(&shape, &nodes(&[0, 2])).unwrap(), ["node-1", "node-1"]);
    assert_eq!(fits(&shape, &nodes(&[1, 0])).unwrap_err().needs, "2 pods x 1 nvidia.com/gpu");
}

#[test]
fn enough_gpus_in_total_are_not_sufficient() {
    let shape = group(&[gpu_pod(8), gpu_pod(8)]);
    let no_room = fits(&shape, &nodes(&[8, 4, 4])).unwrap_err();
    assert_eq!(no_room.to_string(), "needs 2 nodes x 8 nvidia.com/gpu; best free: 8 + 4 + 4");
}

#[test]
fn hard_pods_are_placed_before_easy_ones() {
    let shape = group(&[stackable(1), stackable(4)]);
    assert_eq!(fits(&shape, &nodes(&[4, 1])).unwrap(), ["node-1", "node-0"]);
}

#[test]
fn running_and_waiting_pods_take_room() {
    let mut capacity = nodes(&[1, 1, 1]);
    capacity.nodes[0].take(&gpus(1));
    assert_eq!(fits(&shape(), &capacity).unwrap(), ["node-1", "node-2"]);
    capacity.pending.push(PendingPod {
        name: "other/pod".to_owned(),
        spec: stackable(1).into(),
        ..PendingPod::default()
    });
    assert!(fits(&shape(), &capacity).is_err());
    capacity.pending[0].spec = stackable(64).into();
    assert!(fits(&shape(), &capacity).is_ok(), "a pod that fits nowhere takes no room");
}

#[test]
fn a_quota_is_checked_before_the_nodes() {
    let mut capacity = nodes(&[1, 1]);
    let left = |gpus: i128| super::Quota {
        name: "team".to_owned(),
        left: BTreeMap::from([("requests.nvidia.com/gpu".to_owned(), gpus * 1_000)]),
        ..super::Quota::default()
    };
    capacity.quotas = vec![left(2)];
    assert!(fits(&shape(), &capacity).is_ok());
    capacity.quotas.push(left(1));
    let no_room = fits(&shape(), &capacity).unwrap_err().to_string();
    assert_eq!(no_room, "needs 2 requests.nvidia.com/gpu; ResourceQuota team leaves 1");
    // Pods that wait for a node exist, so the quota counts them already.
    capacity.quotas = vec![left(2)];
    capacity.nodes.push(capacity.nodes[0].clone());
    capacity.pending.push(PendingPod {
        name: "other/pod".to_owned(),
        spec: stackable(1).into(),
        ..PendingPod::default()
    });
    assert!(fits(&shape(), &capacity).is_ok());
    let mut room = super::Room::of(&capacity);
    room.reserve(&group(&[stackable(1)]).roles[0], 1);
    assert!(room.place(&shape()).is_err(), "a group that is about to be created is not counted yet");
}

#[test]
fn a_placed_group_is_subtracted_from_the_quota() {
    let mut capacity = nodes(&[8, 8]);
    capacity.quotas = vec![super::Quota {
        left: BTreeMap::from([("requests.nvidia.com/gpu".to_owned(), 4_000)]),
        ..super::Quota::default()
    }];
    let mut room = super::Room::of(&capacity);
    let mut placed = || room.place(&shape()).is_ok();
    assert_eq!([placed(), placed(), placed()], [true, true, false]);
}

#[test]
fn every_resource_counts() {
    let pod = json!({"containers": [{"resources": {
        "limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "4", "memory": "8Gi"}
    }}]});
    let mut capacity = nodes(&[1]);
    let node = &mut capacity.nodes[0];
    let has = |allocatable: i128| Share { allocatable, requested: 0 };
    node.shares.insert("cpu".into(), has(3_500));
    node.shares.insert("memory".into(), has((16_i128 << 30) * 1_000));
    let no_room = fits(&group(&[pod]), &capacity).unwrap_err();
    assert_eq!(no_room.to_string(), "needs 1 pod x 4 cpu; best free: 3500m");
}

#[test]
fn ineligible_nodes_are_not_used() {
    type Edit = dyn Fn(&mut NodeRoom);
    let cases: [(&str, &Edit); 4] = [
        ("cordoned", &|node| node.unschedulable = true),
        ("not ready", &|node| node.ready = false),
        ("tainted", &|node| {
            node.taints.push(Taint {
                key: "gpu".to_owned(),
                effect: "NoSchedule".to_owned(),
                ..Taint::default()
            });
        }),
        ("evicting", &|node| {
            node.taints.push(Taint {
                key: "gone".to_owned(),
                effect: "NoExecute".to_owned(),
                ..Taint::default()
            });
        }),
    ];
    for (what, edit) in cases {
        let mut capacity = nodes(&[1, 1]);
        edit(&mut capacity.nodes[1]);
        assert!(fits(&shape(), &capacity).is_err(), "{what}");
    }
}

#[test]
fn no_eligible_node_is_reported() {
    let mut capacity = nodes(&[1, 1]);
    capacity.nodes.iter_mut().for_each(|node| node.unschedulable = true);
    let free = fits(&shape(), &capacity).unwrap_err().free;
    assert!(free.starts_with("none of 2 nodes may run pod `head`: check its nodeSelector"), "{free}");
}

#[test]
fn tolerations_match_as_in_kubernetes() {
    let taint = Taint { key: "gpu".to_owned(), value: "a".to_owned(), effect: "NoSchedule".to_owned() };
    let cases = [
        (json!({"key": "gpu", "operator": "Exists"}), true),
        (json!({"operator": "Exists"}), true),
        (json!({"key": "gpu", "value": "a"}), true),
        (json!({"key": "gpu", "operator": "Equal", "value": "b"}), false),
        (json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"key": "other", "operator": "Exists"}), false),
        (json!({"key": "other", "value": "a"}), false),
        (json!({"value": "a"}), false),
        (json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}), true),
    ];
    for (toleration, expected) in cases {
        let mut pod = stackable(1);
        pod["tolerations"] = json!([toleration]);
        let mut capacity = nodes(&[1]);
        capacity.nodes[0].taints.push(taint.clone());
        assert_eq!(fits(&group(&[pod]), &capacity).is_ok(), expected, "{toleration}");
    }
    let mut capacity = nodes(&[1]);
    capacity.nodes[0].taints.push(Taint { effect: "PreferNoSchedule".to_owned(), ..taint });
    assert!(fits(&group(&[stackable(1)]), &capacity).is_ok());
}

#[test]
fn selectors_and_affinity_match_as_in_kubernetes() {
    let expression = |operator: &str, values: &[&str]| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}]
        }}}})
    };
    let named = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}]
    }}}});
    let cases = [
        (json!({"nodeSelector": {"zone": "5"}}), true),
        (json!({"nodeSelector": {"zone": "6"}}), false),
        (expression("In", &["4", "5"]), true),
        (expression("In", &["4"]), false),
        (expression("NotIn", &["4"]), true),
        (expression("NotIn", &["5"]), false),
        (expression("Exists", &[]), true),
        (expression("DoesNotExist", &[]), false),
        (expression("Gt", &["4"]), true),
        (expression("Gt", &["5"]), false),
        (expression("Lt", &["5"]), false),
        (expression("Lt", &["6"]), true),
        (expression("Invented", &[]), false),
        (named, true),
    ];
    for (constraint, expected) in cases {
        let mut pod = stackable(1);
        for (key, value) in constraint.as_object().unwrap() {
            pod[key] = value.clone();
        }
        let mut capacity = nodes(&[1]);
        capacity.nodes[0].labels = BTreeMap::from([("zone".to_owned(), "5".to_owned())]);
        assert_eq!(fits(&group(&[pod]), &capacity).is_ok(), expected, "{constraint}");
    }
}

#[test]
fn only_the_first_of_many_nodes_are_listed() {
    let free = |count: usize| fits(&group(&[stackable(2)]), &nodes(&vec![1; count])).unwrap_err().free;
    assert_eq!(free(8), format!("best free: {}", ["1"; 8].join(" + ")));
    assert_eq!(free(9), format!("best free: {} + ...", ["1"; 8].join(" + ")));
}

#[test]
fn pods_that_ask_for_different_amounts_are_distinguished() {
    let needs = |pods: &[Value]| fits(&group(pods), &nodes(&[0])).unwrap_err().needs;
    assert_eq!(
        needs(&[stackable(1), gpu_pod(2), gpu_pod(2)]),
        "2 nodes x 2 nvidia.com/gpu + 1 pod x 1 nvidia.com/gpu"
    );
    assert_eq!(needs(&[gpu_pod(1), stackable(1)]), "2 pods x 1 nvidia.com/gpu", "one may share");
    assert_eq!(needs(&[gpu_pod(1)]), "1 node x 1 nvidia.com/gpu");
}

#[test]
fn free_amounts_are_those_of_eligible_nodes() {
    let mut capacity = nodes(&[1, 1, 0]);
    capacity.nodes[0].unschedulable = true;
    capacity.nodes[2].take(&gpus(4));
    let no_room = fits(&group(&[json!({}), stackable(2)]), &capacity).unwrap_err();
    assert_eq!(
        no_room.to_string(),
        "needs 1 pod x 2 nvidia.com/gpu + 1 pod x 0 nvidia.com/gpu; best free: 1 + 0"
    );
}

#[test]
fn the_fullest_node_with_room_is_used_first() {
    let one = |free: &[u32]| fits(&group(&[stackable(1)]), &nodes(free)).unwrap();
    assert_eq!(one(&[4, 2, 8]), ["node-1"]);
    let capacity = nodes(&[2, 3]);
    let mut room = super::Room::of(&capacity);
    let mut next = || room.place(&group(&[stackable(1)])).map(|places| places[0].clone());
    let taken: Vec<_> = (0..5).map(|_| next().unwrap()).collect();
    assert_eq!(taken, ["node-0", "node-0", "node-1", "node-1", "node-1"]);
    assert!(next().is_err());
}

#[test]
fn an_invalid_pod_spec_does_not_panic() {
    for spec in [
        json!(null),
        json!([]),
        json!({"containers": "x", "tolerations": 3, "affinity": []}),
        json!({"containers": [{"resources": {"limits": {"cpu": "many"}}}]}),
    ] {
        assert!(fits(&group(&[spec]), &nodes(&[1])).is_ok());
    }
}

/// Nodes with this many free GPUs, each in a zone.
fn zoned(free: &[(u32, &str)]) -> Capacity {
    let mut capacity = nodes(&free.iter().map(|(gpus, _)| *gpus).collect::<Vec<_>>());
    for (node, (_, zone)) in capacity.nodes.iter_mut().zip(free) {
        node.labels.insert("zone".to_owned(), (*zone).to_owned());
    }
    capacity
}

fn with(mut pod: Value, affinity: &str, key: &str) -> Value {
    pod["affinity"][affinity]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!([{"topologyKey": key, "labelSelector": {}}]);
    pod
}

#[test]
fn pods_with_affinity_share_one_domain() {
    let pod = || with(stackable(1), "podAffinity", "zone");
    let shape = group(&[pod(), pod()]);
    let capacity = zoned(&[(1, "a"), (1, "b"), (1, "b")]);
    assert_eq!(fits(&shape, &capacity).unwrap(), ["node-1", "node-2"]);
    let no_room = fits(&shape, &zoned(&[(1, "a"), (1, "b"), (0, "b")])).unwrap_err().to_string();
    assert_eq!(no_room, "needs 2 pods x 1 nvidia.com/gpu in one zone; best free: 1 + 1 + 0");
    assert!(fits(&shape, &nodes(&[2])).is_err(), "a node without the label is in no zone");
}

#[test]
fn pods_with_anti_affinity_are_in_separate_domains() {
    let pod = || with(stackable(1), "podAntiAffinity", "zone");
    let shape = group(&[pod(), pod()]);
    assert!(fits(&shape, &zoned(&[(1, "a"), (1, "a")])).is_err());
    assert_eq!(fits(&shape, &zoned(&[(1, "a"), (1, "a"), (2, "b")])).unwrap(), ["node-0", "node-2"]);
}

#[test]
fn pods_with_a_spread_rule_are_spread() {
    let pod = |skew: u32, when: &str| {
        let mut pod = stackable(1);
        pod["topologySpreadConstraints"] =
            json!([{"topologyKey": "zone", "maxSkew": skew, "whenUnsatisfiable": when}]);
        pod
    };
    let four = |skew, when| group(&[pod(skew, when), pod(skew, when), pod(skew, when), pod(skew, when)]);
    let capacity = zoned(&[(4, "a"), (1, "b")]);
    let no_room = fits(&four(1, "DoNotSchedule"), &capacity).unwrap_err().needs;
    assert_eq!(no_room, "4 pods x 1 nvidia.com/gpu spread over zone (maxSkew 1)");
    assert!(fits(&four(2, "DoNotSchedule"), &capacity).is_ok());
    assert!(fits(&four(1, "ScheduleAnyway"), &capacity).is_ok());
    let even = fits(&four(1, "DoNotSchedule"), &zoned(&[(4, "a"), (2, "b")])).unwrap();
    assert_eq!(even.iter().filter(|node| *node == "node-1").count(), 2);
    let three = fits(&four(1, "DoNotSchedule"), &zoned(&[(2, "a"), (2, "b"), (4, "c")])).unwrap();
    assert!(three.contains(&"node-2".into()), "two, two and none are not even: {three:?}");
}

#[test]
fn every_spread_rule_counts() {
    let mut pod = stackable(1);
    pod["topologySpreadConstraints"] =
        json!([{"topologyKey": "zone", "maxSkew": 1}, {"topologyKey": "rack", "maxSkew": 1}]);
    let mut capacity = zoned(&[(1, "a"), (1, "b"), (2, "b")]);
    assert!(fits(&group(&[pod.clone()]), &capacity).is_err(), "no node has a rack");
    for (node, rack) in capacity.nodes.iter_mut().zip(["r", "r", "s"]) {
        node.labels.insert("rack".to_owned(), rack.to_owned());
    }
    assert_eq!(fits(&group(&[pod.clone(), pod]), &capacity).unwrap(), ["node-0", "node-2"]);
}

/// In another order the search would give up before it finds the solution.
#[test]
fn the_pod_that_fits_on_the_fewest_nodes_is_placed_first() {
    let mut bound = gpu_pod(1);
    bound["nodeSelector"] = json!({"disk": "fast"});
    let mut pods = vec![gpu_pod(1); 10];
    pods.push(bound);
    let mut capacity = nodes(&[1; 24]);
    capacity.nodes[0].labels.insert("disk".to_owned(), "fast".to_owned());
    assert_eq!(fits(&group(&pods), &capacity).unwrap()[10], "node-0");
}

/// If balance were only checked at the end, the search would fail too often.
#[test]
fn pods_are_spread_over_many_nodes() {
    let mut pod = stackable(1);
    pod["topologySpreadConstraints"] = json!([{"topologyKey": "zone", "maxSkew": 1}]);
    let free: Vec<_> = [(1, "a"); 20].into_iter().chain([(2, "b"); 20]).collect();
    let places = fits(&group(&vec![pod; 8]), &zoned(&free)).unwrap();
    let in_a = free
        .iter()
        .zip(0..)
        .filter(|((_, zone), at)| *zone == "a" && places.contains(&format!("node-{at}").into()));
    assert!((3..=5).contains(&in_a.count()), "{places:?}");
}

#[test]
fn a_search_above_its_limit_is_given_up() {
    let pod = |number: usize| {
        let mut pod = stackable(1);
        pod["hostname"] = json!(number.to_string());
        pod
    };
    let pods: Vec<Value> = (0..13).map(pod).collect();
    assert!(fits(&group(&pods), &nodes(&[1; 12])).is_err());
}

#[test]
fn waiting_pods_take_room_in_the_order_of_their_names() {
    let waiting = |names: [&str; 2]| {
        let mut capacity = nodes(&[3]);
        let pods = names.iter().zip([stackable(3), stackable(1)]);
        capacity.pending = pods
            .map(|(name, spec)| PendingPod {
                name: (*name).to_owned(),
                spec: spec.into(),
                ..PendingPod::default()
            })
            .collect();
        fits(&group(&[stackable(2)]), &capacity).is_ok()
    };
    assert!(!waiting(["a", "b"]), "the one for three GPUs has taken all");
    assert!(waiting(["b", "a"]));
}

#[test]
fn a_rule_about_a_label_ignores_nodes_without_it() {
    let pod = || with(stackable(1), "podAntiAffinity", "zone");
    assert_eq!(fits(&group(&[pod(), pod()]), &nodes(&[2])).unwrap(), ["node-0", "node-0"]);
}

#[test]
fn a_node_needs_every_label_of_the_rules() {
    let mut pod = with(stackable(1), "podAffinity", "rack");
    let terms = &mut pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    terms.as_array_mut().unwrap().push(json!({"topologyKey": "zone", "labelSelector": {}}));
    let mut capacity = nodes(&[1]);
    for (label, enough) in [("rack", false), ("zone", true)] {
        capacity.nodes[0].labels.insert(label.to_owned(), "x".to_owned());
        assert_eq!(fits(&group(&[pod.clone()]), &capacity).is_ok(), enough, "{label}");
    }
}

#[test]
fn pods_with_affinity_may_share_a_node() {
    let pod = || with(stackable(1), "podAffinity", "kubernetes.io/hostname");
    assert_eq!(fits(&group(&[pod(), pod()]), &nodes(&[1, 1, 2])).unwrap(), ["node-2", "node-2"]);
}

#[test]
fn an_overdrawn_resource_does_not_matter_without_a_request_for_it() {
    let mut capacity = nodes(&[1]);
    capacity.nodes[0].take(&gpus(4));
    assert!(fits(&group(&[stackable(0), stackable(0)]), &capacity).is_ok());
}

#[test]
fn only_pods_with_the_affinity_must_share_a_domain() {
    let together = || with(stackable(2), "podAffinity", "zone");
    let shape = group(&[together(), stackable(1), together()]);
    let capacity = zoned(&[(2, "b"), (2, "a"), (1, "c"), (2, "a")]);
    assert_eq!(fits(&shape, &capacity).unwrap(), ["node-1", "node-2", "node-3"]);
}

#[test]
fn a_dead_end_is_backtracked() {
    let pods = [4, 4, 3, 3].map(stackable);
    let places = fits(&group(&pods), &nodes(&[8, 6])).unwrap();
    assert_eq!(places, ["node-0", "node-0", "node-1", "node-1"]);
}

#[test]
fn a_node_with_less_room_keeps_its_order() {
    let capacity = nodes(&[1, 1, 5]);
    let mut room = super::Room::of(&capacity);
    let taken: Vec<_> =
        [1, 2, 1].into_iter().flat_map(|gpus| room.place(&group(&[stackable(gpus)])).unwrap()).collect();
    assert_eq!(taken, ["node-0", "node-2", "node-1"]);
}

#[test]
fn room_that_is_taken_is_not_available_to_the_next() {
    let capacity = nodes(&[2, 2, 2, 2]);
    let mut room = super::Room::of(&capacity);
    let pods = shape();
    let mut places: Vec<_> = (0..4).flat_map(|_| room.place(&pods).unwrap()).collect();
    assert!(room.place(&pods).is_err());
    places.sort();
    assert_eq!(places, ["node-0", "node-0", "node-1", "node-1", "node-2", "node-2", "node-3", "node-3"]);
}

#[test]
fn a_resource_without_a_request_is_never_short() {
    let mut capacity = nodes(&[1, 1]);
    for node in &mut capacity.nodes {
        node.take(&Resources::from([("example.com/a".to_owned(), 1_000)]));
    }
    let mut pod = stackable(2);
    pod["containers"][0]["resources"]["limits"]["example.com/a"] = json!("0");
    let no_room = fits(&group(&[pod]), &capacity).unwrap_err();
    assert!(no_room.needs.contains("nvidia.com/gpu"), "{no_room:?}");
}

#[test]
fn at_most_what_was_taken_is_given_back() {
    let mut node = nodes(&[2]).nodes.remove(0);
    let asked = Resources::from([("nvidia.com/gpu".to_owned(), 1_000), ("example.com/a".to_owned(), 500)]);
    node.give_back(&asked);
    assert_eq!((node.free("nvidia.com/gpu"), node.shares.get("example.com/a")), (2_000, None));
    node.take(&asked);
    node.take(&gpus(3));
    assert_eq!((node.free("nvidia.com/gpu"), node.free("example.com/a")), (-2_000, -500));
    node.give_back(&asked);
    assert_eq!((node.free("nvidia.com/gpu"), node.free("example.com/a")), (-1_000, 0));
}
