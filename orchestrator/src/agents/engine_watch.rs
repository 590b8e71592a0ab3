//! The watch that an agent keeps of the engine of its group while that serves. Says when a look at everything is due; looks at
//! nothing itself.

use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use ray_bridge::engine::{EngineClient, EngineWatch, Health, Load, Watched};
use ray_bridge::{CallError, CallErrorKind};
use tokio::time::{timeout, timeout_at};
use tracing::debug;

use super::assignment::Submission;
use crate::clock;

/// A watch that says nothing for this long is broken: two signs of life are missing. An engine that is asked once a second and does not
/// answer within three is noticed as late.
const SILENCE: Duration = Duration::from_secs(4);
/// Longest time to open a watch; the engine has answered a moment before.
const OPEN: Duration = Duration::from_secs(1);
/// Wait after a watch that could not be opened, and after one that the engine does not have: its middleware stays the same.
const AGAIN: Duration = Duration::from_secs(5);
const NEVER: Duration = Duration::from_hours(1);
/// Time for one read, however long nothing was read: what waits in the connection was said in time.
const READ: Duration = Duration::from_millis(200);

/// The watch of one agent.
#[derive(Debug, Default)]
pub(super) struct GroupWatch {
    open: Option<Open>,
    /// The launch whose watch could not be opened, and until when it is not tried.
    refused: Option<(Submission, Instant)>,
    /// How often the launcher has called, by the last line of any watch of this launch.
    calls: Option<(Submission, u64)>,
}

#[derive(Debug)]
struct Open {
    _counted: Counted,
    of: Submission,
    watch: EngineWatch,
    began: Instant,
    heard: Instant,
    /// When nobody waited for lines any more.
    left: Option<Instant>,
    said: Option<Watched>,
}

/// One open watch, until it is dropped.
#[derive(Debug)]
struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the port of an engine is known to answer.
pub(super) type Port = (Health, Option<Load>);

/// What a watch brought.
#[derive(Debug)]
pub(super) enum WatchEvent {
    /// Other counts.
    Counts,
    /// The engine has ended the watch, which it does after a while.
    Ended,
    /// The launcher has found other ranks or nodes alive than before.
    Called,
    /// The watch has ended with the engine's health or without a word, so that everything is to be looked at; and what the engine's port
    /// is known to answer.
    Broken(Option<Port>),
}

impl GroupWatch {
    /// Opens a watch, unless that failed a moment ago.
    pub(super) async fn open(&mut self, of: &Submission, engine: &EngineClient, open: &Gauge) {
        let now = clock::monotonic();
        if self.refused.as_ref().is_some_and(|(refused, until)| refused == of && now < *until) {
            return;
        }
        match timeout(OPEN, engine.watch()).await {
            Ok(Ok(watch)) => {
                let heard = clock::monotonic();
                open.inc();
                let counted = Counted(open.clone());
                self.open = Some(Open {
                    _counted: counted,
                    of: of.clone(),
                    watch,
                    began: heard,
                    heard,
                    left: None,
                    said: None,
                });
            }
            Ok(Err(error)) => {
                debug!(%error, "the engine cannot be watched; it is asked");
                self.refused = Some((of.clone(), now + if is_missing(&error) { NEVER } else { AGAIN }));
            }
            Err(_) => self.refused = Some((of.clone(), now + AGAIN)),
        }
    }

    /// Nobody waits for lines from now on, until [`next`](Self::next) is called again.
    pub(super) fn left(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.left = Some(now);
        }
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Whether this launch is watched.
    pub(super) fn is_of(&self, of: &Submission) -> bool {
        self.open.as_ref().is_some_and(|open| open.of == *of)
    }

    /// When the engine last said something, and its load by then: none before its first line.
    pub(super) fn last(&self) -> Option<(Instant, Option<&Load>)> {
        let open = self.open.as_ref()?;
        Some((open.heard, open.said.as_ref().map(|said| &said.load)))
    }

    /// Waits for something new; for ever while nothing is watched. Nothing is lost if the future is dropped. `sign` is called with the
    /// time of each line, also of one that says nothing new.
    pub(super) async fn next(&mut self, sign: impl Fn(Instant)) -> WatchEvent {
        loop {
            let Some(open) = &mut self.open else { return std::future::pending().await };
            let entered = clock::monotonic();
            let until = (open.heard + SILENCE).max(entered + READ);
            let mut line = timeout_at(until.into(), open.watch.next()).await;
            if line.is_err() {
                // A process that stood still finds the time over and the line at once.
                line = timeout(READ, open.watch.next()).await;
            }
            let port = match line {
                Ok(Ok(Some(said))) => {
                    let now = clock::monotonic();
                    // What waited in the connection came at some time since somebody last waited for it.
                    let waited = open.left.take().filter(|_| now < entered + READ);
                    sign(waited.unwrap_or(now).max(open.heard));
                    open.heard = now;
                    if open.said.replace(said.clone()).as_ref() == Some(&said) {
                        continue;
                    }
                    if said.health != Health::Serving {
                        // What it answers to others may be another thing than what it answers to itself.
                        self.end();
                        return WatchEvent::Broken(None);
                    }
                    let calls = Some((open.of.clone(), said.rank_changes));
                    let called = self.calls != calls;
                    self.calls = calls;
                    return if called { WatchEvent::Called } else { WatchEvent::Counts };
                }
                Ok(Ok(None)) => {
                    self.end();
                    return WatchEvent::Ended;
                }
                Ok(Err(error)) => {
                    debug!(%error, "the watch of the engine broke");
                    None
                }
                Err(_) => {
                    Some((Health::Unreachable(format!("nothing within {} s", SILENCE.as_secs())), None))
                }
            };
            self.end();
            return WatchEvent::Broken(port);
        }
    }

    /// One that ends soon after it was opened is not opened again at once.
    fn end(&mut self) {
        let now = clock::monotonic();
        if let Some(open) = self.open.take().filter(|open| now < open.began + AGAIN) {
            self.refused = Some((open.of, now + AGAIN));
        }
    }
}

/// The engine has no watch: its middleware is older, or it has none.
fn is_missing(error: &CallError) -> bool {
    matches!(error.kind, CallErrorKind::NotFound { .. } | CallErrorKind::Rejected { status: 405, .. })
}
