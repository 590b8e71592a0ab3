//! The network between the bridge and the simulated clusters. It knows addresses and delays; the replies
//! are made elsewhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ray_bridge::{Unreached, Wire};
use reqwest::{Request, Response};

use super::behaviour::DashboardState;
use super::message::{Call, Reply};
use super::reach::Reached;
use super::shared::Shared;
use super::stream::{Streamed, stream};
use super::{dashboard, port, watch};

/// From a request to its reply, if nothing else takes time.
const LATENCY: Duration = Duration::from_millis(2);
/// Until the kernel gives up connecting to an address without a machine.
const NO_ROUTE: Duration = Duration::from_secs(3);
/// How long an agent waits for its head before it reports itself healthy.
const AGENT_WAITS: Duration = Duration::from_millis(100);

/// The simulated wire.
#[derive(Debug)]
pub(super) struct Simulated(pub(super) Arc<Shared>);

impl Wire for Simulated {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        let shared = self.0.clone();
        let call = Call::of(&request);
        Box::pin(async move {
            let watched = port::watched(&call);
            let reply = exchange(shared.clone(), call).await?;
            match watched.filter(|_| reply.status == 200) {
                Some(engine) => watch::stream(shared, engine),
                None => reply.into_response(),
            }
        })
    }

    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<()>> {
        let (shared, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            match shared.with(|world| world.reach(&host, port)) {
                Reached::Silent => std::future::pending().await,
                Reached::NoRoute => {
                    tokio::time::sleep(NO_ROUTE).await;
                    Err(io::ErrorKind::HostUnreachable.into())
                }
                Reached::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                Reached::Dashboard(_) | Reached::Agent(_) | Reached::Engine => Ok(()),
            }
        })
    }

    fn jitter(&self) -> f64 {
        self.0.with(|world| 0.5 + world.random.f64())
    }
}

async fn exchange(shared: Arc<Shared>, call: Call) -> Result<Reply, Unreached> {
    tokio::time::sleep(LATENCY).await;
    match shared.with(|world| world.reach(&call.ip, call.port)) {
        Reached::Silent => std::future::pending().await,
        Reached::NoRoute => {
            tokio::time::sleep(NO_ROUTE).await;
            Err(Unreached { refused: false, cause: "No route to host (os error 113)".to_owned() })
        }
        Reached::Refused => {
            Err(Unreached { refused: true, cause: "Connection refused (os error 111)".to_owned() })
        }
        Reached::Dashboard(cluster) => asked(&shared, &cluster, &call).await,
        Reached::Agent(head) => Ok(agent(&call, head).await),
        Reached::Engine => answered(shared, call).await,
    }
}

async fn asked(shared: &Shared, cluster: &str, call: &Call) -> Result<Reply, Unreached> {
    match shared.with(|world| world.dashboard_of(cluster)) {
        DashboardState::Silent => return std::future::pending().await,
        DashboardState::Garbled => {
            let page = "<html><head><title>Service unavailable</title></head></html>";
            return Ok(Reply { kind: "text/html", ..Reply::text(200, page) });
        }
        DashboardState::Slow(by) => tokio::time::sleep(by).await,
        DashboardState::Well | DashboardState::Refusing | DashboardState::Unheard => {}
    }
    let broken = Unreached { refused: false, cause: "connection closed before message completed".to_owned() };
    match shared.with(|world| world.reach(&call.ip, call.port)) {
        Reached::Dashboard(_) => {
            let answer = shared.with(|world| {
                let answer = dashboard::answer(world, cluster, call);
                world.touch_if(call.method != "GET");
                answer
            });
            if shared.with(|world| world.dashboard_of(cluster)) == DashboardState::Unheard {
                return std::future::pending().await;
            }
            answer.ok_or(broken)
        }
        Reached::Silent => std::future::pending().await,
        _ => Err(broken),
    }
}

/// Ray's agent. It reports itself healthy whether it reaches the head or not; only the delay differs.
async fn agent(call: &Call, head: bool) -> Reply {
    if call.path != "/api/local_raylet_healthz" {
        return Reply::text(404, "404: Not Found");
    }
    if !head {
        tokio::time::sleep(AGENT_WAITS).await;
    }
    Reply { kind: "application/text; charset=utf-8", ..Reply::text(200, "success") }
}

async fn answered(shared: Arc<Shared>, call: Call) -> Result<Reply, Unreached> {
    let at = (call.ip.clone(), call.port);
    let Some(prompt) = port::prompt(&call) else {
        let answer = shared.with(|world| port::answer(world, &at, &call));
        return answer
            .ok_or(Unreached { refused: true, cause: "Connection refused (os error 111)".to_owned() });
    };
    let prompt = match prompt {
        Ok(prompt) => prompt,
        Err(refused) => return Ok(refused),
    };
    if let Some(refused) = shared.with(|world| port::refuses(world, &at, &prompt)) {
        return Ok(refused);
    }
    match stream(&shared, &at, prompt.max_tokens).await {
        Streamed::Whole => {
            let answer = shared.with(|world| port::completion(world, &at, &prompt));
            answer.ok_or(Unreached { refused: false, cause: "connection closed".to_owned() })
        }
        // An engine that dies under a request answers it, if it still can.
        Streamed::Cut { .. } if shared.with(|world| world.reach(&at.0, at.1)) == Reached::Engine => {
            Ok(port::engine_is_dead())
        }
        Streamed::Cut { .. } => {
            Err(Unreached { refused: false, cause: "connection closed before message completed".to_owned() })
        }
        Streamed::Refused => {
            Err(Unreached { refused: true, cause: "Connection refused (os error 111)".to_owned() })
        }
    }
}
