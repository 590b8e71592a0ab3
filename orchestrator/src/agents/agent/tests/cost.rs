//! How often a group is looked at in each phase of its life, and what that costs.

use rayfleet_api::status::Phase;

use super::bench::{Bench, Counts, Middleware, WATCH};
use super::*;

const WHILE: Duration = Duration::from_mins(4);

/// Per second and group at which no request waits: 4 calls and a connection without the watch, 0.2 and half a connection with it. Of many
/// groups the connections to workers are kept.
#[tokio::test(start_paused = true)]
async fn an_engine_that_serves_is_hardly_asked() {
    let polled = Bench::start(Middleware::Old).await.count(WHILE).await;
    assert!((235..=245).contains(&polled.of("/health")), "{polled:?}");
    assert!((235..=245).contains(&polled.of("/rayfleet/v1/state")), "{polled:?}");
    assert!((420..=440).contains(&polled.of("/api/")), "{polled:?}");
    assert!((225..=245).contains(&polled.of("connect")), "{polled:?}");

    let watched = Bench::start(Middleware::Simulated).await.count(WHILE).await;
    assert_eq!((watched.of("/health"), watched.of("/rayfleet/v1/state")), (0, 0), "{watched:?}");
    assert!(watched.of(WATCH) <= 4, "{watched:?}");
    // The job every eight seconds, and everything, four calls more, every two minutes.
    assert!((28..=40).contains(&watched.of("/api/")), "{watched:?}");
    assert!((1..=2).contains(&watched.of("/api/v0/nodes")), "{watched:?}");
    assert!((115..=125).contains(&watched.of("connect")), "the worker alone: {watched:?}");
    assert!(watched.bytes * 10 < polled.bytes, "{} of {} bytes", watched.bytes, polled.bytes);
}

