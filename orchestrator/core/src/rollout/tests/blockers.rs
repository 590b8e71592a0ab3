//! What blocks a rollout, and the cure that is named.

use std::collections::BTreeMap;

use rayfleet_api::status::{Goal, GroupStatus, Phase, RolloutStep};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use super::deadline::stalled;
use super::words::*;
use crate::observed::*;
use crate::testing::*;
use crate::time;

#[test]
fn a_surge_group_that_waits_for_the_quota_of_older_ones_is_a_lack_of_room() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (1, 0);
    let why = "RayCluster x is suspended; Kueue resumes it";
    let old = |slot| GroupStatus { revision: "old".into(), ..ready_entry(&fleet, slot) };
    let surge = |since: i64| GroupStatus {
        phase_since: Some(time::began(at(since))),
        ..in_phase(&fleet, 2, Phase::Suspended, why)
    };
    let nothing = RayClusterFleetStatus::default();
    let summary = |fleet: &ValidFleet, groups| summary_of(fleet, groups, &Observations::new(), &nothing);
    let held = summary(&fleet, vec![old(0), old(1), surge(NOW - 60)]).status;
    assert_eq!(held.rollout.as_ref().unwrap().step, RolloutStep::WaitingForRoom);
    let (state, reason, message) = says(&held, "Stalled");
    assert_eq!((&*state, &*reason), ("True", "NoRoom"));
    for part in
        ["llama-pods1-2", "set strategy.rollingUpdate.maxUnavailable: 1", "nominalQuota", "Kueue resumes it"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let early = summary(&fleet, vec![old(0), old(1), surge(NOW - 59)]);
    assert_eq!((says(&early.status, "Stalled").1.as_str(), early.wake), ("NotStalled", Some(at(NOW + 1))));
    assert_eq!(early.status.rollout.unwrap().step, RolloutStep::Suspended);
    let mut loose = fleet.clone();
    loose.strategy.max_unavailable = 1;
    let others = [
        ("an older one may go", loose, old(1)),
        ("it is paused", ValidFleet { paused: true, ..fleet.clone() }, old(1)),
        ("an older one is on its way out", fleet.clone(), with_goal(old(1), Goal::Retire)),
    ];
    for (what, fleet, second) in others {
        let status = summary(&fleet, vec![old(0), second, surge(0)]).status;
        assert_ne!(says(&status, "Stalled").1, "NoRoom", "{what}");
    }
}

/// A group to be deleted whose RayCluster is held by a finalizer.
fn held(finalizer: &str, seconds: i64) -> (GroupStatus, Observations) {
    let group = GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet(1), 0), Goal::Retire) };
    let mut observed = healthy(&group, t0());
    let cluster = observed.cluster.as_mut().unwrap();
    (cluster.deleting, cluster.deleting_since) = (true, Some(at(NOW - seconds)));
    cluster.finalizers = vec![finalizer.to_owned()];
    (group.clone(), BTreeMap::from([(group.name, observed)]))
}

#[test]
fn a_finalizer_that_holds_a_raycluster_is_named_at_once() {
    let mut fleet = fleet(1);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (0, 1);
    let (group, observed) = held("example.com/backup", 0);
    let status = status_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default());
    let (state, reason, message) = says(&status, "Stalled");
    assert_eq!((state.as_str(), reason.as_str()), ("True", "HeldByFinalizer"));
    for part in ["RayCluster llama-pods1-0", "example.com/backup", "kubectl -n default patch raycluster"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("rollout undo"), "{message}");
    let (_, _, progress) = says(&status, "Progressing");
    assert!(progress.contains("example.com/backup"), "{progress}");
}

#[test]
fn the_finalizer_of_kuberay_is_named_after_a_minute() {
    let fleet = fleet(1);
    let summary = |seconds| {
        let (group, observed) = held("ray.io/gcs-ft-redis-cleanup-finalizer", seconds);
        summary_of(&fleet, vec![group], &observed, &RayClusterFleetStatus::default())
    };
    let early = summary(59);
    assert_eq!((says(&early.status, "Stalled").1.as_str(), early.wake), ("NotStalled", Some(at(NOW + 1))));
    assert!(says(&summary(60).status, "Stalled").2.contains("Redis cleanup"));
}

type Breaks = dyn Fn(&mut GroupStatus, &mut ObservedGroup);

/// The cure for a fleet without progress follows from what blocks it.
#[test]
fn the_cure_matches_the_blocker() {
    let mut fleet = fleet(1);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let cure = |edit: &Breaks| {
        let mut group = in_phase(&fleet, 0, Phase::Provisioning, "waits");
        let mut observed = healthy(&group, t0());
        edit(&mut group, &mut observed);
        let observed = BTreeMap::from([(group.name.clone(), observed)]);
        let (reason, message) = stalled(&fleet, 0, vec![group], &observed);
        assert_eq!(reason, "ProgressDeadlineExceeded");
        message
    };
    let problem = |reason: &'static str| {
        move |_: &mut GroupStatus, observed: &mut ObservedGroup| {
            let problem = PodProblem { reason: reason.to_owned(), ..PodProblem::default() };
            (observed.pods[1].problem, observed.pods[1].containers_ready) = (Some(problem), false);
        }
    };
    let leaves = |group: &mut GroupStatus, observed: &mut ObservedGroup| {
        (group.goal, group.phase) = (Goal::Retire, Phase::Stopping);
        observed.cluster = None;
        observed.pods.iter_mut().for_each(|pod| pod.deleting = true);
    };
    let cases: [(&Breaks, &str); 12] = [
        (&|_, observed| observed.pods[1].node = None, "add nodes"),
        (&|_, observed| observed.pods.clear(), "start KubeRay's operator"),
        (&|_, observed| observed.cluster.as_mut().unwrap().replica_failure = Some("quota".into()), "quota"),
        (&problem("ImagePullBackOff"), "imagePullSecrets"),
        (&problem("FailedAttachVolume"), "a ReadWriteOnce claim is on one node at a time"),
        (&problem("FailedMount"), "kubectl describe pod llama-pods1-0-w"),
        (&problem("FailedCreatePodSandBox"), "kubectl describe pod llama-pods1-0-w` and its node"),
        (&problem("Pulling"), "the image comes or its pull fails by itself"),
        (&problem("CrashLoopBackOff"), "kubectl logs -p llama-pods1-0-w"),
        (&|_, observed| observed.pods[1].node_lost = true, "see to node node-1"),
        (&leaves, "kubectl delete node node-0"),
        (&|_, _| {}, "raise spec.progressDeadlineSeconds"),
    ];
    for (edit, part) in cases {
        let message = cure(edit);
        assert!(message.contains(part) && !message.contains("rollout undo"), "{part}: {message}");
    }
}

#[test]
fn an_undo_is_advised_only_if_there_is_a_revision_to_go_back_to() {
    let mut fleet = fleet(1);
    fleet.progress_deadline = Some(std::time::Duration::from_mins(1));
    let groups = vec![in_phase(&fleet, 0, Phase::Loading, "loads")];
    let mut before = status_at_first(&fleet, groups.clone());
    let rollout = before.rollout.as_mut().unwrap();
    rollout.last_progress = Some(time::began(t0()));
    rollout.stable = Some("pods0/eng0".into());
    let message = says(&status_of(&fleet, groups, &Observations::new(), &before), "Stalled").2;
    assert!(
        message.ends_with("if the revision is at fault, `kubectl rayfleet rollout undo llama`"),
        "{message}"
    );
}
