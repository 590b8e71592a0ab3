//! Engines of the local cluster that a scenario kills deliberately, and how long requests may still reach
//! them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::pods::FleetPod;
use rayfleet_e2e::cluster::{call, processes, until};
use rayfleet_e2e::load::Death;

/// Longest time until a dead engine can no longer be reached. If the orchestrator was on the lost node,
/// another replica must start first and wait for the lease to expire.
const LET_GO: Duration = Duration::from_mins(3);
/// Longest time until a node has programmed a change of the endpoints; until then requests may be sent to
/// removed ones.
const PROGRAMMED: Duration = Duration::from_secs(5);

/// The engine deaths during one load.
pub(crate) struct Deaths {
    fleet: Fleet,
    start: Instant,
    known: RefCell<Vec<Death>>,
}

impl Deaths {
    /// No deaths yet, under a load that started at `start`.
    pub(crate) fn new(fleet: &Fleet, start: Instant) -> Self {
        Self { fleet: fleet.clone(), start, known: RefCell::default() }
    }

    /// Runs `fault`, which ends the engine of this head, and waits until the Service has removed it and its
    /// server has exited: until then a client with a kept connection reaches it.
    pub(crate) async fn inflict(
        &self,
        cause: &str,
        head: &FleetPod,
        fault: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let from = clock::seconds_since(self.start);
        let death = Death { server: head.name.clone(), cause: cause.to_owned(), from, until: None };
        let at = self.known.borrow().len();
        self.known.borrow_mut().push(death);
        let servers = processes::api_servers(head);
        fault.await.with_context(|| cause.to_owned())?;
        until(&format!("the Service to remove {} after {cause}", head.name), LET_GO, async || {
            Ok((!self.is_open(&head.ip).await?).then_some(()))
        })
        .await?;
        until(&format!("the server in {} to end after {cause}", head.name), LET_GO, async || {
            Ok(processes::api_servers(head).iter().all(|process| !servers.contains(process)).then_some(()))
        })
        .await?;
        let until = clock::seconds_since(self.start) + PROGRAMMED.as_secs_f64();
        if let Some(death) = self.known.borrow_mut().get_mut(at) {
            death.until = Some(until);
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Death> {
        self.known.borrow().clone()
    }

    async fn is_open(&self, address: &str) -> anyhow::Result<bool> {
        let cluster = &self.fleet.cluster;
        let api: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let ours = ListParams::default().labels(&format!("kubernetes.io/service-name={}", self.fleet.name));
        let slices = call("list EndpointSlices", api.list(&ours)).await?;
        let mut endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
        Ok(endpoints.any(|endpoint| {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            ready && endpoint.addresses.iter().any(|known| known == address)
        }))
    }
}
