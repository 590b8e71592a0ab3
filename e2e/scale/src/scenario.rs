//! What is done: fleets are brought up, and then left alone. Everything is read at the edges of these two times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use kube::{Api, Client};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use tokio::time::{interval, sleep, timeout};

use crate::Args;
use crate::audit::{Audit, Requests};
use crate::containers::Containers;
use crate::fleets::{self, Fleets};
use crate::process::{self, Cpu};
use crate::progress::Progress;
use crate::report::{Phase, Report};
use crate::traffic::{Calls, Traffic};
use crate::watches::{self, Followed};
use crate::{metrics, server};

/// What a controller still does after the last fleet is ready belongs to bringing it up.
const TAIL: Duration = Duration::from_secs(5);
/// How long a controller that has started asks for nothing before it counts as settled, and how long that is waited for: one that
/// renews a lease never does.
const QUIET: Duration = Duration::from_secs(2);
const SETTLES: Duration = Duration::from_secs(30);
/// Time between signs of life.
const SIGN: Duration = Duration::from_secs(10);

/// What there is to read, at one moment.
struct Reading {
    at: Instant,
    cpu: Cpu,
    all: BTreeMap<String, f64>,
    calls: Calls,
    counters: BTreeMap<String, f64>,
}

/// Where it is read.
struct Meters<'a> {
    args: &'a Args,
    traffic: Arc<Traffic>,
    audit: Audit,
}

impl Meters<'_> {
    /// All but the requests: of these only what is new is known.
    async fn read(&self) -> anyhow::Result<Reading> {
        Ok(Reading {
            counters: metrics::counters(self.args.metrics.as_deref()).await?,
            cpu: process::cpu(self.args.pid)?,
            all: process::all(),
            calls: self.traffic.now(),
            at: clock::instant(),
        })
    }

    /// Waits until the controller has started: what it asks meanwhile belongs to no fleet.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let (began, mut started) = (clock::instant(), false);
        while clock::seconds_since(began) < SETTLES.as_secs_f64() {
            sleep(QUIET).await;
            let asks = self.audit.since_last()?.contains_key(&self.args.user);
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
    async fn since(&mut self, before: &Reading) -> anyhow::Result<Phase> {
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

/// Brings up the fleets and watches them at rest.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    ensure!((1..=1000).contains(&args.fleets), "--fleets is {}: 1 to 1000 are possible", args.fleets);
    let client = Client::try_default().await.context("connect to the API server")?;
    let fleets = Fleets::read(client.clone(), &args.manifest).await?;
    let names: Vec<String> = (1..=args.fleets).map(fleets::name).collect();

    let (traffic, containers) = (Arc::new(Traffic::default()), Containers::new());
    server::start(&containers.wire(), &traffic).await?;
    let followed = Arc::new(Followed::new(Progress::new(names.iter().cloned(), args.pods)));
    tokio::spawn(watches::pods(Api::all(client), containers, followed.clone()));
    tokio::spawn(watches::fleets(fleets.api.clone(), followed.clone()));

    let mut meters = Meters { args, traffic, audit: Audit::new(args.audit.clone()) };
    meters.settle().await?;
    process::forget_peak(args.pid)?;
    let start = meters.read().await?;
    print_error(format_args!("Making {} fleets", args.fleets));
    fleets.create(&names, |name| followed.progress().created(name, clock::instant())).await?;
    await_all(args, &followed).await?;
    sleep(TAIL).await;
    let bring_up = meters.since(&start).await?;
    let times = followed.progress().times().context("the fleets are up, and it is not known since when")?;

    let rest = if args.rest == 0 {
        None
    } else {
        print_error(format_args!("All are up; {} min at rest", args.rest));
        let start = meters.read().await?;
        sleep(Duration::from_secs(60 * args.rest)).await;
        Some(meters.since(&start).await?)
    };
    Ok(Report { fleets: args.fleets, times, bring_up, rest })
}

async fn await_all(args: &Args, followed: &Followed) -> anyhow::Result<()> {
    let signs = async {
        let mut signs = interval(SIGN);
        loop {
            signs.tick().await;
            let (pods, status) = followed.progress().ready();
            print_error(format_args!("  ready by pods {pods}, by status {status}"));
            if let Err(ended) = process::cpu(args.pid) {
                return ended;
            }
        }
    };
    let limit = Duration::from_secs(60 * args.limit);
    tokio::select! {
        done = timeout(limit, followed.done()) => done.map_err(|_| {
            let (pods, status) = followed.progress().ready();
            anyhow!("after {} min {pods} of {} fleets are ready by pods, {status} by status", args.limit, args.fleets)
        }),
        ended = signs => Err(ended),
    }
}
