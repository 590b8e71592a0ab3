//! The rules, applied to states as real Ray reports them after each trouble.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::dashboard::JobStatus;
use crate::engine::{Health, Load, Phase, PhaseKind};
use crate::observe::{ClusterState, EngineState, Placed, RankState};
use crate::placement::{Difference, GroupState, Placement, RankSlot, RayNode, Shape};
use crate::{Call, CallErrorKind, NodeId, Sent, SubmissionId};

const KILLED: &str = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
                      detail: Worker unexpectedly exits with a connection error code 2. End of file.";
const OWNER: &str = "The actor is dead because its owner has died. Owner Id: 0e00";
const REMOVED: &str = "The actor is dead because its worker process has died. Worker exit type: INTENDED_SYSTEM_EXIT \
                       Worker exit detail: Destroying worker since its placement group was removed.";
const UNREFERENCED: &str = "The actor is dead because all references to the actor were removed.";
const NODE: &str = "The actor died because its node has died. Node Id: bb22";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000 + second).unwrap()
}

fn node(id: &str, alive: bool) -> RayNode {
    RayNode {
        id: NodeId::from(id),
        ip: format!("10.0.0.{}", id.len()),
        name: format!("node-{id}"),
        is_head: id == "head",
        alive,
        state_message: (!alive).then(|| "Unexpected termination: health check failed".to_owned()),
        gpus_total: u32::from(id != "head"),
        gpus_free: 0,
        labels: BTreeMap::new(),
    }
}

fn cluster(dead: &[&str]) -> ClusterState {
    ClusterState {
        version: "2.60.0".to_owned(),
        session: "session_1".to_owned(),
        nodes: ["head", "a", "b"].iter().map(|id| node(id, !dead.contains(id))).collect(),
    }
}

fn rank(rank: u32, node: &str, death: Option<&str>) -> RankState {
    RankState {
        rank,
        data_rank: None,
        tensor_rank: 0,
        stage: rank,
        node_id: Some(NodeId::from(node)),
        alive: death.is_none(),
        death: death.map(str::to_owned),
    }
}

/// A serving engine of two stages on the nodes `a` and `b`.
fn engine() -> EngineState {
    let slot = |rank: u32, node: &str| RankSlot {
        rank,
        data_rank: None,
        tensor_rank: 0,
        stage: rank,
        node_id: NodeId::from(node),
        node_ip: String::new(),
    };
    EngineState {
        submission_id: SubmissionId::new("chat").unwrap(),
        status: JobStatus::Running,
        message: None,
        started: None,
        ended: None,
        plan: Some(Placement {
            shape: Shape::new(1, 2).unwrap(),
            ranks: vec![slot(0, "a"), slot(1, "b")],
            api_server_node: NodeId::from("head"),
        }),
        placed: Some(Placed {
            group: Some(GroupState::Created),
            ranks: vec![rank(0, "a", None), rank(1, "b", None)],
            differences: Vec::new(),
        }),
        deaths: Vec::new(),
        health: Some(Health::Serving),
        load: Some(load(0, None)),
        phase: None,
        cause: None,
    }
}

fn load(awaiting: u64, progress: Option<u64>) -> Load {
    Load {
        in_flight: awaiting,
        served: Some(1),
        draining: Some(false),
        kept_connections: 0,
        idle: None,
        awaiting,
        progress,
        deferred: 0,
    }
}

/// An engine with these causes of death, in rank order, and this health of its port.
fn dying(deaths: [Option<&str>; 2], health: Health) -> EngineState {
    let ranks: Vec<RankState> =
        deaths.into_iter().zip([(0, "a"), (1, "b")]).map(|(death, (n, on))| rank(n, on, death)).collect();
    EngineState {
        deaths: ranks.iter().filter(|rank| !rank.alive).cloned().collect(),
        placed: Some(Placed { group: Some(GroupState::Created), ranks, differences: Vec::new() }),
        health: Some(health),
        load: None,
        ..engine()
    }
}

#[test]
fn the_engine_of_a_dead_rank_is_named() {
    let mut dying = dying([None, Some(KILLED)], Health::Serving);
    dying.deaths.iter_mut().for_each(|rank| rank.data_rank = Some(1));
    let said = reported(&state(cluster(&[]), dying)).unwrap();
    assert_eq!(said.trouble, Trouble::RankDied { ranks: vec![1] });
    let first = said.evidence.first().unwrap();
    assert!(first.starts_with("rank 1 of engine DP1 on node-b: The actor is dead"), "{first}");
}