/// While it loads: its job and port at each look, its log, ranks and all nodes every two to five seconds; the longer it takes, the
/// later a look.
#[tokio::test(start_paused = true)]
async fn an_engine_that_starts_is_asked_for_little() {
    let (launch, engine) = launch();
    let bench = Bench::of(
        Assignment { pace: PollInterval::Starting, ..assigned(engine) },
        None,
        Middleware::Simulated,
    )
    .await;
    bench.ray.models(|_, _| EngineBehaviour { load: Duration::from_mins(5), ..EngineBehaviour::default() });
    tokio::time::sleep(Duration::from_mins(1)).await;
    bench.commands.put(Command::Launch(Box::new(launch)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = |counts: &Counts| counts.of("/api/") + counts.of("/health") + counts.of("/rayfleet");
    let first = bench.count(Duration::from_secs(5)).await;
    assert!((13..=17).contains(&first.of("/health")), "{first:?}");
    assert!(all(&first) <= 12 * 5, "{first:?}");
    tokio::time::sleep(Duration::from_secs(34)).await;
    let later = bench.count(Duration::from_mins(1)).await;
    assert!((17..=21).contains(&later.of("/health")), "{later:?}");
    assert!(all(&later) <= 2 * 60, "{later:?}");
    assert!((8..=10).contains(&later.of("/api/v0/nodes")), "{later:?}");
    assert_eq!(later.of("/api/cluster_status"), 0, "nobody plans on it");
    bench.assignment.send_modify(|assignment| assignment.pods.well = !assignment.pods.well);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let again = bench.count(Duration::from_secs(5)).await;
    assert!((13..=17).contains(&again.of("/health")), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_pods_are_not_ready_is_looked_at_every_two_seconds_until_they_are() {
    let (_, engine) = launch();
    let mut assignment = Assignment { pace: PollInterval::Starting, ..assigned(engine) };
    assignment.pods.well = false;
    let bench = Bench::of(assignment, None, Middleware::Simulated).await;
    bench.ray.lose_node("b");
    tokio::time::sleep(Duration::from_mins(1)).await;
    let waiting = bench.count(Duration::from_secs(10)).await;
    assert!((4..=6).contains(&waiting.of("/api/jobs")), "{waiting:?}");
    bench.assignment.send_modify(|assignment| assignment.pods.well = true);
    let ready = bench.count(Duration::from_secs(1)).await;
    assert!((3..=5).contains(&ready.of("/api/jobs")), "{ready:?}");
}

/// What comes next is the orchestrator's own command.
#[tokio::test(start_paused = true)]
async fn a_group_whose_nodes_are_all_in_is_looked_at_every_two_seconds_until_its_launch() {
    let (launch, engine) = launch();
    let assignment = Assignment { pace: PollInterval::Starting, ..assigned(engine) };
    let bench = Bench::of(assignment, None, Middleware::Simulated).await;
    until("a look", || bench.report().is_some()).await;
    let waiting = bench.count(Duration::from_secs(10)).await;
    assert!((4..=6).contains(&waiting.of("/api/jobs")), "{waiting:?}");
    bench.commands.put(Command::Launch(Box::new(launch)));
    let launched = bench.count(Duration::from_secs(1)).await;
    assert!(launched.of("/api/packages") >= 1, "{launched:?}");
    assert!(launched.of("/health") >= 2, "{launched:?}");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_keeps_failing_does_not_make_looks_quick() {
    let (launch, engine) = launch();
    let assignment = Assignment { pace: PollInterval::Starting, ..assigned(engine) };
    let bench = Bench::of(assignment, None, Middleware::Simulated).await;
    bench.ray.lose_node("b");
    tokio::time::sleep(Duration::from_mins(1)).await;
    bench.commands.put(Command::Launch(Box::new(launch)));
    tokio::time::sleep(Duration::from_mins(1)).await;
    let counts = bench.count(Duration::from_mins(1)).await;
    assert_eq!(counts.of("/api/packages"), 0, "nothing is launched: {counts:?}");
    assert!(counts.of("/api/jobs") <= 85, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_stopped_while_it_loads_is_asked_for_little() {
    let (launch, engine) = launch();
    let assignment = Assignment { pace: PollInterval::Starting, ..assigned(engine) };
    let bench = Bench::of(assignment, None, Middleware::Simulated).await;
    bench.ray.models(|_, _| EngineBehaviour { load: Duration::from_mins(5), ..EngineBehaviour::default() });
    bench.commands.put(Command::Launch(Box::new(launch)));
    tokio::time::sleep(Duration::from_secs(20)).await;
    bench.assignment.send_modify(|assignment| assignment.pace = PollInterval::of(Phase::Stopping));
    let counts = bench.count(Duration::from_secs(10)).await;
    assert!((30..=34).contains(&counts.of("/health")), "{counts:?}");
    assert!(counts.of("/api/v0/nodes") <= 8, "{counts:?}");
}

/// Its end goes by moments without a request.
#[tokio::test(start_paused = true)]
async fn a_group_that_drains_is_looked_at_three_times_a_second_however_long_it_takes() {
    let bench = Bench::start(Middleware::Simulated).await;
    bench.assignment.send_modify(|assignment| assignment.pace = PollInterval::of(Phase::Draining));
    tokio::time::sleep(Duration::from_mins(2)).await;
    let counts = bench.count(Duration::from_secs(10)).await;
    assert!((30..=34).contains(&counts.of("/health")), "{counts:?}");
}

/// An engine of the pod's own says nothing by itself.
#[tokio::test(start_paused = true)]
async fn an_own_engine_that_serves_is_asked_every_second_and_its_dashboard_every_five() {
    let engine = Engine::Own { port: Some(8000) };
    let assignment = Assignment { pace: PollInterval::Steady, ..assigned(engine) };
    let bench = Bench::of(assignment, Some(8000), Middleware::Simulated).await;
    bench.until_it_serves().await;
    let counts = bench.count(WHILE).await;
    assert!((230..=245).contains(&counts.of("/health")), "{counts:?}");
    assert!((45..=50).contains(&counts.of("/api/v0/nodes")), "{counts:?}");
    assert_eq!(counts.of(WATCH), 0, "{counts:?}");
}

/// Of the first four groups of a namespace workers are asked every two seconds: somebody has to be a witness.
#[tokio::test(start_paused = true)]
async fn beside_four_other_groups_the_connection_to_a_worker_is_kept() {
    for (others, connections) in [(3, 115..=125), (4, 0..=0)] {
        let counts = Bench::start_beside(others, Middleware::Simulated).await.count(WHILE).await;
        assert!(connections.contains(&counts.of("connect")), "{others}: {counts:?}");
    }
}
