//! What somebody else does to a RayCluster: suspends, resizes or lends it.

use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{kinds, step};
use crate::observed::ObservedGroup;
use crate::testing::*;
use crate::time;

fn suspended(group: &GroupStatus) -> ObservedGroup {
    let mut observed = healthy(group, t0());
    observed.cluster.as_mut().unwrap().suspended = Some("RayCluster is suspended".to_owned());
    observed
}

#[test]
fn a_group_that_is_suspended_while_it_serves_costs_no_failure_and_comes_back_with_another_launch() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = suspended(&group);
    let first = step(&fleet, &group, &observed, 5);
    assert_eq!(kinds(&first), ["gate false", "GroupSuspended"]);
    assert_eq!((first.group.phase, first.group.goal), (Phase::Suspended, Goal::Serve));
    assert_eq!(first.group.message.as_deref(), Some("RayCluster is suspended"));
    assert_eq!((first.group.failures, first.group.restarts, first.group.failed_starts), (0, 0, 0));
    assert_eq!((first.group.launch, first.group.start_deadline.clone(), first.group.ranks), (2, None, None));
    // Its pods end and are gone; nothing else happens, however long that lasts.
    observed.pods[0].gate_open = false;
    for pods in [observed.pods.clone(), Vec::new()] {
        observed.pods = pods;
        let later = step(&fleet, &first.group, &observed, 90_000);
        assert_eq!((kinds(&later), later.wake), (Vec::new(), None));
        let of = |group: &GroupStatus| {
            (group.phase, group.phase_since.clone(), group.launch, group.failures, group.restarts)
        };
        assert_eq!(of(&later.group), of(&first.group));
    }
    // Resumed: from the beginning, with the next launch.
    observed.cluster.as_mut().unwrap().suspended = None;
    observed.ray = None;
    let resumed = step(&fleet, &first.group, &observed, 90_001);
    assert_eq!(
        (kinds(&resumed), resumed.group.phase),
        (vec!["GroupResumed".to_owned()], Phase::Provisioning)
    );
    let up = step(&fleet, &resumed.group, &healthy(&resumed.group, t0()), 90_030);
    assert!(kinds(&up).contains(&"launch llama-pods1-0.eng1.2".to_owned()), "{:?}", kinds(&up));
}

#[test]
fn a_group_is_suspended_from_wherever_it_stands() {
    let fleet = fleet(1);
    for (phase, launch, next) in
        [(Phase::Pending, 0, 0), (Phase::Provisioning, 0, 0), (Phase::Loading, 1, 2), (Phase::Failed, 1, 2)]
    {
        let deadline = (launch > 0).then(|| time::began(at(600)));
        let group = GroupStatus {
            phase,
            launch,
            start_deadline: deadline,
            restarts: 1,
            retry_after: Some(time::began(at(9))),
            ..ready_entry(&fleet, 0)
        };
        let step = step(&fleet, &group, &suspended(&group), 5);
        assert_eq!(
            (step.group.phase, step.group.launch, step.group.restarts),
            (Phase::Suspended, next, 1),
            "{phase:?}"
        );
        assert_eq!((step.group.start_deadline, step.group.retry_after), (None, None), "{phase:?}");
    }
}

#[test]
fn a_suspended_group_can_go_and_takes_another_engine_without_one_to_end() {
    let fleet = fleet(1);
    let entry = GroupStatus { phase: Phase::Suspended, launch: 2, ..ready_entry(&fleet, 0) };
    let mut observed = suspended(&entry);
    observed.pods.clear();
    let gone = step(&fleet, &with_goal(entry.clone(), Goal::Retire), &observed, 5);
    assert_eq!(kinds(&gone), ["delete"]);
    let mut newer = fleet.clone();
    newer.revision.engine = Some("eng2".into());
    let swapped = step(&newer, &with_goal(entry, Goal::SwapEngine), &observed, 5);
    assert_eq!(
        (swapped.group.phase, swapped.group.engine_revision.as_deref()),
        (Phase::Suspended, Some("eng2"))
    );
    assert_eq!((swapped.group.goal, kinds(&swapped)), (Goal::Serve, Vec::new()));
}

#[test]
fn a_resized_cluster_is_named_and_set_back_at_once_and_then_once_in_a_while() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let cluster = observed.cluster.as_mut().unwrap();
    cluster.drift = Some("worker group w: replicas 0 instead of 1".to_owned());
    cluster.pods = Some(2);
    let first = step(&fleet, &group, &observed, 5);
    assert_eq!(kinds(&first), ["RayClusterChanged", "repair"]);
    assert_eq!(first.group.phase, Phase::Ready, "what still serves goes on");
    assert_eq!(kinds(&step(&fleet, &first.group, &observed, 14)), Vec::<String>::new());
    assert_eq!(step(&fleet, &first.group, &observed, 14).wake, Some(at(15)));
    assert_eq!(kinds(&step(&fleet, &first.group, &observed, 15)), ["RayClusterChanged", "repair"]);
    // A worker that is missing is missed, although the RayCluster does not ask for it any more.
    observed.pods.remove(1);
    let starting = GroupStatus { phase: Phase::Provisioning, ..entry(&fleet, 0) };
    let waits = step(&fleet, &starting, &observed, 5);
    assert!(waits.group.message.unwrap().contains("was changed from outside: worker group w: replicas 0"));
}

#[test]
fn nobodys_size_is_set_back_where_it_does_not_matter() {
    let fleet = fleet(1);
    let group = ready_entry(&fleet, 0);
    let drifts = |group: &GroupStatus, edit: fn(&mut ObservedGroup)| {
        let mut observed = healthy(group, t0());
        observed.cluster.as_mut().unwrap().drift = Some(String::new());
        edit(&mut observed);
        kinds(&step(&fleet, group, &observed, 5)).contains(&"repair".to_owned())
    };
    assert!(drifts(&group, |_| {}));
    assert!(!drifts(&with_goal(group.clone(), Goal::Retire), |_| {}));
    assert!(!drifts(&group, |observed| observed.cluster.as_mut().unwrap().deleting = true));
    assert!(!drifts(&group, |observed| observed.cluster.as_mut().unwrap().suspended = Some(String::new())));
}

#[test]
fn pods_of_rays_autoscaler_need_not_be_up() {
    let fleet = plain_fleet(1);
    let group = ready_entry(&fleet, 0);
    let mut observed = healthy(&group, t0());
    let mut added = pod(&group, 2);
    added.containers_ready = false;
    observed.pods.push(added);
    let phase = |observed: &ObservedGroup| step(&fleet, &group, observed, 5).group.phase;
    assert_eq!(phase(&observed), Phase::Provisioning);
    let cluster = observed.cluster.as_mut().unwrap();
    (cluster.elastic, cluster.pods) = (true, Some(2));
    assert_eq!(phase(&observed), Phase::Ready);
    observed.pods[0].containers_ready = false;
    assert_eq!(phase(&observed), Phase::Provisioning, "without its head nothing answers");
}

#[test]
fn a_cluster_that_kuberay_here_leaves_alone_says_so() {
    let fleet = fleet(1);
    let group = GroupStatus { phase: Phase::Provisioning, ..entry(&fleet, 0) };
    let mut observed = healthy(&group, t0());
    observed.pods.clear();
    observed.cluster.as_mut().unwrap().managed_by = Some("kueue.x-k8s.io/multikueue".to_owned());
    let message = step(&fleet, &group, &observed, 5).group.message.unwrap();
    assert!(message.contains("managedBy is kueue.x-k8s.io/multikueue"), "{message}");
}
