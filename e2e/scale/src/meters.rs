//! What is read at the edges of a time: the controller's CPU and memory, its requests, its calls, its counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rayfleet_e2e::clock;
use tokio::time::sleep;

use crate::Args;
use crate::audit::{Audit, Requests};
use crate::metrics;
use crate::phase::Phase;
use crate::process::{self, Cpu};
use crate::traffic::{Calls, Traffic};

/// How long a controller that has started asks for nothing before it counts as settled, and how long that is waited for: one that
/// renews a lease never does.
const QUIET: Duration = Duration::from_secs(2);
const SETTLES: Duration = Duration::from_secs(30);

/// What there is to read, at one moment.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    cpu: Cpu,
    all: BTreeMap<String, f64>,
    calls: Calls,
    counters: BTreeMap<String, f64>,
}

/// Where it is read.
pub(crate) struct Meters<'a> {
    args: &'a Args,
    traffic: Arc<Traffic>,
    audit: Audit,
}

impl<'a> Meters<'a> {
    pub(crate) fn new(args: &'a Args, traffic: Arc<Traffic>) -> Self {
        Self { args, traffic, audit: Audit::new(args.audit.clone()) }
    }

    /// All but the requests: of these only what is new is known.
    pub(crate) async fn read(&self) -> anyhow::Result<Reading> {
        Ok(Reading {
            counters: metrics::counters(self.args.metrics.as_deref()).await?,
            cpu: process::cpu(self.args.pid)?,
            all: process::all(),
            calls: self.traffic.now(),
            at: clock::instant(),
        })
    }

    /// What there was to read when the controller started. Other processes did not start with it: theirs is read now.
    pub(crate) fn at_start(&self) -> anyhow::Result<Reading> {
        let age = Duration::try_from_secs_f64(process::age(self.args.pid)?).unwrap_or_default();
        let now = clock::instant();
        Ok(Reading {
            at: now.checked_sub(age).unwrap_or(now),
            cpu: Cpu::default(),
            all: process::all(),
            calls: Calls::default(),
            counters: BTreeMap::new(),
        })
    }

    /// Waits until the controller asks for nothing more: what it has asked up to then belongs to no fleet.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let (began, mut started) = (clock::instant(), false);
        let mut audit = self.audit.clone();
        while clock::seconds_since(began) < SETTLES.as_secs_f64() {
            sleep(QUIET).await;
            let asks = audit.since_last()?.contains_key(&self.args.user);
            if started && !asks {
                return Ok(());
            }
            started |= asks;
        }
        ensure!(
            started,
            "user {} has asked the API server for nothing in {} s",
            self.args.user,
            SETTLES.as_secs()
        );
        Ok(())
    }

    /// What has happened since.
    pub(crate) async fn since(&mut self, before: &Reading) -> anyhow::Result<Phase> {
        let now = self.read().await?;
        let memory = process::memory(self.args.pid)?;
        let mut requests = self.audit.since_last()?;
        Ok(Phase {
            seconds: now.at.saturating_duration_since(before.at).as_secs_f64(),
            cpu: now.cpu.total - before.cpu.total,
            threads: now.cpu.since(&before.cpu).threads,
            all: process::rise(&now.all, &before.all),
            peak_kib: memory.peak,
            resident_kib: memory.now,
            requests: requests.remove(&self.args.user).unwrap_or_default(),
            others: requests.into_iter().map(|(user, Requests { total, .. })| (user, total)).collect(),
            calls: now.calls.since(&before.calls),
            counters: process::rise(&now.counters, &before.counters),
        })
    }
}
