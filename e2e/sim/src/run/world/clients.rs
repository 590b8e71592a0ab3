//! Clients of a fleet's Service: each sends one request after the other to an address that the Service has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayfleet_sim_kube::kubernetes::Kubernetes;
use rayfleet_sim_ray::ordered_notify::{OrderedNotify, Subscriber};
use rayfleet_sim_ray::{Connection, Outcome, RayWorld};
use tokio::task::JoinSet;

use crate::run::report::Tally;
use crate::run::scenario::Load;
use crate::run::trace::Trace;

/// Wait while the Service has no address.
const NOBODY: Duration = Duration::from_millis(500);

/// Clients that send until they are told to stop.
pub(super) struct Clients {
    tasks: JoinSet<()>,
    stop: OrderedNotify,
    tally: Arc<Mutex<Tally>>,
}

impl Clients {
    /// Starts them.
    pub(super) fn start(
        load: &Load,
        namespace: &str,
        service: &str,
        kubernetes: &Kubernetes,
        ray: &RayWorld,
        trace: &Trace,
    ) -> Self {
        let mut clients =
            Self { tasks: JoinSet::new(), stop: OrderedNotify::default(), tally: Arc::default() };
        let stopped = clients.stop.subscribe();
        for number in 0..load.fresh + load.kept {
            let client = Client {
                number: usize::try_from(number).unwrap_or_default(),
                connection: if number < load.fresh { Connection::Fresh } else { Connection::Kept },
                tokens: load.tokens,
                pause: load.pause.0,
                namespace: namespace.to_owned(),
                service: service.to_owned(),
                kubernetes: kubernetes.clone(),
                ray: ray.clone(),
                trace: trace.clone(),
                tally: clients.tally.clone(),
            };
            clients.tasks.spawn(client.run(stopped.clone()));
        }
        clients
    }

    /// Lets the requests that are open end, and counts.
    pub(super) async fn stop(mut self) -> Tally {
        self.stop.notify();
        while self.tasks.join_next().await.is_some() {}
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Client {
    number: usize,
    connection: Connection,
    tokens: u32,
    pause: Duration,
    namespace: String,
    service: String,
    kubernetes: Kubernetes,
    ray: RayWorld,
    trace: Trace,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    async fn run(self, mut stopped: Subscriber) {
        let mut turn = self.number;
        while !stopped.has_changed() {
            let addresses = self.kubernetes.service_addresses(&self.namespace, &self.service);
            let pause = match addresses.get(turn.checked_rem(addresses.len()).unwrap_or_default()) {
                Some((ip, port)) => {
                    let outcome = self.ray.request(ip, *port, self.tokens, self.connection).await;
                    self.enter(ip, outcome);
                    self.pause
                }
                None => NOBODY,
            };
            turn += 1;
            tokio::select! {
                // Told to stop it asks no more.
                biased;
                () = stopped.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn enter(&self, ip: &str, outcome: Outcome) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let what = match outcome {
            Outcome::Answered { .. } => {
                tally.answered += 1;
                return;
            }
            Outcome::CutOff { tokens, death: true } => {
                tally.died += 1;
                format!("died after {tokens} tokens")
            }
            Outcome::CutOff { tokens, death: false } => {
                tally.cut_off += 1;
                format!("was cut off after {tokens} tokens")
            }
            Outcome::Refused => {
                tally.refused += 1;
                "was refused".to_owned()
            }
        };
        self.trace.add("client", format!("request {} to {ip} {what}", self.number));
    }
}
