//! What looks at a cluster are made into.

use std::time::Duration;

use ray_bridge::engine::{Phase, PhaseKind};
use ray_bridge::observe::{ClusterState, RankState};
use ray_bridge::placement::{Difference, GroupState, Placement, RankSlot, RayNode, Shape};
use ray_bridge::{Call, CallErrorKind, NodeId, Sent};
use rayfleet_api::status::FailureKind;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn id(text: &str) -> Submission {
    Submission::of(text.parse().unwrap()).unwrap()
}

fn node(name: &str, ip: &str, alive: bool) -> RayNode {
    RayNode {
        id: name.into(),
        ip: ip.into(),
        name: ip.into(),
        is_head: name == "head",
        alive,
        state_message: None,
        gpus_total: 1,
        gpus_free: 0,
        labels: BTreeMap::new(),
    }
}

fn cluster(nodes: Vec<RayNode>) -> ClusterState {
    ClusterState { version: "2.60.0".into(), session: "s".into(), nodes }
}

fn two_nodes() -> ClusterState {
    cluster(vec![node("head", "10.0.0.1", true), node("worker", "10.0.0.2", true)])
}

/// Stage 0 on the head, stage 1 on the worker.
fn plan() -> Placement {
    let slot = |stage: u32, node: &str| RankSlot {
        rank: stage,
        data_rank: None,
        tensor_rank: 0,
        stage,
        node_id: node.into(),
        node_ip: String::new(),
    };
    Placement {
        shape: Shape::new(1, 2).unwrap(),
        ranks: vec![slot(0, "head"), slot(1, "worker")],
        api_server_node: "head".into(),
    }
}

fn rank(stage: u32, node: Option<&str>, alive: bool) -> RankState {
    RankState {
        rank: stage,
        data_rank: None,
        tensor_rank: 0,
        stage,
        node_id: node.map(NodeId::from),
        alive,
        death: None,
    }
}

fn placed(ranks: Vec<RankState>) -> Placed {
    Placed { group: Some(GroupState::Created), ranks, differences: Vec::new() }
}

fn engine() -> EngineState {
    EngineState {
        submission_id: id("g.e.1").id,
        status: JobStatus::Running,
        message: None,
        started: None,
        ended: None,
        plan: Some(plan()),
        placed: None,
        deaths: Vec::new(),
        health: None,
        load: None,
        phase: None,
        cause: None,
    }
}

fn look(memory: &mut ObservationCache, cluster: Option<ClusterState>, engine: EngineState) -> ObservedEngine {
    memory.launched(RayState { cluster, engine: Some(engine) }, &id("g.e.1"), NOW).engine
}

