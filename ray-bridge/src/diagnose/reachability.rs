//! What answers beside a dashboard that does not: other ports of the head, and the agents of workers. Asks, and judges
//! nothing.

use std::time::Duration;

use futures::future::{join, join_all, join3};
use tokio::time::timeout;
use url::Url;

use super::History;
use crate::bridge::{Bridge, Target};
use crate::http::{Endpoint, Keep};
use crate::{CallErrorKind, base_of};

/// Port of the agent that runs on every Ray node; KubeRay sets it, and it is Ray's default.
const AGENT_PORT: u16 = 52365;
/// Workers that are asked; a few tell as much as all.
const MOST_WORKERS: usize = 4;
/// How long a sign of life may take.
const SIGN: Duration = Duration::from_secs(1);
/// Asked for its health, a worker's agent asks the head about its raylet, gives up after 0.1 s, and says that all is well
/// either way. So whether the head answered shows in how much longer this takes than an answer of the agent's own. The
/// best of several tries counts, as a busy machine may slow any of them.
const HEAD_ANSWERED: Duration = Duration::from_millis(90);
const TRIES: usize = 3;
const HEALTH: &str = "/api/local_raylet_healthz";
/// How much of an answer that nobody looks at is read.
const LITTLE: usize = 4 << 10;
/// The agent answers 404 by itself.
const OWN: &str = "/api/rayfleet";

/// What a port says to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// It takes it.
    Open,
    /// The machine is there, and nothing listens.
    Refused,
    /// No sign at all.
    Silent(String),
}

/// A worker's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its address.
    pub ip: String,
    /// It answers.
    pub answered: bool,
    /// It reaches the head's control store.
    pub reaches_head: bool,
}

/// What answers beside the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadReachability {
    /// The dashboard's own port.
    pub dashboard: Port,
    /// The agent beside it.
    pub agent: Option<Port>,
    /// The engine's API server; `None` without an address of one.
    pub engine: Option<Port>,
    /// Some of the workers that lived when Ray last reported.
    pub workers: Vec<Worker>,
}

impl Bridge {
    /// Looks around a dashboard that has not answered. Takes three seconds at most, and never fails.
    pub async fn look_around(&self, target: &Target, history: &History) -> HeadReachability {
        let agent = with_port(&target.dashboard, AGENT_PORT);
        let head = join3(
            self.knock(Some(&target.dashboard)),
            self.knock(agent.as_ref()),
            self.knock(target.engine.as_ref()),
        );
        let workers = history.workers().take(MOST_WORKERS).map(|node| self.ask(target, &node.ip));
        let ((dashboard, agent, engine), workers) = join(head, join_all(workers)).await;
        let dashboard = dashboard.unwrap_or_else(|| Port::Silent("its address has no port".to_owned()));
        HeadReachability { dashboard, agent, engine, workers }
    }

    async fn ask(&self, target: &Target, ip: &str) -> Worker {
        let mut worker = Worker { ip: ip.to_owned(), answered: false, reaches_head: false };
        let Some(base) = base_of(ip, AGENT_PORT) else { return worker };
        let agent = Endpoint { base, ..self.endpoint(target, SIGN) };
        for _ in 0..TRIES {
            let own = async {
                let answer = agent.get_bytes(OWN, Keep::Nothing(LITTLE)).await;
                tokio::time::sleep(HEAD_ANSWERED).await;
                !matches!(
                    answer.map_err(|e| e.fault),
                    Err(CallErrorKind::Unreachable { .. } | CallErrorKind::TimedOut { .. })
                )
            };
            tokio::select! {
                biased;
                health = agent.get_bytes(HEALTH, Keep::Nothing(LITTLE)) => {
                    worker.reaches_head = health.is_ok();
                    worker.answered |= health.is_ok();
                }
                answered = own => worker.answered |= answered,
            }
            if worker.reaches_head {
                break;
            }
        }
        worker
    }
    /// Whether the machine of a Ray node takes or refuses a connection: either is a sign of life, within a second.
    pub async fn gives_sign(&self, ip: &str) -> bool {
        match timeout(SIGN, self.wire().connect(ip, AGENT_PORT)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
            Err(_) => false,
        }
    }

    /// `None` without an address.
    async fn knock(&self, url: Option<&Url>) -> Option<Port> {
        let url = url?;
        let host = url.host_str()?.trim_matches(['[', ']']);
        let port = url.port_or_known_default()?;
        Some(match timeout(SIGN, self.wire().connect(host, port)).await {
            Ok(Ok(())) => Port::Open,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Port::Refused,
            Ok(Err(error)) => Port::Silent(error.to_string()),
            Err(_) => Port::Silent(format!("nothing within {} s", SIGN.as_secs())),
        })
    }
}

fn with_port(url: &Url, port: u16) -> Option<Url> {
    let mut url = url.clone();
    url.set_port(Some(port)).ok()?;
    Some(url)
}
