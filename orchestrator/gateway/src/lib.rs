//! The gateway: one HTTP address for all models of a namespace, or the endpoint picker of an Envoy that is one. Each request goes to the
//! group that answers it best, as `rayfleet-routing` ranks them; groups are the heads whose gate is open, by the EndpointSlices of their fleets' Services. Any number of
//! gateways run side by side: they share nothing, and what one knows it learns again from the API server, the engines and its requests.
//!
//! Must not live here: which group is better (`rayfleet-routing`), when a gate opens (the orchestrator).

mod held;
mod loads;
mod metrics;
mod models;
mod pages;
mod picker;
mod proxy;
mod question;
mod ranking;
mod refusal;
mod room;
mod server;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use rayfleet_api::names;
use rayfleet_routing::Strategy;
use rayfleet_runtime::Scope;
use rayfleet_runtime::watch::{Broken, What, follow};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use self::metrics::Metrics;
use self::models::Models;
use self::pages::Pages;
use self::picker::Picker;
use self::proxy::Proxy;
use self::ranking::Ranking;
use self::room::Room;
use self::server::{Clients, Envoys};
use self::table::{Fleet, Slice, Watched};

/// A gateway as it is started.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The namespace whose fleets are served. One: tenants do not trust each other, and a name of a model is anybody's.
    pub namespace: String,
    /// Strategy of requests that name none.
    pub strategy: Strategy,
    /// Largest body of a request, in bytes.
    pub largest_body: usize,
    /// Bytes of all bodies that are held at a time.
    pub all_bodies: usize,
    /// Connections of clients at a time.
    pub most_connections: usize,
    /// Endpoints that an Envoy gets for a request: the best, and those to fall back to.
    pub endpoints: usize,
    /// Longest time for a body to arrive.
    pub upload: Duration,
    /// Longest time until an answer begins.
    pub answer: Duration,
    /// After it was asked to end: how long new clients are still taken, until everybody knows.
    pub leave: Duration,
    /// And then: how long requests that have begun may take.
    pub drain: Duration,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For clients.
    pub clients: SocketAddr,
    /// For Envoys, which ask for endpoints by `ext_proc`.
    pub picker: Option<SocketAddr>,
    /// For `/metrics`, `/healthz` and `/readyz`.
    pub pages: SocketAddr,
}

impl Gateway {
    /// Serves clients, Envoys and pages until `stop`, then drains.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub async fn run(
        self,
        client: Client,
        addresses: Addresses,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let (models, metrics, ending) =
            (Models::new(), Arc::new(Metrics::default()), Arc::new(AtomicBool::new(false)));
        let clients = rayfleet_runtime::serve::listen(addresses.clients).await?;
        let envoys = match addresses.picker {
            Some(address) => Some(rayfleet_runtime::serve::listen(address).await?),
            None => None,
        };
        let port = rayfleet_runtime::serve::listen(addresses.pages).await?;
        let picker = envoys.as_ref().and_then(|envoys| envoys.local_addr().ok());
        info!(clients = %clients.local_addr()?, ?picker, pages = %port.local_addr()?, namespace = %self.namespace, "listening");
        let mut tasks = JoinSet::new();
        let fleets = format!("/apis/{}/{}", names::GROUP, names::VERSION);
        self.watch::<Fleet>(&mut tasks, &client, &models, &fleets, "rayclusterfleets", None);
        let slices = "/apis/discovery.k8s.io/v1";
        self.watch::<Slice>(
            &mut tasks,
            &client,
            &models,
            slices,
            "endpointslices",
            Some(names::LABEL_SERVICE),
        );
        tasks.spawn(loads::ask_all(models.clone()));
        let routes =
            Pages { models: models.clone(), metrics: metrics.clone(), ending: ending.clone() }.routes();
        tasks.spawn(async move {
            if let Err(error) = rayfleet_runtime::serve::serve(port, routes).await {
                error!(%error, "the pages are not served any more");
            }
        });
        let ranking = Ranking::new(models.clone(), self.strategy.clone());
        let room = Room::new(self.largest_body, self.all_bodies);
        let left = async {
            stop.await;
            ending.store(true, Ordering::Relaxed);
            let seconds = self.leave.as_secs();
            info!(seconds, "asked to end; clients are taken until everybody knows");
            tokio::time::sleep(self.leave).await;
        };
        let left = left.shared();
        let most = self.most_connections;
        let picker =
            Picker::new(ranking.clone(), room.clone(), self.upload, self.endpoints, most, metrics.clone());
        let routes = picker.routes(models, ending.clone());
        let proxy = Proxy::new(ranking, room, self.upload, self.answer, metrics, ending.clone());
        let clients = server::serve(clients, Clients(proxy), most, left.clone(), self.drain);
        let envoys = async {
            if let Some(envoys) = envoys {
                server::serve(envoys, Envoys(routes), most, left, self.drain).await;
            }
        };
        tokio::join!(clients, envoys);
        Ok(())
    }

    fn watch<T: Watched + Send + 'static>(
        &self,
        tasks: &mut JoinSet<()>,
        client: &Client,
        models: &Models,
        group: &str,
        plural: &'static str,
        labels: Option<&'static str>,
    ) {
        let scope = Scope::In(self.namespace.clone());
        let what = What { path: scope.path(group, plural), labels, fields: None, scope };
        let (client, models) = (client.clone(), models.clone());
        tasks.spawn(async move { follow::<T>(client, what, &models, |error| report(plural, error)).await });
    }
}

fn report(kind: &str, error: &Broken) {
    if error.code() == Some(403) {
        error!(%kind, %error, "this account may not read what the gateway needs; apply manifests/gateway in its namespace");
    } else {
        warn!(%kind, %error, "a watch failed; it is tried again, and what was known is served");
    }
}

#[cfg(test)]
mod tests;
