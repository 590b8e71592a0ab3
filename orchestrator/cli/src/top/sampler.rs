//! Asks many pods side by side, a bounded number at a time. A pod that is being asked is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::Request;
use kube::{Client, Resource};
use parking_lot::Mutex;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::CliError;
use rayfleet_telemetry::load::Load;
use rayfleet_telemetry::ray::Gpus;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::ask::{self, Address, Fault, Read};
use super::rows::{Answers, Key, key};
use super::target::{RayPod, Target, ray_pods};
use crate::fleets::Fleets;

/// Pods that are asked at a time: one that does not answer takes the place of another for as long as its limit. A namespace has its
/// share, so that a tenant whose pods are slow holds up nobody else's.
const AT_ONCE: usize = 256;
const OF_A_NAMESPACE: usize = 32;
/// Longest wait for one pod.
const LIMIT: Duration = Duration::from_secs(5);

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// The engine of this group.
    Engine(Key, Address),
    /// Ray's metrics of a pod.
    Gpus(Address),
}

impl Asked {
    /// The engine of a group, if it has one.
    pub(super) fn engine(target: &Target) -> Option<Self> {
        let (pod, port) = target.engine().ok()?;
        let address = Address { namespace: target.namespace.clone(), pod: pod.to_owned(), port };
        Some(Self::Engine(key(target), address))
    }

    /// The GPUs of a pod.
    pub(super) fn gpus(namespace: &str, pod: &RayPod) -> Self {
        Self::Gpus(Address { namespace: namespace.to_owned(), pod: pod.name.clone(), port: pod.port })
    }

    fn address(&self) -> &Address {
        let (Self::Engine(_, address) | Self::Gpus(address)) = self;
        address
    }

    /// Tells it from others.
    fn id(&self) -> (String, String, u16) {
        let Address { namespace, pod, port } = self.address().clone();
        (namespace, pod, port)
    }
}

enum Answer {
    Engine(Key, Duration, Result<Load, Fault>),
    Gpus(Key, Result<Gpus, Fault>),
}

impl Answers {
    fn enter(&mut self, answer: Answer) {
        match answer {
            Answer::Engine(key, at, answer) => self.engines.entry(key).or_default().enter(at, answer),
            Answer::Gpus(key, answer) => {
                self.gpus.insert(key, answer);
            }
        }
    }
}

/// The calls that are under way.
pub(super) struct Sampler {
    client: Client,
    limit: Duration,
    began: Began,
    lanes: Arc<Semaphore>,
    /// Those of each namespace.
    shares: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    busy: BTreeSet<(String, String, u16)>,
    calls: FuturesUnordered<BoxFuture<'static, (Asked, Answer)>>,
}

impl Sampler {
    pub(super) fn new(fleets: &Fleets) -> Self {
        Self {
            client: fleets.client.clone(),
            limit: fleets.timeout.min(LIMIT),
            began: if fleets.recorded { Began::Recorded } else { Began::Now(instant()) },
            lanes: Arc::new(Semaphore::new(AT_ONCE)),
            shares: Mutex::default(),
            busy: BTreeSet::new(),
            calls: FuturesUnordered::new(),
        }
    }

    /// Whether an answer is still to come.
    pub(super) fn is_asking(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Begins to ask those that are not being asked.
    pub(super) fn ask(&mut self, all: impl Iterator<Item = Asked>) {
        for asked in all {
            if self.busy.insert(asked.id()) {
                let call = self.call(asked.clone()).map(move |answer| (asked, answer));
                self.calls.push(call.boxed());
            }
        }
    }

    /// Waits for one answer. Without a call under way it waits for ever.
    pub(super) async fn next(&mut self, answers: &mut Answers) {
        match self.calls.next().await {
            Some((asked, answer)) => {
                self.busy.remove(&asked.id());
                answers.enter(answer);
            }
            None => std::future::pending().await,
        }
    }

    /// Every engine twice, `interval` apart, and the pods in between. One that fails is not asked again.
    pub(super) async fn twice(
        &self,
        targets: &[Target],
        pods: &[RayPod],
        namespace: &str,
        interval: Duration,
    ) -> Answers {
        let engines = targets.iter().filter_map(Asked::engine).map(async |asked| {
            let first = self.call(asked.clone()).await;
            if matches!(first, Answer::Engine(_, _, Err(_))) {
                return vec![first];
            }
            if matches!(self.began, Began::Now(_)) {
                // From now on: the first may have waited for its turn, or been slow.
                tokio::time::sleep(interval).await;
            }
            vec![first, self.call(asked).await]
        });
        let gpus = pods.iter().map(async |pod| vec![self.call(Asked::gpus(namespace, pod)).await]);
        let (engines, gpus) =
            futures::join!(futures::future::join_all(engines), futures::future::join_all(gpus));
        let mut answers = Answers::default();
        engines.into_iter().chain(gpus).flatten().for_each(|answer| answers.enter(answer));
        answers
    }

    fn call(&self, asked: Asked) -> impl Future<Output = Answer> + Send + 'static {
        let (client, limit, began, lanes) = (self.client.clone(), self.limit, self.began, self.lanes.clone());
        let namespace = asked.address().namespace.clone();
        let share = || Arc::new(Semaphore::new(OF_A_NAMESPACE));
        let share = self.shares.lock().entry(namespace).or_insert_with(share).clone();
        async move {
            // Nobody closes them. Who waits for its share holds no lane of others.
            let share = share.acquire_owned().await;
            let lane = lanes.acquire_owned().await;
            let answer = match asked {
                Asked::Engine(key, at) => {
                    // When the pod began to answer; the rest may be slow to come.
                    let (at, answer) = read::<Load>(&client, &at, limit, began).await;
                    Answer::Engine(key, at, answer)
                }
                Asked::Gpus(at) => {
                    let (_, answer) = read::<Gpus>(&client, &at, limit, began).await;
                    Answer::Gpus((at.namespace, at.pod), answer)
                }
            };
            drop((lane, share));
            answer
        }
    }
}

/// What times are counted from.
#[derive(Clone, Copy, Debug)]
enum Began {
    /// This moment.
    Now(Instant),
    /// A bundle says when each answer was given, and nothing is waited for.
    Recorded,
}

impl Began {
    /// When an answer came; `at`, if a bundle says it.
    fn when(self, at: Option<Timestamp>) -> Duration {
        match self {
            Self::Now(began) => began.elapsed(),
            Self::Recorded => {
                let millis = at.and_then(|at| u64::try_from(at.as_millisecond()).ok()).unwrap_or_default();
                Duration::from_millis(millis)
            }
        }
    }
}

/// Only differences of it are used, which are not to jump with the clock of the machine.
#[expect(clippy::disallowed_methods, reason = "a wall clock may be set between two readings")]
fn instant() -> Instant {
    Instant::now()
}

async fn read<T: Read>(
    client: &Client,
    at: &Address,
    limit: Duration,
    began: Began,
) -> (Duration, Result<T, Fault>) {
    let mut answered = None;
    let answer = ask::metrics(client, at, limit, |at| answered = Some(began.when(at))).await;
    (answered.unwrap_or_else(|| began.when(None)), answer)
}

/// The pods of a fleet that run.
pub(super) async fn pods(fleets: &Fleets, fleet: &str) -> Result<Vec<RayPod>, CliError> {
    let at = Request::new(Pod::url_path(&(), Some(&fleets.namespace)));
    let of = ListParams::default().labels(&format!("{LABEL_FLEET}={fleet}"));
    Ok(fleets.all(&at, of, "pods", ray_pods).await?.into_iter().flatten().collect())
}
