//! That no fault is reported later for the watch of an engine, and what its lines are worth.

use std::cell::Cell;

use prometheus_client::metrics::gauge::Gauge;
use rayfleet_core::observed::Reach;
use rayfleet_sim_ray::Connection;

use super::bench::{Bench, Counting, Middleware};
use super::*;
use crate::agents::engine_watch::{GroupWatch, WatchEvent};

#[derive(Clone, Copy, Debug)]
enum Injected {
    Rank,
    Core,
    Server,
    Hang,
    Worker,
    Raylet,
    Head,
    Path,
    Dashboard,
}

impl Injected {
    fn inflict(self, ray: &RayWorld) {
        match self {
            Self::Rank => ray.kill_rank(CLUSTER, 0),
            Self::Core => ray.kill_engine(CLUSTER),
            Self::Server => ray.kill_server(CLUSTER),
            Self::Hang => {
                let asking = ray.clone();
                tokio::spawn(async move { asking.request(HEAD, 8000, 1000, Connection::Fresh).await });
                ray.hang_engine(CLUSTER);
            }
            Self::Worker => ray.lose_node("b"),
            Self::Raylet => ray.kill_raylet(WORKER),
            Self::Head => ray.lose_node("a"),
            Self::Path => ray.cut_path(HEAD, true),
            Self::Dashboard => ray.set_dashboard(CLUSTER, DashboardState::Silent),
        }
    }

    /// Whether a report says that something is wrong.
    fn is_in(observed: &ObservedRay) -> bool {
        let Ok(alive) = &observed.state else { return true };
        let engine = &alive.engine;
        let stalls = engine.load.is_some_and(|load| load.stalled_since.is_some());
        let ill = engine.failure.is_some() || !engine.healthy || engine.unverified.is_some();
        stalls || ill || !observed.unreachable_ips.is_empty() || alive.nodes.len() < 2
    }

    /// The longest time until a report, over faults at different moments between two looks.
    async fn reported_within(self, watches: bool, others: usize) -> Duration {
        let mut longest = Duration::ZERO;
        for moment in [0, 300, 600, 900, 1700, 4100] {
            let bench = Bench::start_beside(others, Middleware::with(watches)).await;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            assert!(!Self::is_in(&bench.report().unwrap()), "{self:?}: {:?}", bench.report());
            let (start, _) = bench.ray.now();
            self.inflict(&bench.ray);
            let mut time = Duration::ZERO;
            while !Self::is_in(&bench.report().unwrap()) {
                assert!(time < Duration::from_mins(1), "{self:?} is not reported");
                tokio::time::sleep(Duration::from_millis(50)).await;
                time = bench.ray.now().0.saturating_sub(start);
            }
            longest = longest.max(time);
        }
        longest
    }
}

