//! One replica of the controller, put together from its parts. No rules.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join3;
use kube::Client;
use ray_bridge::Bridge;
use rayfleet_runtime::{Controller, Election, Leadership, Namespaces, serve};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::info;

use crate::agents::{Agents, Reachability};
use crate::controllers::{BudgetReconciler, FleetReconciler};
use crate::kubernetes::{Executor, Index, watch_all};
use crate::metrics::Metrics;
use crate::pages::Pages;

/// Name of the lease that replicas elect their leader by.
const LEASE: &str = "rayfleet-orchestrator";
/// Longest time for giving the lease back.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// Why a replica that hears nobody gives the lease away.
const NO_REPLY: &str = "no pod of any group answers this replica, although Kubernetes holds them ready (see the network of its node, and that \
                    NetworkPolicies let its namespace in)";

/// One replica of the controller.
pub struct Orchestrator {
    /// The way to the API server.
    pub client: Client,
    /// The way to Ray's dashboards and to the engines.
    pub bridge: Bridge,
    /// Name of this replica in the lease, which no other may have.
    pub identity: String,
    /// The namespaces whose fleets are looked after.
    pub namespaces: Namespaces,
    /// Namespace of the lease.
    pub lease_namespace: String,
    /// Take part in leader election. Without it there may be only one replica.
    pub leader_elect: bool,
    /// Take an engine that serves by what it says itself instead of asking it and its dashboard every second.
    pub engine_watch: bool,
}

/// Why a replica ended without a request to.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The address cannot be listened on.
    #[error("listening on {address} for /metrics, /healthz and /readyz: {cause}: give another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// A watch ended, and without it nothing can be decided.
    #[error("a watch ended by itself: {0}: this is a bug in Rayfleet; start the program again")]
    Watch(String),
}

impl Orchestrator {
    /// Works until `stop` ends, then gives the lease back. Serves `/metrics`, `/healthz` and `/readyz` on `listen`, if
    /// there is one. Dropping the future is a crash: all that it started ends with it, and the lease runs out by itself.
    pub async fn run(self, listen: Option<SocketAddr>, stop: impl Future<Output = ()>) -> Result<(), Ended> {
        let (index, metrics) = (Arc::new(Index::of(&self.namespaces)), Arc::new(Metrics::new()));
        let reachability = Arc::new(Reachability::default());
        let reported = Arc::new(Notify::new());
        let mut election = JoinSet::new();
        let leadership = if self.leader_elect {
            let (elect, leadership) =
                Election::new(self.client.clone(), &self.lease_namespace, LEASE, self.identity);
            let reachability = reachability.clone();
            election.spawn(elect.run(reported.clone(), NO_REPLY, move |now| reachability.no_reply_for(now)));
            leadership
        } else {
            let (leadership, sender) = Leadership::always();
            let reported = reported.clone();
            // The sender must live as long as somebody may ask.
            election.spawn(async move {
                reported.notified().await;
                drop(sender);
            });
            leadership
        };
        let mut watches = watch_all(&self.client, &index);
        let executor = Executor::new(self.client.clone(), index.clone(), leadership.clone(), &metrics);
        let agents = Agents::new(
            self.client,
            self.bridge,
            index.clone(),
            metrics.clone(),
            reachability.clone(),
            self.engine_watch,
        );
        let fleets = FleetReconciler::new(index.clone(), executor.clone(), agents, metrics.clone());
        let budgets = BudgetReconciler::new(index.clone(), executor.clone());
        let controllers = join3(
            Controller::new(fleets, metrics.runtime.clone()).run(leadership.clone()),
            Controller::new(budgets, metrics.runtime.clone()).run(leadership.clone()),
            executor.writer.write_events(),
        );
        let pages = Pages { index, metrics, reachability, leadership };
        info!(version = env!("CARGO_PKG_VERSION"), ?listen, namespaces = ?self.namespaces, "started");
        let ended = tokio::select! {
            // In the order of what must not be missed: the controllers, which have most to do, come last. They never wait
            // long for their turn, as none of the others is ever ready twice.
            biased;
            () = stop => {
                info!("stopping on request");
                Ok(())
            }
            ended = watches.join_next() => Err(Ended::Watch(format!("{ended:?}"))),
            cause = pages_on(listen, pages) => Err(cause),
            _ = controllers => Ok(()),
        };
        reported.notify_one();
        // The lease is given back, so that the next replica need not wait for it to run out.
        let _ = tokio::time::timeout(GIVE_BACK, election.join_next()).await;
        ended
    }
}

/// Serves the pages for ever; gives why that is not possible.
async fn pages_on(listen: Option<SocketAddr>, pages: Pages) -> Ended {
    let Some(address) = listen else { return std::future::pending().await };
    let served = match serve::listen(address).await {
        Ok(listener) => serve::serve(listener, pages.routes()).await,
        Err(cause) => Err(cause),
    };
    match served {
        Ok(()) => std::future::pending().await,
        Err(cause) => Ended::Listen { address, cause },
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use ray_bridge::Limits;
    use rayfleet_sim_kube::api::{ApiServer, Passthrough};

    use super::*;

    const NAMESPACE: &str = "default";

    fn orchestrator(server: &ApiServer) -> Orchestrator {
        Orchestrator {
            client: server.client("a", NAMESPACE, Arc::new(Passthrough)),
            bridge: Bridge::new(Limits::default()).unwrap(),
            identity: "a".into(),
            namespaces: Namespaces::default(),
            lease_namespace: NAMESPACE.into(),
            leader_elect: true,
            engine_watch: false,
        }
    }

    fn calls(server: &ApiServer) -> u64 {
        server.counts().values().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_whose_future_is_dropped_sends_nothing_more() {
        let server = ApiServer::new();
        let run = orchestrator(&server).run(None, pending());
        assert!(tokio::time::timeout(Duration::from_secs(7), run).await.is_err());
        let before = calls(&server);
        assert!(server.writes(0).len() >= 3, "the lease was not renewed: {:?}", server.writes(0));
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(calls(&server), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_is_stopped_ends_and_sends_nothing_more() {
        let server = ApiServer::new();
        let stop = tokio::time::sleep(Duration::from_secs(7));
        orchestrator(&server).run(None, stop).await.unwrap();
        let before = calls(&server);
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(calls(&server), before);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let held = tokio::net::TcpListener::bind(taken).await.unwrap();
        let server = ApiServer::new();
        let ended = orchestrator(&server).run(Some(held.local_addr().unwrap()), pending()).await;
        let words = ended.unwrap_err().to_string();
        assert!(words.starts_with(&format!("listening on {taken}")), "{words}");
    }
}
