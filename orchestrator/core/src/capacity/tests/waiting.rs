//! Pods that wait for a node: which of them count, and the cost of counting them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::settle::LOOKS;
use super::super::settle::settle;
use super::super::{About, Alike, Capacity, Claim, Labels, Neighbour, PendingPod, PodSpec, Tally, Viewer};
use super::stackable;
use crate::testing::nodes;

fn claim(more: &Value, deleting: bool) -> Claim {
    let mut spec = stackable(1);
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    spec.claim(&About { namespace: "n", phase: Some("Pending"), deleting, ..About::default() })
}

/// GPUs left on one node of four beside such a pod, for pods of a scheduler.
fn left(claim: &Claim, scheduler: &Value) -> i128 {
    let mut tally = Tally::default();
    tally.set_node(Arc::new(nodes(&[4]).nodes.remove(0)));
    tally.add("n/p", claim);
    let mut fleet = crate::testing::fleet(1);
    for role in &mut fleet.shape.roles {
        let mut spec = (*role.spec).clone();
        spec["schedulerName"] = scheduler.clone();
        role.spec = Arc::new(spec);
    }
    tally.capacity(&Viewer::of(&fleet), []).settled().nodes[0].free("nvidia.com/gpu") / 1_000
}

#[test]
fn pods_that_no_scheduler_will_place_take_no_room() {
    let own = |claim: Claim| left(&claim, &Value::Null);
    assert_eq!(own(claim(&json!({}), false)), 3);
    assert_eq!(own(claim(&json!({"schedulingGates": []}), false)), 3);
    assert_eq!(own(claim(&json!({"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}), false)), 4);
    assert_eq!(own(claim(&json!({}), true)), 4, "it is being deleted");
    assert_eq!(own(claim(&json!({"nodeName": "node-0"}), true)), 3, "it ends on its node");
}

#[test]
fn a_pod_of_another_scheduler_takes_room_once_it_has_a_node() {
    let of = |name: &str| claim(&json!({"schedulerName": name}), false);
    let default = json!("default-scheduler");
    assert_eq!(left(&of("volcano"), &Value::Null), 4);
    assert_eq!(left(&of("volcano"), &json!("volcano")), 3);
    assert_eq!(left(&of("default-scheduler"), &Value::Null), 3);
    assert_eq!((left(&of("default-scheduler"), &default), left(&claim(&json!({}), false), &default)), (3, 3));
    assert_eq!(left(&of("default-scheduler"), &json!("volcano")), 4);
    assert_eq!(
        left(&claim(&json!({"schedulerName": "volcano", "nodeName": "node-0"}), false), &Value::Null),
        3
    );
}

/// `pods` pods wait for one of `nodes_there` nodes.
fn waiting(nodes_there: usize, pods: usize, spec: impl Fn(usize) -> Value) -> Capacity {
    let pending = (0..pods).map(|number| {
        let app = format!("app-{number}");
        let spec = spec(number);
        PendingPod {
            name: format!("n/p-{number:05}"),
            pod: Arc::new(Neighbour::of("n", Labels::of([("app", app.as_str())]), &spec)),
            spec: Arc::new(spec),
        }
    });
    Capacity { pending: pending.collect(), ..nodes(&vec![8; nodes_there]) }
}

#[test]
fn pending_pods_are_placed_once_for_each_kind() {
    let looks = |nodes, pods| LOOKS - settle(&waiting(nodes, pods, |_| stackable(1))).budget.left();
    let one = looks(50, 1);
    assert!((50..500).contains(&one), "{one}");
    for pods in [50, 100, 200] {
        assert!(looks(50, pods) <= one * pods, "all different by their labels");
    }
    let mut alike = waiting(50, 400, |_| stackable(1));
    let first = alike.pending[0].pod.clone();
    for pod in &mut alike.pending {
        pod.pod = first.clone();
    }
    let settled = settle(&alike);
    assert!(LOOKS - settled.budget.left() < one + 400 * 4, "a look for each that gets a node");
    let placed = |crowd: &super::super::Crowd| crowd.iter().map(|(_, count)| count).sum::<usize>();
    assert_eq!(settled.joined.values().map(placed).sum::<usize>(), 400);
}

#[test]
fn waiting_pods_cannot_use_up_all_the_time() {
    // Each of them has a rule about all the others.
    let rule = json!([{"topologyKey": "zone", "labelSelector": {}}]);
    let spec = |_| {
        let mut pod = stackable(0);
        pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([]);
        pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = rule.clone();
        pod
    };
    let capacity = waiting(100, 4_000, spec);
    let settled = settle(&capacity);
    assert!(settled.budget.is_spent());
    let placed: usize =
        settled.joined.values().flat_map(super::super::neighbours::Crowd::iter).map(|(_, count)| count).sum();
    assert!((100..2_000).contains(&placed), "{placed}");
}

#[test]
fn waiting_pods_of_the_own_namespace_come_first() {
    let mut capacity = waiting(1, 2, |number| stackable(8 - u32::try_from(number).unwrap()));
    let own = Arc::new(Neighbour::of("own", Labels::default(), &Value::Null));
    capacity.pending[1].pod = own.clone();
    capacity.namespace = "own".to_owned();
    let settled = capacity.settled();
    assert_eq!(settled.nodes[0].free("nvidia.com/gpu"), 1_000);
    assert!(settled.pending.is_empty());
}

#[test]
fn identical_pods_are_shared_while_they_exist() {
    let mut alike = Alike::default();
    let running = |app: usize| {
        let labels = [("app".to_owned(), app.to_string())].into();
        let about = About { namespace: "n", labels: Some(&labels), ..About::default() };
        let spec = json!({"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": app}}}]});
        serde_json::from_value::<PodSpec>(spec).unwrap().claim(&about)
    };
    let mut kept: Vec<Claim> = (0..10).map(|number| running(number % 2)).collect();
    for claim in &mut kept {
        alike.share(claim);
    }
    let parts = |claim: &Claim| match claim {
        Claim::On(_, asked, pod) => (asked.as_ptr().addr(), Arc::as_ptr(pod).addr()),
        _ => panic!("{claim:?}"),
    };
    let distinct: std::collections::BTreeSet<_> = kept.iter().map(parts).collect();
    assert_eq!(distinct.len(), 2);
    let mut many: Vec<Claim> = (0..1_000).map(running).collect();
    for claim in &mut many {
        alike.share(claim);
    }
    drop(many);
    for number in 2_000..4_000 {
        alike.share(&mut running(number));
    }
    assert!(alike.len() < 1_000, "{}", alike.len());
    let Claim::On(_, _, pod) = &kept[0] else { panic!("{kept:?}") };
    let mut once_more = running(0);
    alike.share(&mut once_more);
    assert!(matches!(&once_more, Claim::On(_, _, known) if Arc::ptr_eq(known, pod)));
}
