//! The gateway: one HTTP address for all models of a namespace. Each request goes to the group that answers it best, as
//! `rayfleet-routing` ranks them; groups are the heads whose gate is open, by the EndpointSlices of their fleets' Services. Any number of
//! gateways run side by side: they share nothing, and what one knows it learns again from the API server, the engines and its requests.
//!
//! Must not live here: which group is better (`rayfleet-routing`), when a gate opens (the orchestrator).

mod loads;
mod metrics;
mod models;
mod pages;
mod proxy;
mod server;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
use self::proxy::{Proxy, Settings};
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
    /// Longest time for a body to arrive.
    pub upload: Duration,
    /// Longest time until an answer begins.
    pub answer: Duration,
    /// After it was asked to end: how long new clients are still taken, until everybody knows.
    pub leave: Duration,
    /// And then: how long requests that have begun may take.
    pub drain: Duration,
}

impl Gateway {
    /// Serves clients and pages until `stop`, then drains.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub async fn run(
        self,
        client: Client,
        listen: SocketAddr,
        pages: SocketAddr,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let (models, metrics, ending) =
            (Models::new(), Arc::new(Metrics::default()), Arc::new(AtomicBool::new(false)));
        let clients = rayfleet_runtime::serve::listen(listen).await?;
        let port = rayfleet_runtime::serve::listen(pages).await?;
        info!(clients = %clients.local_addr()?, pages = %port.local_addr()?, namespace = %self.namespace, "listening");
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
        let settings = Settings {
            largest_body: self.largest_body,
            all_bodies: self.all_bodies,
            upload: self.upload,
            answer: self.answer,
            strategy: self.strategy.clone(),
        };
        let proxy = Proxy::new(models, &settings, metrics, ending.clone());
        let leave = self.leave;
        let left = async move {
            stop.await;
            ending.store(true, Ordering::Relaxed);
            info!(seconds = leave.as_secs(), "asked to end; clients are taken until everybody knows");
            tokio::time::sleep(leave).await;
        };
        server::serve(clients, proxy, self.most_connections, left, self.drain).await;
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