#[test]
fn a_shallow_look_keeps_what_the_deep_look_found() {
    let mut memory = ObservationCache::default();
    let both = placed(vec![rank(0, Some("head"), true), rank(1, Some("worker"), true)]);
    let deep = look(&mut memory, Some(two_nodes()), EngineState { placed: Some(both), ..engine() });
    assert_eq!(deep.ranks_placed, 2);
    let at = |rank: u32, ip: &str| ObservedRank { rank, data: None, tensor: 0, stage: rank, ip: ip.into() };
    assert_eq!(deep.ranks, [at(0, "10.0.0.1"), at(1, "10.0.0.2")]);

    let shallow =
        RayState { cluster: None, engine: Some(EngineState { health: Some(Health::Serving), ..engine() }) };
    let alive = memory.launched(shallow, &id("g.e.1"), NOW);
    assert_eq!(alive.nodes, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!((alive.engine.ranks_placed, &alive.engine.ranks), (2, &deep.ranks));
    assert!(alive.engine.healthy);
}

#[test]
fn ranks_of_another_launch_are_not_shown() {
    let mut memory = ObservationCache::default();
    let both = placed(vec![rank(0, Some("head"), true), rank(1, Some("worker"), true)]);
    look(&mut memory, Some(two_nodes()), EngineState { placed: Some(both), ..engine() });
    memory.probed(id("g.e.1"), ObservedProbe::Passed);
    let next = memory.launched(RayState { cluster: None, engine: Some(engine()) }, &id("g.e.2"), NOW).engine;
    assert_eq!((next.launch, next.ranks_placed, next.ranks.len()), ("g.e.2".parse().ok(), 0, 0));
    assert_eq!(next.probe, ObservedProbe::Unknown);
}

#[test]
fn a_probe_counts_for_its_own_launch() {
    let mut memory =
        ObservationCache { probe: Some((id("g.e.1"), ObservedProbe::Passed)), ..ObservationCache::default() };
    assert_eq!(look(&mut memory, None, engine()).probe, ObservedProbe::Passed);
}

#[test]
fn ranks_count_only_where_they_were_planned_and_alive() {
    for (ranks, count) in [
        (vec![rank(0, Some("head"), true), rank(1, Some("head"), true)], 1),
        (vec![rank(0, Some("head"), true), rank(1, Some("worker"), false)], 1),
        (vec![rank(0, Some("head"), true), rank(1, None, true)], 1),
        (vec![rank(0, Some("head"), true), rank(7, Some("worker"), true)], 1),
        // Twice in one place is not two of two.
        (vec![rank(0, Some("head"), true), rank(0, Some("head"), true)], 1),
        (vec![rank(1, Some("worker"), true), rank(0, Some("head"), true)], 2),
    ] {
        let mut memory = ObservationCache::default();
        let state = EngineState { placed: Some(placed(ranks.clone())), ..engine() };
        assert_eq!(look(&mut memory, Some(two_nodes()), state).ranks_placed, count, "{ranks:?}");
    }
}

#[test]
fn without_a_plan_no_rank_is_where_it_was_planned() {
    let both = placed(vec![rank(0, Some("head"), true), rank(1, Some("worker"), true)]);
    let state = EngineState { placed: Some(both), plan: None, ..engine() };
    let observed = look(&mut ObservationCache::default(), Some(two_nodes()), state);
    assert_eq!((observed.ranks_placed, observed.ranks.len()), (0, 2));
}

#[test]
fn differences_are_reported_in_words() {
    let odd = Placed { group: None, ranks: Vec::new(), differences: vec![Difference::NoGroup] };
    let observed =
        look(&mut ObservationCache::default(), None, EngineState { placed: Some(odd), ..engine() });
    assert_eq!(observed.differences, [Difference::NoGroup.to_string()]);
}

#[test]
fn dead_nodes_and_second_lives_of_a_node_do_not_count() {
    let mut memory = ObservationCache::default();
    let nodes = vec![
        node("worker", "10.0.0.2", true),
        node("head", "10.0.0.1", true),
        node("gone", "10.0.0.3", false),
        node("again", "10.0.0.2", true),
    ];
    let state = RayState { cluster: Some(cluster(nodes)), engine: None };
    assert_eq!(memory.launched(state, &id("g.e.1"), NOW).nodes, ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_job_that_ended_says_why() {
    let ended = |status, cause: Option<&str>| {
        let state = EngineState { status, cause: cause.map(str::to_owned), ..engine() };
        look(&mut ObservationCache::default(), None, state).job
    };
    assert_eq!(
        ended(JobStatus::Failed, Some("no such model")),
        Some(ObservedJob::Ended("no such model".into()))
    );
    // A service that ends has failed, whatever it says itself.
    assert!(
        matches!(ended(JobStatus::Succeeded, None), Some(ObservedJob::Ended(cause)) if !cause.is_empty())
    );
    assert!(matches!(ended(JobStatus::Stopped, None), Some(ObservedJob::Ended(_))));
    assert_eq!(ended(JobStatus::Pending, None), Some(ObservedJob::Pending));
    assert_eq!(ended(JobStatus::Unknown, None), Some(ObservedJob::Running));
}

#[test]
fn an_engine_that_is_unwell_answers_but_is_not_healthy() {
    let observed = |health| {
        let observed = look(&mut ObservationCache::default(), None, EngineState { health, ..engine() });
        (observed.healthy, observed.answering)
    };
    assert_eq!(observed(Some(Health::Serving)), (true, true));
    assert_eq!(observed(Some(Health::Unhealthy(503))), (false, true));
    assert_eq!(observed(Some(Health::NotYet)), (false, false));
    assert_eq!(observed(Some(Health::Unreachable("timed out".into()))), (false, false));
    assert_eq!(observed(None), (false, false));
}

#[test]
fn a_job_that_is_not_there_shows_why_it_was_not_launched() {
    let mut memory = ObservationCache::default();
    memory.launch_tried(id("g.e.1"), Some(&LaunchFailure::Plan("too few GPUs".to_owned())));
    let mut observed = |launch: &str| {
        let state = RayState { cluster: Some(two_nodes()), engine: None };
        memory.launched(state, &id(launch), NOW).engine
    };
    let failed = observed("g.e.1");
    assert_eq!(
        (failed.job, failed.launch_error.as_deref()),
        (None, Some("the plan does not fit: too few GPUs"))
    );
    assert_eq!(failed.launch, "g.e.1".parse().ok());
    assert_eq!(observed("g.e.2").launch_error, None, "that was another launch");
}

#[test]
fn the_launchers_last_word_is_shown() {
    let phase = |message: Option<&str>| Phase {
        kind: PhaseKind::Loading,
        seconds: 12.4,
        message: message.map(str::to_owned),
        during: None,
        exit_code: None,
    };
    let note = |message| {
        look(&mut ObservationCache::default(), None, EngineState { phase: Some(phase(message)), ..engine() })
            .note
    };
    assert_eq!(note(Some("shard 3")).as_deref(), Some("Loading: shard 3"));
    assert_eq!(note(None).as_deref(), Some("Loading for 12 s"));
}

#[test]
fn ranks_beyond_the_plan_are_not_shown() {
    let many = |count: u32| (0..count).map(|n| rank(n, Some("head"), true)).collect::<Vec<_>>();
    let state = |ranks, plan| EngineState { placed: Some(placed(ranks)), plan, ..engine() };
    let observed = look(&mut ObservationCache::default(), Some(two_nodes()), state(many(2000), Some(plan())));
    assert_eq!(observed.ranks.iter().map(|rank| rank.rank).collect::<Vec<_>>(), [0, 1]);
    let observed = look(&mut ObservationCache::default(), Some(two_nodes()), state(many(2000), None));
    assert_eq!(observed.ranks.len(), 1024);
}

#[test]
fn texts_from_outside_are_cut_where_they_enter() {
    let long = "x".repeat(100_000);
    let phase = Phase {
        kind: PhaseKind::Loading,
        seconds: 1.0,
        message: Some(long.clone()),
        during: None,
        exit_code: None,
    };
    let loading =
        look(&mut ObservationCache::default(), None, EngineState { phase: Some(phase), ..engine() });
    assert!(loading.note.unwrap().chars().count() <= 501);
    let ended = EngineState { status: JobStatus::Failed, cause: Some(long.clone()), ..engine() };
    let Some(ObservedJob::Ended(cause)) = look(&mut ObservationCache::default(), None, ended).job else {
        panic!()
    };
    assert!(cause.chars().count() <= 2001);
    let differences = vec![Difference::GroupNotCreated(GroupState::Unknown(long)); 5000];
    let odd =
        EngineState { placed: Some(Placed { group: None, ranks: Vec::new(), differences }), ..engine() };
    let reported = look(&mut ObservationCache::default(), None, odd).differences;
    assert_eq!(reported.len(), 9);
    assert!(reported.iter().all(|text| text.chars().count() <= 501));
    assert_eq!(reported.last().map(String::as_str), Some("and 4992 more differences from the plan"));
}

#[test]
fn load_is_carried_over() {
    let busy = Load {
        in_flight: u64::MAX,
        served: Some(3),
        draining: Some(true),
        kept_connections: 0,
        idle: Some(Duration::from_millis(1500)),
        awaiting: 0,
        progress: None,
        deferred: 0,
    };
    let observed = look(&mut ObservationCache::default(), None, EngineState { load: Some(busy), ..engine() });
    let wanted = ObservedLoad {
        in_flight: u32::MAX,
        draining: Some(true),
        kept_connections: 0,
        idle_seconds: Some(1.5),
        stalled_since: None,
        deferred: false,
    };
    assert_eq!(observed.load, Some(wanted));
}

#[test]
fn an_engine_that_makes_no_step_is_reported_until_its_next_launch() {
    let mut memory = ObservationCache::default();
    let mut stalled = |launch: &str, second: i64, deferred: u64| {
        let load = Load {
            in_flight: 1,
            served: None,
            draining: None,
            kept_connections: 0,
            idle: None,
            awaiting: 1,
            progress: Some(7),
            deferred,
        };
        let state = RayState { cluster: None, engine: Some(EngineState { load: Some(load), ..engine() }) };
        let observed =
            memory.launched(state, &id(launch), Timestamp::from_second(second).unwrap()).engine.load;
        let observed = observed.unwrap();
        (observed.stalled_since.map(Timestamp::as_second), observed.deferred)
    };
    assert_eq!(stalled("g.e.1", 10, 0), (None, false));
    assert_eq!(stalled("g.e.1", 11, 0), (Some(10), false));
    assert_eq!(stalled("g.e.1", 70, 0), (Some(10), false));
    assert_eq!(stalled("g.e.2", 71, 1), (None, false));
    assert_eq!(stalled("g.e.2", 72, 1), (Some(71), true));
}

#[test]
fn a_rank_that_died_breaks_the_engine_and_its_node_is_blamed() {
    let mut memory = ObservationCache::default();
    let dead =
        RankState { death: Some("Worker exits with SIGKILL".into()), ..rank(1, Some("worker"), false) };
    let state = EngineState { deaths: vec![dead], health: Some(Health::Unhealthy(503)), ..engine() };
    let observed = look(&mut memory, Some(two_nodes()), state);
    let failure = observed.failure.unwrap();
    assert_eq!((failure.kind, failure.nodes), (FailureKind::RankDied, vec!["10.0.0.2".to_owned()]));
    assert!(failure.evidence.contains("rank 1 died"), "{}", failure.evidence);
    assert_eq!(observed.job, Some(ObservedJob::Running));
}

#[test]
fn a_node_that_ray_lost_is_blamed() {
    let mut memory = ObservationCache::default();
    look(&mut memory, Some(two_nodes()), engine());
    let without = cluster(vec![node("head", "10.0.0.1", true), node("worker", "10.0.0.2", false)]);
    let observed = look(&mut memory, Some(without), engine());
    let failure = observed.failure.unwrap();
    assert_eq!((failure.kind, failure.nodes), (FailureKind::NodeLost, vec!["10.0.0.2".to_owned()]));
}

#[test]
fn an_engine_that_ended_for_its_own_reasons_accuses_no_node() {
    let mut memory = ObservationCache::default();
    let ended = EngineState { status: JobStatus::Failed, cause: Some("no such model".into()), ..engine() };
    let failure = look(&mut memory, Some(two_nodes()), ended).failure.unwrap();
    assert_eq!((failure.kind, failure.nodes), (FailureKind::EngineDied, Vec::new()));
}

#[test]
fn an_own_engine_has_health_and_load_but_no_job() {
    let state = RayState { cluster: Some(two_nodes()), engine: None };
    let load = Load {
        in_flight: 2,
        served: None,
        draining: None,
        kept_connections: 0,
        idle: None,
        awaiting: 2,
        progress: None,
        deferred: 0,
    };
    let mut memory = ObservationCache::default();
    let observed = memory.own(&state, Some(&(Health::Serving, Some(load))), NOW).engine;
    assert!(observed.healthy && observed.answering && observed.job.is_none());
    assert_eq!(observed.load.map(|load| load.in_flight), Some(2));
    let broken = memory.own(&state, Some(&(Health::Unhealthy(503), None)), NOW).engine;
    assert!(!broken.healthy && broken.answering);
    let absent = memory.own(&state, None, NOW);
    assert!(!absent.engine.answering);
    assert_eq!(absent.nodes.len(), 2);
}

fn silence() -> CallError {
    let call = Call {
        cluster: "c".into(),
        server: "dashboard",
        method: "GET".into(),
        path: "/".into(),
        token: Sent::Nothing,
    };
    CallError { call: Box::new(call), kind: CallErrorKind::TimedOut { after_ms: 3000 } }
}

#[test]
fn a_replica_that_has_seen_nothing_yet_believes_the_ledger_and_the_engine() {
    let error = silence();
    let pods = ["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
    let alive = ObservationCache::default().still_serves(Some(&id("g.e.1")), &pods, None, &error, NOW);
    assert_eq!(alive.nodes, pods);
    let ObservedEngine { launch, job, healthy, unverified, .. } = alive.engine;
    assert_eq!((launch, job, healthy), ("g.e.1".parse().ok(), Some(ObservedJob::Running), true));
    assert!(unverified.unwrap().contains("does not answer"));
}

#[test]
fn the_first_words_about_a_silent_dashboard_stay_until_it_answers() {
    let refused = || CallError {
        kind: CallErrorKind::Unreachable { refused: true, cause: "refused".to_owned() },
        ..silence()
    };
    let mut memory = ObservationCache::default();
    let words = |memory: &mut ObservationCache, error: &CallError| {
        memory.still_serves(None, &[], None, error, NOW).engine.unverified.unwrap()
    };
    let first = words(&mut memory, &silence());
    assert_eq!(words(&mut memory, &refused()), first);
    memory.own(&RayState { cluster: None, engine: None }, Some(&(Health::Serving, None)), NOW);
    assert_ne!(words(&mut memory, &refused()), first, "it has answered in between");
}

#[test]
fn a_launch_that_fails_is_reported_in_its_first_words_until_it_fails_in_another_way() {
    let mut memory = ObservationCache::default();
    let mut tried = |launch: &str, failure: Option<LaunchFailure>| {
        memory.launch_tried(id(launch), failure.as_ref());
        let ray = RayState { cluster: Some(two_nodes()), engine: None };
        memory.launched(ray, &id(launch), NOW).engine.launch_error
    };
    let missing = |gpus: u32| Some(LaunchFailure::Plan(format!("{gpus} GPUs are missing")));
    let first = tried("g.e.1", missing(4));
    assert_eq!(first.as_deref(), Some("the plan does not fit: 4 GPUs are missing"));
    assert_eq!(tried("g.e.1", missing(3)), first);
    let silent = tried("g.e.1", Some(LaunchFailure::Nodes(silence())));
    assert_ne!(silent, first, "another failure");
    let refused = CallErrorKind::Unreachable { refused: true, cause: "refused".to_owned() };
    let refused = tried("g.e.1", Some(LaunchFailure::Nodes(CallError { kind: refused, ..silence() })));
    assert_ne!(refused, silent, "another failure of the call");
    assert_ne!(tried("g.e.1", missing(3)), first, "it has failed in another way meanwhile");
    assert!(tried("g.e.2", missing(2)).unwrap().contains("2 GPUs"), "another launch");
    assert_eq!(tried("g.e.2", None), None);
    assert!(tried("g.e.2", missing(1)).unwrap().contains("1 GPUs"));
}

#[test]
fn an_own_engine_that_serves_outlives_its_dashboard() {
    let pods = ["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
    let mut memory = ObservationCache::default();
    assert!(!memory.was_healthy(None));
    let alive = memory.still_serves(None, &pods, None, &silence(), NOW);
    assert_eq!((alive.nodes.as_slice(), alive.engine.healthy), (pods.as_slice(), true));
    assert!(alive.engine.unverified.unwrap().contains("does not answer"));

    let state = RayState { cluster: Some(cluster(vec![node("head", "10.0.0.1", true)])), engine: None };
    memory.own(&state, Some(&(Health::Serving, None)), NOW);
    assert!(memory.was_healthy(None));
    let alive = memory.still_serves(None, &pods, None, &silence(), NOW);
    assert_eq!(alive.nodes, ["10.0.0.1"], "a node that was missing does not come back by silence");
    memory.own(&state, Some(&(Health::Unhealthy(503), None)), NOW);
    assert!(!memory.was_healthy(None));
}