fn state(cluster: ClusterState, engine: EngineState) -> RayState {
    RayState { cluster: Some(cluster), engine: Some(engine) }
}

/// A history in which the engine served.
fn served() -> History {
    let mut history = History::default();
    history.learn(at(0), &state(cluster(&[]), engine()));
    history
}

fn reported_after(mut history: History, now: &RayState) -> Option<Diagnosis> {
    history.learn(at(1), now);
    diagnose(at(1), Observation::Ray(now), &history, StallThresholds::new(Duration::from_secs(8)))
}

fn reported(now: &RayState) -> Option<Diagnosis> {
    reported_after(served(), now)
}

fn trouble(now: &RayState) -> Option<Trouble> {
    reported(now).map(|diagnosis| diagnosis.trouble)
}

#[test]
fn an_engine_that_starts_during_an_observation_is_healthy_and_one_that_is_gone_at_the_next_has_died() {
    let phase =
        Phase { kind: PhaseKind::Serving, seconds: 4.0, message: None, during: None, exit_code: None };
    let comes_up = EngineState { health: Some(Health::NotYet), load: None, phase: Some(phase), ..engine() };
    let now = state(cluster(&[]), comes_up);
    let mut history = History::default();
    assert_eq!(reported_after(history.clone(), &now), None);
    history.learn(at(0), &now);
    assert_eq!(reported_after(history, &now).map(|diagnosis| diagnosis.trouble), Some(Trouble::EngineDied));
}

#[test]
fn a_serving_engine_has_no_fault() {
    assert_eq!(reported(&state(cluster(&[]), engine())), None);
    assert_eq!(
        reported(&RayState { cluster: None, engine: Some(EngineState { placed: None, ..engine() }) }),
        None
    );
}

#[test]
fn a_rank_that_died_by_itself_explains_the_others() {
    for health in [Health::Serving, Health::Unhealthy(503), Health::NotYet] {
        let diagnosis = reported(&state(cluster(&[]), dying([Some(OWNER), Some(KILLED)], health))).unwrap();
        assert_eq!(diagnosis.trouble, Trouble::RankDied { ranks: vec![1] });
        assert!(diagnosis.evidence[0].starts_with("rank 1 on node-b: The actor is dead"), "{diagnosis}");
    }
}

#[test]
fn a_dead_rank_is_reported_after_the_job_has_ended() {
    let ended = EngineState {
        status: JobStatus::Failed,
        cause: Some("failed".to_owned()),
        placed: None,
        ..dying([Some(KILLED), Some(REMOVED)], Health::NotYet)
    };
    assert_eq!(trouble(&state(cluster(&[]), ended)), Some(Trouble::RankDied { ranks: vec![0] }));
}

#[test]
fn ranks_that_were_taken_down_mean_that_the_engine_died() {
    for (deaths, health) in [
        ([Some(OWNER), Some(OWNER)], Health::Unhealthy(503)),
        ([Some(REMOVED), Some(REMOVED)], Health::NotYet),
        ([None, Some(UNREFERENCED)], Health::Unhealthy(503)),
        ([None, None], Health::Unhealthy(503)),
    ] {
        assert_eq!(trouble(&state(cluster(&[]), dying(deaths, health))), Some(Trouble::EngineDied));
    }
}

#[test]
fn a_starting_engine_has_no_fault() {
    let starting = state(cluster(&[]), dying([None, None], Health::NotYet));
    assert_eq!(reported_after(History::default(), &starting), None);
}

#[test]
fn an_engine_stopped_on_request_has_no_fault() {
    let stopped =
        EngineState { status: JobStatus::Stopped, ..dying([Some(REMOVED), Some(REMOVED)], Health::NotYet) };
    assert_eq!(trouble(&state(cluster(&[]), stopped)), None);
}

#[test]
fn a_lost_node_explains_its_ranks() {
    let lost = state(cluster(&["b"]), dying([Some(OWNER), Some(NODE)], Health::Unhealthy(503)));
    let diagnosis = reported(&lost).unwrap();
    assert_eq!(diagnosis.trouble, Trouble::NodeLost { nodes: vec!["node-b".to_owned()] });
    assert_eq!(diagnosis.evidence[0], "Ray on node-b: Unexpected termination: health check failed");
    assert!(diagnosis.evidence[1].starts_with("TP1×PP2 needs room for 2 stages of 1 GPU"), "{diagnosis}");
}

