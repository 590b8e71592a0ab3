//! An agent on the simulated Ray, and what goes over its wire.

use std::io;

use futures::StreamExt as _;
use parking_lot::Mutex;
use ray_bridge::{HeldEnd, Unreached, Wire};
use reqwest::{Body, Request, Response};

use super::*;

pub(super) const WATCH: &str = "/rayfleet/v1/watch";

/// What the engine's middleware answers when it is to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Middleware {
    /// It is an older one.
    Old,
    Simulated,
    /// It never stops: every 50 ms another request has been served, and one waits.
    Loud,
}

impl Middleware {
    pub(super) fn with(watches: bool) -> Self {
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
pub(super) struct Counting {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) middleware: Middleware,
    pub(super) counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    /// By path; connections that are only tried are under `connect`.
    calls: BTreeMap<String, usize>,
    /// Bodies of replies, in bytes.
    pub(super) bytes: usize,
}

impl Counts {
    pub(super) fn of(&self, part: &str) -> usize {
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

    fn hold(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxFuture<'static, HeldEnd>>> {
        *self.counts.lock().calls.entry("connect".to_owned()).or_default() += 1;
        self.wire.hold(host, port)
    }

    fn jitter(&self) -> f64 {
        self.wire.jitter()
    }
}

/// An agent at an engine that has served for a while.
pub(super) struct Bench {
    pub(super) ray: RayWorld,
    pub(super) counts: Arc<Mutex<Counts>>,
    pub(super) index: Arc<Index>,
    pub(super) commands: Arc<Mailbox>,
    pub(super) assignment: watch::Sender<Assignment>,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    pub(super) async fn start(middleware: Middleware) -> Self {
        Self::start_beside(0, middleware).await
    }

    /// The same in a namespace of so many other groups.
    pub(super) async fn start_beside(others: usize, middleware: Middleware) -> Self {
        let (launch, engine) = launch();
        let assignment = Assignment { pace: PollInterval::Steady, ..assigned(engine) };
        let bench = Self::new(assignment, None, middleware, others).await;
        bench.commands.put(Command::Launch(Box::new(launch)));
        bench.until_it_serves().await;
        bench
    }

    /// An agent with this assignment on a Ray whose pods may start an engine themselves.
    pub(super) async fn of(
        assignment: Assignment,
        own_engine_port: Option<u16>,
        middleware: Middleware,
    ) -> Self {
        Self::new(assignment, own_engine_port, middleware, 0).await
    }

    async fn new(
        assignment: Assignment,
        own_engine_port: Option<u16>,
        middleware: Middleware,
        others: usize,
    ) -> Self {
        let ray = RayWorld::new(1);
        start_head(&ray, own_engine_port).await;
        start_worker(&ray);
        until("the worker to join", || ray.ready(WORKER)).await;
        let (mut agent, assignment) = agent_on(&ray, assignment);
        let counts = Arc::default();
        let wire = Counting { wire: ray.wire(), middleware, counts: Arc::clone(&counts) };
        Arc::get_mut(&mut agent.shared).unwrap().bridge =
            Bridge::over(Arc::new(wire), Limits::default()).unwrap();
        for other in 0..others {
            let group = Key::new("n", format!("a-{other}"));
            agent.shared.reachability.probing(&group, &[], true, clock::monotonic());
        }
        let (index, commands) = (agent.shared.index.clone(), agent.commands.clone());
        let running = tokio::spawn(agent.run());
        Self { ray, counts, index, commands, assignment, running }
    }

    pub(super) async fn until_it_serves(&self) {
        until("the engine to serve", || {
            self.report().is_some_and(|observed| observed.state.is_ok_and(|alive| alive.engine.healthy))
        })
        .await;
        // Past the first look at everything of an engine that serves.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    pub(super) fn report(&self) -> Option<ObservedRay> {
        self.index.read(|known| known.ray.get(&Key::new("n", "g")).cloned())
    }

    /// What is counted from now on for so long.
    pub(super) async fn count(&self, time: Duration) -> Counts {
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
