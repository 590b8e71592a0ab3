//! A status fits into etcd, however many groups the CRD allows and however they fail.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::spec::{MOST_GROUPS, MOST_REPLICAS};
use rayfleet_api::status::{
    FailureKind, Goal, GroupFailure, GroupStatus, NodeFailures, Phase, RankCount, RankPlacement,
};
use rayfleet_api::{RayClusterFleetStatus, ValidFleet, names};

use super::super::size::{LIMIT, bytes};
use super::super::{Inputs, Planner, RolloutTarget, plan, summarize};
use super::inputs;
use crate::testing::*;
use crate::{text, time};

/// A group with the largest possible entry, on two nodes with sixteen ranks.
fn largest(slot: u32) -> GroupStatus {
    let now: Option<Time> = Some(time::began(t0()));
    let node = |number: u32| format!("ip-10-{slot}-{number}.eu-central-1.compute.internal").into();
    let cause = text::bounded("\"\n".repeat(4096));
    GroupStatus {
        name: names::group_name(&"f".repeat(37), &"bcdfgh".into(), slot, 999),
        slot,
        attempt: 999,
        uid: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
        revision: "pods1".into(),
        engine_revision: Some("eng1".into()),
        phase: Phase::Provisioning,
        phase_since: now.clone(),
        started_at: now.clone(),
        ready_since: now.clone(),
        goal: Goal::SwapEngine,
        goal_reason: Some(cause.clone()),
        launch: u32::MAX,
        start_deadline: now.clone(),
        forming_since: now.clone(),
        waiting_since: now.clone(),
        unreachable_since: now.clone(),
        not_ready_since: now.clone(),
        left_endpoints_at: now.clone(),
        retry_after: now.clone(),
        repaired_at: now.clone(),
        pend_until: now.clone(),
        head: Some("h".repeat(63).into()),
        nodes: vec![node(0), node(1)],
        ranks: Some(RankCount { placed: 16, total: 16 }),
        placement: (0..16)
            .map(|rank| RankPlacement {
                rank,
                data: None,
                tensor: rank % 8,
                stage: rank / 8,
                node: node(rank / 8),
            })
            .collect(),
        misplaced: vec![cause.clone()],
        avoid_nodes: vec![node(3)],
        in_flight: Some(u32::MAX),
        in_flight_at: now,
        restarts: u32::MAX,
        failures: u32::MAX,
        failed_starts: u32::MAX,
        last_failure: Some(GroupFailure { kind: FailureKind::DashboardUnreachable, time: time::began(t0()) }),
        message: Some(cause),
    }
}

fn summed_up(fleet: &ValidFleet, groups: Vec<GroupStatus>) -> RayClusterFleetStatus {
    let before = RayClusterFleetStatus::default();
    let (target, observed) = (RolloutTarget::new(fleet, None, &before, false), BTreeMap::new());
    let against: Vec<NodeFailures> = (0..crate::nodes::MOST)
        .map(|number| NodeFailures {
            node: format!("{number}{}", "n".repeat(240)).into(),
            cause: text::bounded("\"".repeat(4096)),
            last_failure_time: Some(time::began(t0())),
            ..NodeFailures::default()
        })
        .collect();
    let inputs = Inputs { nodes: &against, ..inputs(fleet, &target, &observed) };
    summarize(&mut Planner::new(inputs, groups), &before, 0).status
}

fn truncated(status: &RayClusterFleetStatus) -> Option<&str> {
    let found = status.conditions.iter().find(|condition| condition.type_ == "StatusTruncated");
    found.map(|condition| condition.message.as_str())
}

#[test]
fn the_largest_failing_fleet_fits_into_etcd_and_reports_what_is_left_out() {
    let fleet = fleet(MOST_REPLICAS);
    let status = summed_up(&fleet, (0..MOST_GROUPS).map(largest).collect());
    assert!(bytes(&status) <= LIMIT, "{} bytes", bytes(&status));
    let message = truncated(&status).unwrap();
    assert!(
        message.starts_with("the status of 750 groups is larger than 1024 KiB: it is without"),
        "{message}"
    );
    // All inputs of decisions are kept.
    assert!(status.groups.iter().all(|group| group.placement.is_empty() && group.start_deadline.is_some()));
}

#[test]
fn informative_parts_are_left_out_first() {
    let fleet = fleet(300);
    let serving =
        |slot| GroupStatus { message: None, goal_reason: None, misplaced: Vec::new(), ..largest(slot) };
    let small = summed_up(&fleet, (0..300).map(serving).collect());
    assert_eq!((truncated(&small), small.groups[0].placement.len()), (None, 16));
    let large = summed_up(&fleet, (0..500).map(serving).collect());
    assert!(truncated(&large).unwrap().contains("without status.groups[].placement;"));
    assert_eq!((large.groups[0].placement.len(), large.groups[0].nodes.len()), (0, 2));
}

#[test]
fn many_groups_are_added_a_few_per_pass_each_with_its_own_slot() {
    let fleet = fleet(MOST_REPLICAS);
    let mut groups = vec![entry(&fleet, 3)];
    for pass in 0..16 {
        let before = RayClusterFleetStatus::default();
        let (target, observed) = (RolloutTarget::new(&fleet, None, &before, false), BTreeMap::new());
        let mut planner = Planner::new(inputs(&fleet, &target, &observed), groups);
        plan(&mut planner);
        assert_eq!(planner.more(), planner.groups.len() < 500, "pass {pass}");
        groups = planner.groups;
    }
    let slots: Vec<u32> = groups.iter().map(|group| group.slot).collect();
    assert_eq!(slots, (0..500).collect::<Vec<u32>>());
}