#[test]
fn a_node_is_lost_when_its_ranks_say_so_before_the_list_of_nodes_does() {
    let early = state(cluster(&[]), dying([None, Some(NODE)], Health::Serving));
    assert_eq!(trouble(&early), Some(Trouble::NodeLost { nodes: vec!["node-b".to_owned()] }));
}

#[test]
fn a_head_with_a_new_session_has_lost_the_engine() {
    let again = ClusterState { session: "session_2".to_owned(), ..cluster(&[]) };
    let again = RayState { cluster: Some(again), engine: None };
    assert_eq!(trouble(&again), Some(Trouble::HeadLost));
    assert_eq!(trouble(&RayState { cluster: Some(cluster(&[])), engine: None }), None, "its job was deleted");
}

#[test]
fn a_head_that_restarted_with_its_state_has_lost_the_api_server() {
    let kept = state(cluster(&["head"]), dying([None, None], Health::NotYet));
    assert_eq!(trouble(&kept), Some(Trouble::HeadLost));
}

#[test]
fn an_engine_without_steps_is_slow_and_then_hung() {
    let patience = StallThresholds::new(Duration::from_secs(8));
    let mut history = served();
    let mut look = |second: i64, awaiting: u64, progress: u64| {
        let engine = EngineState { load: Some(load(awaiting, Some(progress))), ..engine() };
        let state = RayState { cluster: None, engine: Some(engine) };
        history.learn(at(second), &state);
        diagnose(at(second), Observation::Ray(&state), &history, patience)
    };
    assert_eq!([look(1, 1, 7), look(2, 1, 7)], [None, None]);
    assert_eq!(look(3, 1, 7).map(|d| d.trouble), Some(Trouble::Slow { since: at(1) }));
    let hung = look(9, 3, 7).unwrap();
    assert_eq!(hung.trouble, Trouble::Hung { since: at(1) });
    assert_eq!(hung.evidence, ["3 requests wait, no step of the engine for 8 s"]);
    assert_eq!([look(10, 3, 8), look(60, 0, 8)], [None, None], "it makes steps, and no request waits");
}

#[test]
fn an_engine_with_deferred_requests_is_hung_only_after_the_longer_limit() {
    let mut history = served();
    let mut look = |second: i64| {
        let load = Load { deferred: 1, ..load(1, Some(7)) };
        let state = RayState { cluster: None, engine: Some(EngineState { load: Some(load), ..engine() }) };
        history.learn(at(second), &state);
        let patience = StallThresholds::new(Duration::from_secs(8));
        diagnose(at(second), Observation::Ray(&state), &history, patience)
    };
    assert_eq!([look(1), look(9), look(60)], [None, None, None]);
    assert_eq!(look(61).map(|d| d.trouble), Some(Trouble::Slow { since: at(1) }));
    let hung = look(241).unwrap();
    assert_eq!(hung.trouble, Trouble::Hung { since: at(1) });
    assert_eq!(hung.evidence, ["1 request waits, no step of the engine for 240 s, all are deferred"]);
}

#[test]
fn a_silent_api_server_is_hung_if_it_had_served() {
    let silent = || {
        state(
            cluster(&[]),
            EngineState {
                health: Some(Health::Unreachable("no answer within 3 s".to_owned())),
                load: None,
                ..engine()
            },
        )
    };
    let mut history = served();
    history.learn(at(1), &silent());
    history.learn(at(9), &silent());
    let patience = StallThresholds::new(Duration::from_secs(8));
    let diagnosis = diagnose(at(9), Observation::Ray(&silent()), &history, patience).unwrap();
    assert_eq!(diagnosis.trouble, Trouble::Hung { since: at(1) });
    assert!(diagnosis.evidence[0].contains("no answer within 3 s"), "{diagnosis}");
    let mut never = History::default();
    never.learn(at(1), &silent());
    never.learn(at(99), &silent());
    assert_eq!(
        diagnose(at(99), Observation::Ray(&silent()), &never, patience),
        None,
        "it may be unreachable from here"
    );
}

