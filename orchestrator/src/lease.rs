//! Leader election on a Lease, as client-go does it: a lease is taken over only after it was *observed*
//! not to change for its whole duration, by the observer's own clock, and every write carries the
//! resource version that was read. A leader that can not renew stops by itself before others may start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock;

/// How long a lease lasts after a renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How long a leader goes on writing after its last renewal; less than [`DURATION`] by the longest write.
const FENCE: Duration = Duration::from_secs(10);
/// Time between renewals, and between looks of those who wait.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time for one call.
const CALL: Duration = Duration::from_secs(3);

/// Whether this replica may write.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Whether writes are allowed at `now`.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.0.borrow().is_some_and(|renewed| now.saturating_duration_since(renewed) < FENCE)
    }

    /// Waits until this replica becomes leader.
    pub(crate) async fn gained(&mut self) {
        // The sender lives as long as the program.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Waits until this replica is not the leader any more.
    pub(crate) async fn lost(&mut self) {
        let _ = self.0.wait_for(Option::is_none).await;
    }

    /// A replica that always leads, where there is only one.
    pub(crate) fn always() -> (Self, watch::Sender<Option<Instant>>) {
        let far = clock::monotonic() + Duration::from_secs(u64::from(u32::MAX));
        let (sender, receiver) = watch::channel(Some(far));
        (Self(receiver), sender)
    }
}

/// What was last seen of the lease, and when by our own clock.
#[derive(Debug, Default)]
struct Observed {
    version: Option<String>,
    since: Option<Instant>,
}

/// Takes part in the election until the program ends.
pub(crate) struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    sender: watch::Sender<Option<Instant>>,
    observed: Observed,
}

impl Election {
    /// An election for the lease `name`; `identity` must be this replica's alone.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String) -> (Self, Leadership) {
        let (sender, receiver) = watch::channel(None);
        let election = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            sender,
            observed: Observed::default(),
        };
        (election, Leadership(receiver))
    }

    /// Tries for ever; gives the lease back when `stop` ends.
    pub(crate) async fn run(mut self, stop: Arc<tokio::sync::Notify>) {
        loop {
            let started = clock::monotonic();
            match tokio::time::timeout(CALL, self.turn(started)).await {
                Ok(Ok(true)) => self.lead(started),
                Ok(Ok(false)) => self.follow(),
                Ok(Err(error)) => {
                    warn!(%error, lease = %self.name, "the lease could not be read or written");
                    self.expire(started);
                }
                Err(_) => self.expire(started),
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.notified() => break,
            }
        }
        if self.sender.borrow().is_some() {
            self.sender.send_replace(None);
            if let Ok(Err(error)) = tokio::time::timeout(CALL, self.release()).await {
                warn!(%error, "the lease could not be given back; it runs out by itself");
            }
        }
    }

    fn lead(&self, renewed: Instant) {
        if self.sender.send_replace(Some(renewed)).is_none() {
            info!(identity = %self.identity, "leading");
        }
    }

    fn follow(&self) {
        if self.sender.send_replace(None).is_some() {
            warn!(identity = %self.identity, "another replica leads now");
        }
    }

    /// A renewal failed: lead on only as long as nobody else can have taken over.
    fn expire(&self, now: Instant) {
        let renewed = *self.sender.borrow();
        if renewed.is_some_and(|renewed| now.saturating_duration_since(renewed) >= FENCE) {
            self.follow();
        }
    }

    /// One turn: whether the lease is ours after it.
    async fn turn(&mut self, now: Instant) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease =
                self.written(ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, 0);
            return settled(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or_default();
        let lease = if holder == self.identity {
            self.written(lease.metadata, transitions)
        } else if holder.is_empty() || self.has_expired(lease.metadata.resource_version.as_ref(), now) {
            info!(before = holder, identity = %self.identity, "taking the lease over");
            self.written(lease.metadata, transitions.saturating_add(1))
        } else {
            return Ok(false);
        };
        settled(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    /// Whether the lease has not changed for its whole duration since it was first seen like this.
    fn has_expired(&mut self, version: Option<&String>, now: Instant) -> bool {
        if self.observed.version.as_ref() != version {
            self.observed = Observed { version: version.cloned(), since: Some(now) };
        }
        self.observed.since.is_some_and(|since| now.saturating_duration_since(since) > DURATION)
    }

    /// The lease as ours. The metadata carries the resource version that was read.
    fn written(&self, metadata: ObjectMeta, transitions: i32) -> Lease {
        let now: Timestamp = clock::now();
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                renew_time: Some(MicroTime(now)),
                acquire_time: Some(MicroTime(now)),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(&self.name).await?;
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity))
        {
            spec.holder_identity = Some(String::new());
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

/// Losing a race is no error.
fn settled(outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
