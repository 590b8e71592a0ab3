//! Runs scenarios one after the other, each with its time limit, and reports the results. After a failure
//! it prints diagnostics, restores power to every node and clears the namespace, so that the next scenario
//! starts from nothing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::future::LocalBoxFuture;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::dump::dump;
use rayfleet_e2e::console::{complain, line};
use tokio::time::timeout;

use crate::suite::Suite;

type Run = for<'a> fn(&'a Suite) -> LocalBoxFuture<'a, anyhow::Result<()>>;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// It takes too long for every run: it runs only when a part of its name is given.
    pub(crate) by_name_only: bool,
    limit: Duration,
    run: Run,
}

impl Scenario {
    pub(crate) fn new(name: &'static str, limit: Duration, run: Run) -> Self {
        Self { name, by_name_only: false, limit, run }
    }

    pub(crate) fn named(name: &'static str, limit: Duration, run: Run) -> Self {
        Self { by_name_only: true, ..Self::new(name, limit, run) }
    }

    async fn within_limit(&self, suite: &Suite) -> anyhow::Result<()> {
        match timeout(self.limit, (self.run)(suite)).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not over after {} s", self.limit.as_secs()),
        }
    }
}

pub(crate) async fn run_all(suite: &Suite, scenarios: &[Scenario]) -> ExitCode {
    let (mut failed, mut times) = (0, Vec::new());
    for scenario in scenarios {
        line(format_args!("test {} ...", scenario.name));
        let start = clock::instant();
        let outcome = scenario.within_limit(suite).await;
        let seconds = clock::seconds_since(start);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        line(format_args!("test {} ... {word} ({seconds:.1} s)", scenario.name));
        times.push(format!("{seconds:7.1} s  {word:<6}  {}", scenario.name));
        if let Err(error) = outcome {
            failed += 1;
            complain(format_args!("error: {}: {error:#}", scenario.name));
            complain(dump(&suite.cluster).await);
            let tidied = async {
                suite.power_back().await?;
                suite.clear().await
            };
            if let Err(error) = tidied.await {
                complain(format_args!(
                    "error: the namespace cannot be cleared, so the rest is not run: {error:#}"
                ));
                failed += scenarios.len() - times.len();
                break;
            }
        }
    }
    if let Err(error) = suite.end().await {
        complain(format_args!("error: {error:#}"));
        failed += 1;
    }
    line("");
    times.iter().for_each(line);
    let passed = times.iter().filter(|time| !time.contains("FAILED")).count();
    line(format_args!("{passed} passed, {failed} failed, 0 skipped"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
