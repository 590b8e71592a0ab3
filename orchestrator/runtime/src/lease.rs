//! Leader election on a Lease, as client-go does it: a lease is taken over only after it was *observed*
//! not to change for its whole duration, by the observer's own clock, and every write carries the
//! resource version that was read. A leader that cannot renew stops by itself before others may start; one that cannot do its work
//! leaves the lease to others for a while.

mod leadership;
mod rule;
#[cfg(test)]
mod tests;
mod yielding;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::leadership::Leadership;
use self::rule::{LeaseAction, ObservedLease};
use self::yielding::Yielding;
use crate::clock;

/// Time between renewals, and between looks of those who wait.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time for one turn. Two may fail before a leader has to stop.
const TURN: Duration = Duration::from_secs(3);
const _: () = assert!(2 * (RETRY.as_millis() + TURN.as_millis()) <= leadership::FENCE.as_millis());

/// Takes part in the election until the program ends.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    sender: watch::Sender<Option<Instant>>,
    sighting: Option<ObservedLease>,
    yielding: Yielding,
}

impl Election {
    /// An election for the lease `name`; `identity` must be this replica's alone.
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> (Self, Leadership) {
        let (sender, receiver) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        let election = Self {
            api,
            name: name.to_owned(),
            identity,
            sender,
            sighting: None,
            yielding: Yielding::default(),
        };
        (election, Leadership::new(receiver))
    }

    /// Tries for ever; gives the lease back when `stop` ends. `unable_for` says for how long this replica, which leads, has been unable
    /// to do its work, and `inability` in words what that means.
    pub async fn run(
        mut self,
        stop: Arc<tokio::sync::Notify>,
        inability: &str,
        unable_for: impl Fn(Instant) -> Option<Duration>,
    ) {
        loop {
            if self.sender.borrow().is_some() {
                let now = clock::monotonic();
                if self.yielding.due(unable_for(now), now) {
                    warn!(identity = %self.identity, "{inability}: the lease is given back, so that another replica leads");
                    self.give_to_others().await;
                }
            }
            // Before the write: others begin to wait when they see it, never earlier.
            let started = clock::monotonic();
            if self.yielding.leaves(started) {
                tokio::select! {
                    biased;
                    () = stop.notified() => break,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            }
            match tokio::time::timeout(TURN, self.turn()).await {
                Ok(Ok(true)) => self.lead(started),
                Ok(Ok(false)) => self.follow(),
                Ok(Err(error)) => {
                    warn!(%error, lease = %self.name, "the lease could not be read or written");
                    self.expire();
                }
                Err(_) => {
                    warn!(lease = %self.name, "the API server did not answer within {TURN:?}");
                    self.expire();
                }
            }
            tokio::select! {
                // After a request to stop it renews no more.
                biased;
                () = stop.notified() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        if self.sender.send_replace(None).is_some() {
            self.give_back().await;
        }
    }

    async fn give_back(&self) {
        match tokio::time::timeout(TURN, self.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the lease could not be given back; it runs out by itself"),
            Err(_) => warn!("the lease could not be given back in time; it runs out by itself"),
        }
    }

    /// Stops leading, and lets others try once what was on its way has arrived.
    async fn give_to_others(&self) {
        self.follow();
        tokio::time::sleep(leadership::ON_ITS_WAY).await;
        self.give_back().await;
    }

    fn lead(&self, renewed: Instant) {
        if self.sender.send_replace(Some(renewed)).is_none() {
            info!(identity = %self.identity, "leading");
        }
    }

    fn follow(&self) {
        if self.sender.send_replace(None).is_some() {
            warn!(identity = %self.identity, "not leading any more");
        }
    }

    /// A renewal failed: lead on only as long as nobody else can have taken over.
    fn expire(&self) {
        if !leadership::holds(*self.sender.borrow(), clock::monotonic()) {
            self.follow();
        }
    }

    /// One turn: whether the lease is ours after it.
    async fn turn(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let step;
        (step, self.sighting) =
            rule::next(lease.as_ref(), &self.identity, self.sighting.take(), clock::monotonic());
        if step == LeaseAction::TakeOver {
            let before = lease.as_ref().and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref());
            info!(before, identity = %self.identity, "taking the lease over");
        }
        let fresh = || Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        };
        let ours = rule::held(lease.unwrap_or_else(fresh), &self.identity, step, clock::now());
        let parameters = PostParams::default();
        match step {
            LeaseAction::Wait => Ok(false),
            LeaseAction::Create => settled(self.api.create(&parameters, &ours).await),
            LeaseAction::Renew | LeaseAction::TakeOver => {
                settled(self.api.replace(&self.name, &parameters, &ours).await)
            }
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
