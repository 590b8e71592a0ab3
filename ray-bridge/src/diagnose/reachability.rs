//! Probes what is reachable besides a dashboard that does not answer: other ports of the head, and the agents
//! of workers. Does the I/O; the conclusion is in `unreachable`.

use std::time::Duration;

use futures::future::{join, join_all, join3};
use tokio::time::timeout;
use url::Url;

use super::History;
use crate::base_of;
use crate::bridge::{Bridge, Target};
use crate::dashboard::{AGENT_PORT, RAYLET_HEALTH};
use crate::http::{Keep, Limits};

/// Workers that are probed; a few are as conclusive as all.
const MOST_WORKERS: usize = 4;
/// Time limit of one connection attempt.
const SIGN: Duration = Duration::from_secs(1);
/// A worker's agent that is asked for its health asks the head about its raylet, gives up after 0.1 s, and
/// reports healthy either way. So only the extra latency compared with a reply that the agent gives by itself
/// shows whether the head answered. The fastest of several attempts counts, as a busy machine may slow down
/// any of them.
const HEAD_ANSWERED: Duration = Duration::from_millis(90);
const TRIES: usize = 3;
/// How much of a reply is read whose content is not needed.
const LITTLE: usize = 4 << 10;
/// The agent answers 404 by itself.
const OWN: &str = "/api/rayfleet";

/// The result of a connection attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Accepted.
    Open,
    /// Refused: the machine is up, and nothing listens.
    Refused,
    /// No reply at all.
    Silent(String),
}

/// A worker's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Address of the worker.
    pub ip: String,
    /// The agent answers.
    pub answered: bool,
    /// The agent reaches the head's GCS.
    pub reaches_head: bool,
}

/// What is reachable besides the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadReachability {
    /// The dashboard's own port.
    pub dashboard: Port,
    /// The agent on the dashboard's host.
    pub agent: Option<Port>,
    /// The engine's API server; `None` if its address is unknown.
    pub engine: Option<Port>,
    /// Some of the workers that were alive at Ray's last report.
    pub workers: Vec<Worker>,
}

impl Bridge {
    /// Probes around a dashboard that did not answer. Takes at most three seconds and never fails.
    pub async fn look_around(&self, target: &Target, history: &History) -> HeadReachability {
        let agent = Some(AGENT_PORT);
        let head = join3(
            self.knock(Some(&target.dashboard), None),
            self.knock(Some(&target.dashboard), agent),
            self.knock(target.engine.as_ref(), None),
        );
        let workers = history.workers().take(MOST_WORKERS).map(|node| self.ask(target, &node.ip));
        let ((dashboard, agent, engine), workers) = join(head, join_all(workers)).await;
        let dashboard = dashboard.unwrap_or_else(|| Port::Silent("its address has no port".to_owned()));
        HeadReachability { dashboard, agent, engine, workers }
    }

    async fn ask(&self, target: &Target, ip: &str) -> Worker {
        let mut worker = Worker { ip: ip.to_owned(), answered: false, reaches_head: false };
        let Some(base) = base_of(ip, AGENT_PORT) else { return worker };
        let limits = Limits { call: SIGN, retries: 0, ..self.limits() };
        let agent = self.endpoint(target, "agent", base, None, limits);
        for _ in 0..TRIES {
            let own = async {
                let answer = agent.get_bytes(OWN, Keep::Nothing(LITTLE)).await;
                tokio::time::sleep(HEAD_ANSWERED).await;
                !answer.is_err_and(|error| error.kind.is_silence())
            };
            tokio::select! {
                biased;
                health = agent.get_bytes(RAYLET_HEALTH, Keep::Nothing(LITTLE)) => {
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

    /// Whether the machine of a Ray node accepts or refuses a connection within a second: either shows that
    /// it is up.
    pub async fn gives_sign(&self, ip: &str) -> bool {
        matches!(self.try_port(ip, AGENT_PORT).await, Port::Open | Port::Refused)
    }

    /// Tries the port of an address, or another one on its host; `None` if it is unknown.
    async fn knock(&self, url: Option<&Url>, port: Option<u16>) -> Option<Port> {
        let host = url?.host_str()?.trim_matches(['[', ']']);
        Some(self.try_port(host, port.or(url?.port_or_known_default())?).await)
    }

    async fn try_port(&self, host: &str, port: u16) -> Port {
        match timeout(SIGN, self.wire().connect(host, port)).await {
            Ok(Ok(())) => Port::Open,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Port::Refused,
            Ok(Err(error)) => Port::Silent(error.to_string()),
            Err(_) => Port::Silent(format!("nothing within {} s", SIGN.as_secs())),
        }
    }
}