/// The simulated Ray as the judge: it has the times of the real one. The limits of faults that are noticed by the dashboard alone are
/// those of `ray-bridge` on a real Ray.
#[tokio::test(start_paused = true)]
async fn no_fault_is_reported_later_for_the_watch() {
    use Injected::{Core, Dashboard, Hang, Head, Path, Rank, Raylet, Server, Worker};
    let slack = Duration::from_millis(100);
    let mut late = Vec::new();
    for fault in [Rank, Core, Server, Hang, Worker, Raylet, Head, Path, Dashboard] {
        let polled = fault.reported_within(false, 0).await;
        let limit = if matches!(fault, Dashboard) { Duration::from_secs(12) } else { polled + slack };
        // Beside four other groups the connection to the worker is kept.
        for others in [0, 4] {
            let watched = fault.reported_within(true, others).await;
            if watched > limit {
                late.push(format!("{fault:?} beside {others}: {watched:?}, {polled:?} without the watch"));
            }
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

/// The gate waits for it, and the watch of the engine says nothing of it. A dashboard that is gone meanwhile is no reason to wait.
#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_probe_is_reported_at_once() {
    for dashboard in [DashboardState::Well, DashboardState::Silent] {
        for moment in [0, 1_500, 3_000, 4_500, 6_000, 7_500] {
            let bench = Bench::start(Middleware::Simulated).await;
            bench.assignment.send_modify(|assignment| assignment.pace = PollInterval::Starting);
            tokio::time::sleep(Duration::from_secs(15) + Duration::from_millis(moment)).await;
            let probe = || bench.report().and_then(|it| it.state.ok()).map(|alive| alive.engine.probe);
            assert_eq!(probe(), Some(ObservedProbe::Unknown));
            bench.ray.set_dashboard(CLUSTER, dashboard);
            let (of, prompt) = (launch().0.submission, fleet().model.unwrap().probe());
            bench.commands.put(Command::Probe(of, Box::new(prompt)));
            let (asked, _) = bench.ray.now();
            until("the outcome to be reported", || probe() == Some(ObservedProbe::Passed)).await;
            let took = bench.ray.now().0.saturating_sub(asked);
            // A look at a dashboard that says nothing takes its time first.
            let most = if dashboard == DashboardState::Well { 400 } else { 12_000 };
            assert!(took <= Duration::from_millis(most), "{dashboard:?} {moment}: {took:?}");
        }
    }
}

/// The engine says that it is well all the while: it is the launcher that finds another node alive.
#[tokio::test(start_paused = true)]
async fn a_node_without_ranks_that_joins_is_read_at_once() {
    let bench = Bench::start(Middleware::Simulated).await;
    let nodes = || bench.report().and_then(|observed| observed.state.ok()).map(|alive| alive.nodes);
    assert_eq!(nodes().unwrap(), [HEAD, WORKER]);
    start_node(&bench.ray, "10.0.0.3");
    until("the node to join", || bench.ray.ready("10.0.0.3")).await;
    let (joined, _) = bench.ray.now();
    until("the node to be reported", || nodes().is_some_and(|nodes| nodes.len() == 3)).await;
    let took = bench.ray.now().0.saturating_sub(joined);
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

/// A call to the dashboard takes longer than the engine may be silent, whose lines wait meanwhile.
#[tokio::test(start_paused = true)]
async fn a_dashboard_that_is_silent_makes_no_silence_of_the_engine() {
    let bench = Bench::start(Middleware::Simulated).await;
    bench.ray.set_dashboard(CLUSTER, DashboardState::Silent);
    for _ in 0..1_200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let observed = bench.report().unwrap();
        assert!(observed.state.as_ref().is_ok_and(|alive| alive.engine.healthy), "{observed:?}");
    }
}

/// Nothing that was heard before the network was lost is entered as heard after it, whatever was under way at that moment.
#[tokio::test(start_paused = true)]
async fn a_replica_that_loses_its_network_is_no_witness_against_its_groups() {
    for watches in [false, true] {
        for moment in (0..8_500).step_by(700) {
            let bench = Bench::start(Middleware::with(watches)).await;
            tokio::time::sleep(Duration::from_millis(moment)).await;
            for ip in [HEAD, WORKER] {
                bench.ray.cut_path(ip, true);
            }
            for _ in 0..600 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let observed = bench.report().unwrap();
                let blames = !observed.unreachable_ips.is_empty() || observed.reach == Reach::Silent;
                assert!(!blames, "{watches} {moment}: {observed:?}");
            }
        }
    }
}

/// An engine with much to say beside a dashboard that cannot be used: its lines lead to no more looks than there are without them.
#[tokio::test(start_paused = true)]
async fn lines_of_an_engine_that_is_not_well_lead_to_no_more_looks() {
    let bench = Bench::start(Middleware::Simulated).await;
    bench.ray.set_dashboard(CLUSTER, DashboardState::Garbled);
    let asking = bench.ray.clone();
    let load = tokio::spawn(async move {
        loop {
            asking.request(HEAD, 8000, 1, Connection::Fresh).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let counts = bench.count(Duration::from_secs(20)).await;
    load.abort();
    assert!(counts.of("/api/jobs/g.e.1") <= 22, "{counts:?}");
}

/// A small model is loaded between two looks at the ranks.
#[tokio::test(start_paused = true)]
async fn an_engine_that_serves_is_not_reported_before_its_ranks_were_read() {
    // The slower its dashboard is, the later a look comes after the ranks have started.
    for millis in (0..120).step_by(8) {
        let ray = head().await;
        ray.set_dashboard(CLUSTER, DashboardState::Slow(Duration::from_millis(millis)));
        let load = Duration::from_millis(50);
        ray.models(move |_, _| EngineBehaviour { load, ..EngineBehaviour::default() });
        start_worker(&ray);
        until("the worker to join", || ray.ready(WORKER)).await;
        let (launch, engine) = launch();
        let (agent, _assignment) =
            agent_on(&ray, Assignment { pace: PollInterval::Starting, ..assigned(engine) });
        let index = agent.shared.index.clone();
        agent.commands.put(Command::Launch(Box::new(launch)));
        let running = tokio::spawn(agent.run());
        let healthy = || {
            let observed = index.read(|known| known.ray.get(&Key::new("n", "g")).cloned());
            let alive = observed.and_then(|observed| observed.state.ok())?;
            alive.engine.healthy.then_some(alive.engine.ranks_placed)
        };
        while healthy().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(healthy(), Some(2), "{millis} ms");
        running.abort();
    }
}

/// A line that waits for its time is taken at the next turn or dropped: without a watch nobody takes it, and the agent would look at once for ever.
#[tokio::test(start_paused = true)]
async fn a_line_that_waits_does_not_outlast_its_watch() {
    for heard in [Some(WatchEvent::Ended), Some(WatchEvent::Broken(None)), Some(WatchEvent::Called), None] {
        let ray = head().await;
        let (_, engine) = launch();
        let assignment = Assignment { pace: PollInterval::Steady, ..assigned(engine) };
        let (mut agent, _assignment) = agent_on(&ray, assignment.clone());
        let target = agent.target(assignment.clone()).await.unwrap().unwrap();
        agent.lines = Lines { taken: Some(clock::monotonic()), wait: true };
        let event = format!("{heard:?}");
        agent.attend(&assignment, &target, heard).await;
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(agent.until_next(&assignment), STEADY, "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_never_stop_are_read_once_a_second() {
    let bench = Bench::start(Middleware::Loud).await;
    let counts = bench.count(Duration::from_mins(1)).await;
    assert!((50..=70).contains(&counts.of("/metrics")), "{counts:?}");
    assert!(counts.of("/api/jobs") <= 10, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_waited_is_a_sign_of_when_somebody_last_waited_for_it() {
    let ray = head().await;
    let (launch, engine) = launch();
    let (mut agent, _assignment) = agent_on(&ray, assigned(engine.clone()));
    let target = agent.target(assigned(engine)).await.unwrap().unwrap();
    let wire = Counting { wire: ray.wire(), middleware: Middleware::Loud, counts: Arc::default() };
    let bridge = Bridge::over(Arc::new(wire), Limits::default()).unwrap();
    let (mut watch, sign) = (GroupWatch::default(), Cell::new(None));
    watch.open(&launch.submission, &bridge.engine(&target).unwrap(), &Gauge::default()).await;
    watch.next(|at| sign.set(Some(at))).await;
    assert_eq!(sign.get(), Some(clock::monotonic()));
    let left = clock::monotonic();
    watch.left(left);
    tokio::time::sleep(Duration::from_secs(3)).await;
    watch.next(|at| sign.set(Some(at))).await;
    assert_eq!(sign.get(), Some(left), "it may have come at once after that");
    watch.next(|at| sign.set(Some(at))).await;
    assert_eq!(sign.get(), Some(clock::monotonic()));
}
