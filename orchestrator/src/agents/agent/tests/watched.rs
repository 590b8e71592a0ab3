//! What the watch of an engine spares, and that no fault is reported later for it.

use std::cell::Cell;
use std::io;

use futures::StreamExt as _;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use ray_bridge::{Unreached, Wire};
use rayfleet_api::status::Phase;
use rayfleet_core::observed::Reach;
use rayfleet_sim_ray::Connection;
use reqwest::{Body, Request, Response};

use super::*;
use crate::agents::engine_watch::{GroupWatch, WatchEvent};

const WATCH: &str = "/rayfleet/v1/watch";

/// What the engine's middleware answers when it is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middleware {
    /// It is an older one.
    Old,
    Simulated,
    /// It never stops: every 50 ms another request has been served, and one waits.
    Loud,
}

impl Middleware {
    fn with(watches: bool) -> Self {
        if watches { Self::Simulated } else { Self::Old }
    }
}

fn loud() -> Body {
    let line = |served: u64| {
        let state = json!({"name": "e", "inFlight": 1, "awaiting": 1, "served": served, "draining": false, "rankChanges": 0, "health": 200});
        format!("{state}\n")
    };
    let lines = futures::stream::unfold(0, move |served| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, io::Error>(line(served)), served + 1))
    });
    Body::wrap_stream(lines)
}

/// Counts what goes over a wire.
#[derive(Debug)]
struct Counting {
    wire: Arc<dyn Wire>,
    middleware: Middleware,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    /// By path; connections that are only tried are under `connect`.
    calls: BTreeMap<String, usize>,
    /// Bodies of replies, in bytes.
    bytes: usize,
}

impl Counts {
    fn of(&self, part: &str) -> usize {
        self.calls.iter().filter(|(path, _)| path.contains(part)).map(|(_, count)| count).sum()
    }
}

impl Wire for Counting {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        let path = request.url().path().to_owned();
        let answered = match self.middleware {
            Middleware::Old if path == WATCH => Some((404, "{}".into())),
            Middleware::Loud if path == WATCH => Some((200, loud())),
            _ => None,
        };
        *self.counts.lock().calls.entry(path).or_default() += 1;
        if let Some((status, body)) = answered {
            let reply = http::Response::builder().status(status).body(body).unwrap();
            return Box::pin(async move { Ok(Response::from(reply)) });
        }
        let (reply, counts) = (self.wire.send(request), self.counts.clone());
        Box::pin(async move {
            let reply = reply.await?;
            let status = reply.status();
            let chunks = reply.bytes_stream().inspect(move |chunk| {
                if let Ok(chunk) = chunk {
                    counts.lock().bytes += chunk.len();
                }
            });
            let reply = http::Response::builder().status(status).body(Body::wrap_stream(chunks)).unwrap();
            Ok(Response::from(reply))
        })
    }

    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<()>> {
        *self.counts.lock().calls.entry("connect".to_owned()).or_default() += 1;
        self.wire.connect(host, port)
    }

    fn jitter(&self) -> f64 {
        self.wire.jitter()
    }
}

/// An agent at an engine that has served for a while.
struct Bench {
    ray: RayWorld,
    counts: Arc<Mutex<Counts>>,
    index: Arc<Index>,
    commands: Arc<Mailbox>,
    assignment: watch::Sender<Assignment>,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn start(middleware: Middleware) -> Self {
        let (launch, engine) = launch();
        let bench =
            Self::of(Assignment { pace: PollInterval::Steady, ..assigned(engine) }, None, middleware).await;
        bench.commands.put(Command::Launch(Box::new(launch)));
        bench.until_it_serves().await;
        bench
    }

    /// An agent with this assignment on a Ray whose pods may start an engine themselves.
    async fn of(assignment: Assignment, own_engine_port: Option<u16>, middleware: Middleware) -> Self {
        let ray = RayWorld::new(1);
        start_head(&ray, own_engine_port).await;
        start_worker(&ray);
        until("the worker to join", || ray.ready(WORKER)).await;
        let (mut agent, assignment) = agent_on(&ray, assignment);
        let counts = Arc::default();
        let wire = Counting { wire: ray.wire(), middleware, counts: Arc::clone(&counts) };
        Arc::get_mut(&mut agent.shared).unwrap().bridge =
            Bridge::over(Arc::new(wire), Limits::default()).unwrap();
        let (index, commands) = (agent.shared.index.clone(), agent.commands.clone());
        let running = tokio::spawn(agent.run());
        Self { ray, counts, index, commands, assignment, running }
    }

    async fn until_it_serves(&self) {
        until("the engine to serve", || {
            self.report().is_some_and(|observed| observed.state.is_ok_and(|alive| alive.engine.healthy))
        })
        .await;
        // Past the first look at everything of an engine that serves.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    fn report(&self) -> Option<ObservedRay> {
        self.index.read(|known| known.ray.get(&Key::new("n", "g")).cloned())
    }

    /// What is counted from now on for so long.
    async fn count(&self, time: Duration) -> Counts {
        *self.counts.lock() = Counts::default();
        tokio::time::sleep(time).await;
        self.counts.lock().clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

const WHILE: Duration = Duration::from_mins(4);

/// Per second and group at which no request waits: 4 calls and a connection without the watch, 0.2 and half a connection with it.
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

/// While it loads: its job and port at each look, its log, ranks and all nodes every two seconds; a look the later, the longer it takes.
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
    assert!((50..=60).contains(&later.of("/health")), "{later:?}");
    assert!(all(&later) <= 4 * 60, "{later:?}");
    assert!((10..=12).contains(&later.of("/api/v0/nodes")), "{later:?}");
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
    until("a look", || bench.report().is_some()).await;
    let waiting = bench.count(Duration::from_secs(10)).await;
    assert!((4..=6).contains(&waiting.of("/api/jobs")), "{waiting:?}");
    bench.assignment.send_modify(|assignment| assignment.pods.well = true);
    let ready = bench.count(Duration::from_secs(1)).await;
    assert!((3..=5).contains(&ready.of("/api/jobs")), "{ready:?}");
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
    async fn reported_within(self, watches: bool) -> Duration {
        let mut longest = Duration::ZERO;
        for moment in [0, 300, 600, 900, 1700, 4100] {
            let bench = Bench::start(Middleware::with(watches)).await;
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
        let (polled, watched) = (fault.reported_within(false).await, fault.reported_within(true).await);
        let limit = if matches!(fault, Dashboard) { Duration::from_secs(12) } else { polled + slack };
        if watched > limit {
            late.push(format!("{fault:?}: {watched:?}, {polled:?} without the watch"));
        }
    }
    assert!(late.is_empty(), "{late:?}");
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
