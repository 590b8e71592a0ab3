//! The loop of a controller: from the queue to passes, some of them at the same time, never two over one key. One that fails comes
//! again with growing waits, and so does one that panics. What a pass does is its [`Reconciler`]'s affair.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};
use tracing::{Instrument as _, Span, debug, error, warn};

use crate::queue::{Ended, Tenant};
use crate::{Leadership, Metrics, Queue, WriteError, clock};

/// When a key is looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At this time, or when something happens before that.
    At(Timestamp),
    /// When something happens.
    WhenMarked,
    /// It stands for nothing any more: what is remembered of it is forgotten.
    Gone,
}

impl From<Option<Timestamp>> for Next {
    fn from(wake: Option<Timestamp>) -> Self {
        wake.map_or(Self::WhenMarked, Self::At)
    }
}

/// What a controller is for.
pub trait Reconciler: Send + Sync + 'static {
    /// What a pass is about.
    type Key: Tenant + Clone + Ord + Display + Send + Sync + 'static;
    /// What is remembered of a key from one pass to the next, in one place: it is all forgotten with the key, with the lease, and with
    /// a pass that panicked.
    type State: Default + Send + 'static;

    /// Passes at the same time.
    const PARALLEL: usize;

    /// Keys that need a pass. Whoever learns something marks them there.
    fn queue(&self) -> &Queue<Self::Key>;

    /// The span of a pass over a key: what every log line in it says.
    fn span(key: &Self::Key) -> Span;

    /// One pass: looks at everything that concerns the key, and writes what follows. It may end at any call, and is then taken again.
    fn reconcile(
        &self,
        key: &Self::Key,
        state: &mut Self::State,
    ) -> impl Future<Output = Result<Next, WriteError>> + Send;

    /// This replica leads from now on: all keys are to be marked.
    fn leads(&self);

    /// This replica does not lead any more, or the program ends. Called again when the last pass is over.
    fn stopped(&self) {}

    /// A pass took so long, however it ended.
    fn measured(&self, _key: &Self::Key, _took: Duration) {}

    /// A key is gone.
    fn forgotten(&self, _key: &Self::Key) {}
}

/// A reconciler at work.
pub struct Controller<R: Reconciler> {
    reconciler: Arc<R>,
    /// A pass takes its key's out, as there is never more than one at a time.
    states: Mutex<BTreeMap<R::Key, R::State>>,
    metrics: Metrics,
}

impl<R: Reconciler> Controller<R> {
    /// A controller that has looked at nothing yet.
    pub fn new(reconciler: impl Into<Arc<R>>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { reconciler: reconciler.into(), states: Mutex::default(), metrics })
    }

    /// Works while this replica leads. Passes end with this future.
    pub async fn run(self: Arc<Self>, mut leadership: Leadership) {
        let _stopped = UntilDropped(&*self.reconciler);
        let mut passes = JoinSet::new();
        loop {
            self.reconciler.queue().close();
            leadership.gained().await;
            // Another replica has led meanwhile.
            self.states.lock().clear();
            self.reconciler.queue().open();
            self.reconciler.leads();
            let mut lost = leadership.clone();
            loop {
                let has_room = passes.len() < R::PARALLEL;
                let key = tokio::select! {
                    // A lost lease comes before all. Passes that are over make room for the next ones.
                    biased;
                    () = lost.lost() => break,
                    Some(ended) = passes.join_next() => {
                        report_if_wrong(ended);
                        continue;
                    }
                    key = self.reconciler.queue().next(clock::monotonic), if has_room => key,
                };
                let this = self.clone();
                passes.spawn(async move { this.pass(&key).await });
            }
            self.reconciler.stopped();
            // Passes that were under way end at their next call; until then they may start something.
            while let Some(ended) = passes.join_next().await {
                report_if_wrong(ended);
            }
            self.reconciler.stopped();
        }
    }

    /// One pass over a key that the queue gave, whatever comes of it.
    pub async fn pass(&self, key: &R::Key) {
        let span = R::span(key);
        async {
            let ended = self.look(key).await;
            self.reconciler.queue().done(key, ended);
        }
        .instrument(span)
        .await;
    }

    async fn look(&self, key: &R::Key) -> Ended {
        let started = clock::monotonic();
        let mut state = self.states.lock().remove(key).unwrap_or_default();
        let pass = Box::pin(self.reconciler.reconcile(key, &mut state));
        let ended = AssertUnwindSafe(pass).catch_unwind().await;
        self.reconciler.measured(key, clock::monotonic().saturating_duration_since(started));
        let next = match ended {
            Ok(next) => next,
            Err(panic) => {
                self.metrics.panics.inc();
                let cause = words_of(&*panic);
                error!(cause, "a pass panicked: this is a bug in Rayfleet; it is taken again");
                return Ended::Failed(clock::monotonic());
            }
        };
        if matches!(next, Ok(Next::Gone)) {
            self.reconciler.forgotten(key);
        } else {
            self.states.lock().insert(key.clone(), state);
        }
        match next {
            Ok(Next::Gone) => Ended::Gone,
            Ok(Next::WhenMarked) => Ended::Done(None),
            Ok(Next::At(wake)) => Ended::Done(Some(instant_of(wake, clock::now(), clock::monotonic()))),
            Err(error) => {
                if error.is_conflict() {
                    debug!(%error, "the object changed meanwhile; looking again");
                } else {
                    warn!(%error, "a pass ended early; it is taken again");
                }
                Ended::Failed(clock::monotonic())
            }
        }
    }
}

/// Stops a reconciler when it is dropped.
struct UntilDropped<'a, R: Reconciler>(&'a R);

impl<R: Reconciler> Drop for UntilDropped<'_, R> {
    fn drop(&mut self) {
        self.0.stopped();
    }
}

fn report_if_wrong(ended: Result<(), JoinError>) {
    if let Err(wrong) = ended {
        error!(%wrong, "the task of a pass broke off: this is a bug in Rayfleet");
    }
}

/// What a panic says of itself.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

/// The monotonic moment of a time of day, given both clocks at one moment. What is over is now.
fn instant_of(when: Timestamp, now: Timestamp, monotonic: Instant) -> Instant {
    let wait = Duration::try_from(when.duration_since(now)).unwrap_or_default();
    monotonic.checked_add(wait).unwrap_or(monotonic)
}

#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(test)]
mod tests;
