//! What every reading of a log shares: the fleet as it is now, where lines go, and how long is waited. No call of its own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_cli_kit::CliError;
use tokio::sync::{mpsc, watch};

use super::facts::{Container, World};
use super::source::{Label, Selection, Source};
use crate::fleets::Fleets;

/// How long a stream may be silent before it is opened again: its connection may be dead.
pub(super) const SILENCE: Duration = Duration::from_mins(5);
/// Pause before a stream is opened again, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A line, and who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) label: Arc<Label>,
    /// As Kubernetes knows it, or as the line says; without either that of the line before.
    pub(super) time: Option<Timestamp>,
    pub(super) text: String,
}

/// What a reading says.
#[derive(Debug)]
pub(super) enum Said {
    Line(Entry),
    /// To people, beside the lines.
    Note(String),
    /// A log has been opened: something can be read.
    Opened,
    /// A log cannot be read, and will not be.
    Refused(CliError),
}

/// The output was closed: nobody reads on.
pub(super) struct Closed;

/// Surroundings of one reading.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) fleets: Fleets,
    pub(super) selection: Arc<Selection>,
    pub(super) world: watch::Receiver<Arc<World>>,
    pub(super) out: mpsc::Sender<Said>,
    /// Now, when the command began.
    pub(super) began: Timestamp,
    pub(super) options: Options,
}

/// What was asked of each log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) follow: bool,
    pub(super) previous: bool,
    pub(super) launcher: bool,
    pub(super) since: Option<Duration>,
    /// Last lines; `None`: all.
    pub(super) lines: Option<u64>,
}

impl Context {
    /// The fleet as it is now.
    pub(super) fn now(&self) -> Arc<World> {
        self.world.borrow().clone()
    }

    /// A container as it is now; `None`: its pod is gone.
    pub(super) fn container(&self, pod: &str, name: &str) -> Option<Container> {
        self.world.borrow().pods.get(pod)?.container(name).cloned()
    }

    /// Whether a log is still one of those that are wanted.
    pub(super) fn wants(&self, source: &Source) -> bool {
        let world = self.now();
        self.selection.sources(&world).contains(source)
    }

    /// Waits until the fleet or its pods change, at most so long; `false`: they will not any more.
    pub(super) async fn changed(&mut self, limit: Duration) -> bool {
        match tokio::time::timeout(limit, self.world.changed()).await {
            Ok(changed) => changed.is_ok(),
            Err(_) => true,
        }
    }

    pub(super) async fn say(&self, said: Said) -> Result<(), Closed> {
        self.out.send(said).await.map_err(|_| Closed)
    }

    pub(super) async fn note(&self, text: impl Into<String>) -> Result<(), Closed> {
        self.say(Said::Note(text.into())).await
    }
}

/// Pauses between attempts that came to nothing, longer and longer.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(PAUSE)
    }

    /// An attempt came to something.
    pub(super) fn reset(&mut self) {
        self.0 = PAUSE;
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_PAUSE);
        now
    }
}