#[test]
fn misplaced_ranks_are_reported_once_all_live() {
    let moved = |ranks: Vec<RankState>| {
        let planned = engine().plan.unwrap().ranks[0].clone();
        let differences = vec![Difference::RankElsewhere { planned, actual: Some(NodeId::from("b")) }];
        let placed = Placed { group: Some(GroupState::Created), ranks, differences };
        state(cluster(&[]), EngineState { placed: Some(placed), ..engine() })
    };
    assert_eq!(trouble(&moved(vec![rank(0, "b", None), rank(1, "b", None)])), Some(Trouble::WrongPlacement));
    assert_eq!(trouble(&moved(vec![rank(0, "b", None)])), None, "others are starting");
}

#[test]
fn an_engine_that_needs_more_nodes_reports_what_is_missing() {
    let waits = |status: JobStatus, group: Option<GroupState>| EngineState {
        status,
        placed: Some(Placed { group, ranks: Vec::new(), differences: Vec::new() }),
        health: Some(Health::NotYet),
        ..engine()
    };
    let pending = waits(JobStatus::Running, Some(GroupState::Pending("INFEASIBLE".to_owned())));
    let mut small = cluster(&[]);
    small.nodes.iter_mut().for_each(|node| node.gpus_total = 0);
    assert_eq!(trouble(&state(small.clone(), pending.clone())), Some(Trouble::NotEnoughNodes));
    assert_eq!(trouble(&state(small, waits(JobStatus::Pending, None))), Some(Trouble::NotEnoughNodes));
    assert_eq!(reported_after(History::default(), &state(cluster(&[]), pending)), None, "they are only busy");
}

fn unreached(kind: CallErrorKind, around: &HeadReachability) -> Trouble {
    let call = Call {
        cluster: "c".to_owned(),
        server: "dashboard",
        method: "GET".to_owned(),
        path: "/".to_owned(),
        token: Sent::Nothing,
    };
    let error = CallError { call: Box::new(call), kind };
    let look = Observation::Nothing(&error, around);
    diagnose(at(1), look, &served(), StallThresholds::new(Duration::from_secs(8))).unwrap().trouble
}

#[test]
fn an_unreachable_dashboard_is_distinguished_from_a_lost_head_and_a_cut_network() {
    let process = Trouble::DashboardUnreachable { because: Unreachable::Process };
    let network = Trouble::DashboardUnreachable { because: Unreachable::Network };
    let silent = || Port::Silent("nothing within 1 s".to_owned());
    let port = |open: bool| Some(if open { Port::Open } else { silent() });
    let worker = |reaches_head| Worker { ip: "10.0.0.2".to_owned(), answered: true, reaches_head };
    let around = |dashboard, agent, engine, workers| HeadReachability { dashboard, agent, engine, workers };
    for (around, wanted) in [
        (around(Port::Open, port(true), port(true), vec![]), &process),
        (around(Port::Refused, port(true), port(false), vec![]), &process),
        (around(Port::Refused, Some(Port::Refused), Some(Port::Refused), vec![]), &Trouble::HeadLost),
        (around(silent(), port(false), port(true), vec![]), &network),
        (around(silent(), port(false), port(false), vec![worker(true)]), &network),
        (around(silent(), port(false), port(false), vec![worker(false), worker(true)]), &network),
        (around(silent(), port(false), port(false), vec![worker(false)]), &Trouble::HeadLost),
        (around(silent(), port(false), None, vec![]), &network),
        (around(silent(), port(false), None, vec![Worker { answered: false, ..worker(false) }]), &network),
    ] {
        assert_eq!(unreached(CallErrorKind::TimedOut { after_ms: 3000 }, &around), *wanted, "{around:?}");
    }
    let refused = unreached(CallErrorKind::Unauthorized, &around(Port::Open, None, None, vec![]));
    assert_eq!(refused, Trouble::DashboardUnreachable { because: Unreachable::Answer });
}

#[test]
fn scripts_get_the_fault_with_details_and_evidence() {
    let lost = state(cluster(&["b"]), dying([None, Some(NODE)], Health::Serving));
    let json = serde_json::to_value(reported(&lost).unwrap()).unwrap();
    assert_eq!((&json["kind"], &json["nodes"][0]), (&"NodeLost".into(), &"node-b".into()));
    assert!(json["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()));
    assert_eq!(reported(&lost).unwrap().trouble.name(), "NodeLost");
}
