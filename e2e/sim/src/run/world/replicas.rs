//! Replicas of the orchestrator: the program's own code on clients with injected faults.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ray_bridge::{Bridge, Limits};
use rayfleet_orchestrator::{Namespaces, Orchestrator};
use rayfleet_sim_kube::api::ApiServer;
use rayfleet_sim_ray::RayWorld;
use tokio::task::AbortHandle;

use super::partitioned_wire::PartitionedWire;
use super::{NAMESPACE, SYSTEM};
use crate::run::faults::{FaultInjector, Shared};
use crate::run::rights::Install;

/// From the death of a replica to the start of the next.
const RESTART: Duration = Duration::from_secs(2);
/// How long the lists of a replica are stale that starts with stale ones.
const LAGS: Duration = Duration::from_secs(2);

/// The replicas. They end when the last clone is dropped with the runtime.
#[derive(Clone)]
pub(super) struct Replicas {
    api: ApiServer,
    ray: RayWorld,
    shared: Shared,
    install: Install,
    running: Arc<Mutex<BTreeMap<String, AbortHandle>>>,
    started: Arc<Mutex<BTreeMap<char, u32>>>,
}

impl Replicas {
    /// An empty set of replicas.
    pub(super) fn new(api: ApiServer, ray: RayWorld, shared: Shared, install: Install) -> Self {
        Self { api, ray, shared, install, running: Arc::default(), started: Arc::default() }
    }

    /// Starts one, named `<letter><number>`, since Kubernetes gives every pod a new name.
    pub(super) fn start(&self, letter: char, stale: bool) {
        let number = {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            let number = started.entry(letter).or_default();
            *number += 1;
            *number
        };
        let who = format!("{letter}{number}");
        self.shared.lags(&who, stale);
        self.shared.trace.add(&who, "starts".to_owned());
        let injector = FaultInjector::new(&who, self.api.clone(), self.shared.clone());
        let wire = PartitionedWire::new(&who, self.ray.wire(), self.shared.clone());
        let bridge = match Bridge::over(Arc::new(wire), Limits::default()) {
            Ok(bridge) => bridge,
            Err(error) => unreachable!("the launcher is a part of the program: {error}"),
        };
        let orchestrator = Orchestrator {
            client: self.api.client(&who, NAMESPACE, Arc::new(injector)),
            bridge,
            identity: who.clone(),
            namespaces: self.namespaces(),
            lease_namespace: SYSTEM.to_owned(),
            leader_elect: true,
            engine_watch: true,
        };
        let work = orchestrator.run(None, pending());
        let task = tokio::spawn(lasting(who.clone(), self.shared.clone(), work));
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(who, task.abort_handle());
    }

    fn namespaces(&self) -> Namespaces {
        match self.install {
            Install::Everywhere => Namespaces::default(),
            // Namespace and fleets of another team are not part of this run.
            Install::Namespaced | Install::Confined => {
                format!("{NAMESPACE},other-team").parse().unwrap_or_default()
            }
        }
    }

    /// Ends one and starts another after a while.
    pub(super) async fn replace(&self, who: &str, stale: bool) {
        self.shared.mark_dead(who);
        let task = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
        let (Some(task), Some(letter)) = (task, who.chars().next()) else { return };
        task.abort();
        tokio::time::sleep(RESTART).await;
        self.start(letter, stale);
        if stale {
            tokio::time::sleep(LAGS).await;
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            for who in running.keys() {
                self.shared.lags(who, false);
            }
        }
    }
}

/// Work that may only end with its replica.
pub(super) async fn lasting(who: String, shared: Shared, work: impl Future<Output: Debug>) {
    let ended = work.await;
    shared.breach(format!("{who} ended by itself: {ended:?}"));
}
