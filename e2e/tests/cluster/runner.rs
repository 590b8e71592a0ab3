//! Runs scenarios, each within its time, and says what came of them: one after the other, and those that are not exclusive two at a
//! time, in two namespaces. After a failure it shows why, gives every node its power back and clears the namespace, so that the
//! next scenario starts from nothing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::future::LocalBoxFuture;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::dump::dump;
use rayfleet_e2e::concurrency::{Batch, Concurrency, batches};
use rayfleet_e2e::console::{line, print_error};
use tokio::time::timeout;

use crate::suite::Suite;

type Run = for<'a> fn(&'a Suite) -> LocalBoxFuture<'a, anyhow::Result<()>>;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// It takes too long for every run: it runs only when a part of its name is given.
    pub(crate) by_name_only: bool,
    concurrency: Concurrency,
    limit: Duration,
    run: Run,
}

impl Scenario {
    pub(crate) fn new(name: &'static str, limit: Duration, run: Run) -> Self {
        Self { name, by_name_only: false, concurrency: Concurrency::Exclusive, limit, run }
    }

    pub(crate) fn named(name: &'static str, limit: Duration, run: Run) -> Self {
        Self { by_name_only: true, ..Self::new(name, limit, run) }
    }

    /// The same, with what may run at the same time.
    pub(crate) fn concurrency(self, concurrency: Concurrency) -> Self {
        Self { concurrency, ..self }
    }

    async fn within_limit(&self, suite: &Suite) -> anyhow::Result<()> {
        match timeout(self.limit, (self.run)(suite)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not over after {} s", self.limit.as_secs()),
        }
    }
}

/// What came of scenarios.
#[derive(Default)]
struct Tally {
    /// A line for each that was run.
    times: Vec<String>,
    failed: usize,
    /// A namespace cannot be cleared.
    is_stuck: bool,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
        self.is_stuck |= other.is_stuck;
    }
}

pub(crate) async fn run_all(suite: &Suite, scenarios: Vec<Scenario>) -> ExitCode {
    let count = scenarios.len();
    let mut tally = Tally::default();
    for batch in batches(scenarios, |scenario| scenario.concurrency) {
        tally.add(run_batch(suite, &batch).await);
        if tally.is_stuck {
            print_error("error: the rest is not run");
            break;
        }
    }
    let passed = tally.times.len() - tally.failed;
    let mut failed = count - passed;
    if let Err(error) = suite.end().await {
        print_error(format_args!("error: {error:#}"));
        failed += 1;
    }
    line("");
    tally.times.iter().for_each(line);
    line(format_args!("{passed} passed, {failed} failed, 0 skipped"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run_batch(suite: &Suite, batch: &Batch<Scenario>) -> Tally {
    let first = Box::pin(run_list(suite, &batch.first));
    let second = Box::pin(run_second(suite, &batch.second));
    let (mut tally, other) = futures::join!(first, second);
    tally.add(other);
    tally
}

async fn run_second(suite: &Suite, scenarios: &[Scenario]) -> Tally {
    if scenarios.is_empty() {
        return Tally::default();
    }
    let outcome = async {
        let second = suite.second().await?;
        let tally = run_list(&second, scenarios).await;
        second.end().await?;
        anyhow::Ok(tally)
    };
    outcome.await.unwrap_or_else(|error| {
        print_error(format_args!("error: the second namespace: {error:#}"));
        Tally { is_stuck: true, ..Tally::default() }
    })
}

async fn run_list(suite: &Suite, scenarios: &[Scenario]) -> Tally {
    let mut tally = Tally::default();
    for scenario in scenarios {
        line(format_args!("test {} ...", scenario.name));
        let start = clock::instant();
        let outcome = scenario.within_limit(suite).await;
        let seconds = clock::seconds_since(start);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        line(format_args!("test {} ... {word} ({seconds:.1} s)", scenario.name));
        tally.times.push(format!("{seconds:7.1} s  {word:<6}  {}", scenario.name));
        if let Err(error) = outcome {
            tally.failed += 1;
            print_error(format_args!("error: {}: {error:#}", scenario.name));
            print_error(dump(&suite.cluster).await);
            let tidied = async {
                suite.power_back().await?;
                suite.clear().await
            };
            if let Err(error) = tidied.await {
                print_error(format_args!("error: the namespace cannot be cleared: {error:#}"));
                tally.is_stuck = true;
                break;
            }
        }
    }
    tally
}
