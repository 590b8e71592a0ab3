//! Everything that a fleet's status reports over a period, change by change: as lines for people after a
//! failure, and as steps to compare with a plan. It only observes.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use rayfleet_api::RayClusterFleet;
use tokio::task::JoinSet;

use super::fleet::Fleet;
use super::narrator::Narrator;
use super::ready::groups;
use super::steps::{self, GroupChange};
use super::until;
use crate::clock;

/// Number of lines that a person needs to see what went wrong.
const LAST: usize = 20;
const CATCH_UP: Duration = Duration::from_secs(30);

/// Records until it is dropped.
pub struct Journal {
    kept: Arc<Mutex<Kept>>,
    _watch: JoinSet<()>,
}

#[derive(Default)]
struct Kept {
    narrator: Narrator,
    lines: Vec<String>,
    steps: Vec<GroupChange>,
    last: Option<RayClusterFleet>,
}

impl Journal {
    /// Starts to record a fleet.
    pub fn watch(fleet: &Fleet) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let mut watch = JoinSet::new();
        watch.spawn(listen(fleet.clone(), Arc::clone(&kept), clock::instant()));
        Self { kept, _watch: watch }
    }

    /// Whether the first state has arrived: later changes are recorded.
    pub fn has_started(&self) -> bool {
        lock(&self.kept).last.is_some()
    }

    /// The last phase changes and rollout steps, one per line, with the seconds since the journal started.
    pub fn last_lines(&self) -> String {
        let kept = lock(&self.kept);
        let skip = kept.lines.len().saturating_sub(LAST);
        kept.lines.iter().skip(skip).fold(String::new(), |text, line| text + "  " + line + "\n")
    }

    /// The steps up to a state of the fleet, once the journal has reached it.
    pub async fn steps_up_to(&self, seen: &RayClusterFleet) -> anyhow::Result<Vec<GroupChange>> {
        let wanted = version(seen).context("a fleet without a resource version")?;
        until("the journal to have come as far as the fleet", CATCH_UP, async || {
            let kept = lock(&self.kept);
            let come = kept.last.as_ref().and_then(version).is_some_and(|version| version >= wanted);
            Ok(come.then(|| kept.steps.clone()))
        })
        .await
    }
}

/// The resource version as a number: those of one object increase (guaranteed since Kubernetes 1.35).
fn version(fleet: &RayClusterFleet) -> Option<u64> {
    fleet.metadata.resource_version.as_ref()?.parse().ok()
}

async fn listen(fleet: Fleet, kept: Arc<Mutex<Kept>>, start: Instant) {
    let mut changes = pin!(watch_object(fleet.api(), &fleet.name).default_backoff());
    while let Some(change) = changes.next().await {
        if let Ok(Some(fleet)) = change {
            lock(&kept).take(fleet, clock::seconds_since(start));
        }
    }
}

impl Kept {
    fn take(&mut self, now: RayClusterFleet, seconds: f64) {
        let reported = self.narrator.changes(&now);
        self.lines.extend(reported.into_iter().map(|line| format!("{seconds:7.1} s  {line}")));
        if let Some(before) = &self.last {
            self.steps.extend(steps::between(groups(before), groups(&now)));
        }
        self.last = Some(now);
    }
}

/// Every change is recorded as a whole, so a poisoned lock holds a consistent value.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
