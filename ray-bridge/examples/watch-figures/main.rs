//! Measures whether failing clusters slow down the observation of healthy ones. One process observes 200
//! groups, as the orchestrator does, against fake dashboards in a second process: first with all groups
//! healthy, then with every other one dead (accepts and never answers), slow, or refusing.
//!
//!     cargo run --release -p ray-bridge --example watch-figures -- [GROUPS [SECONDS]]
//!
//! Prints the intervals between observations of the healthy half in both runs, and the cost of the observing
//! process. Exits with 1 if a healthy group was not reported as healthy, or if its interval is longer in the
//! second run than in the first.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod clock;
mod replies;
mod server;
mod usage;
mod watcher;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Measurements of the healthy half in one run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) observations: usize,
    /// Healthy groups that were not reported as healthy.
    pub(crate) wrong: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_mib: f64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default: usize| args.get(n).map_or(Ok(default), |text| text.parse());
    match args.first().map(String::as_str) {
        Some("serve") => server::run(number(1, 0)?, number(2, 0)? != 0)?,
        Some("watch") => {
            let seconds = Duration::from_secs(number(3, 60)?.try_into()?);
            println!(
                "{}",
                serde_json::to_string(&watcher::run(number(1, 0)?, number(2, 0)? != 0, seconds)?)?
            );
        }
        _ => return compare(number(0, 200)?, number(1, 60)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(groups: usize, seconds: usize) -> Result<ExitCode, Box<dyn Error>> {
    println!(
        "{groups} groups, {seconds} s a run; figures are of {} groups that are healthy in both",
        groups / 2
    );
    let run = |sick: &str| -> Result<Figures, Box<dyn Error>> {
        let watcher = Command::new(std::env::current_exe()?)
            .args(["watch", &groups.to_string(), sick, &seconds.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        serde_json::from_slice(&watcher.stdout).map_err(|e| format!("the watcher: {e}").into())
    };
    println!(
        "{:<10} {:>12} {:>9} {:>9} {:>9} {:>8} {:>10} {:>6}",
        "", "observations", "p50 ms", "p99 ms", "max ms", "CPU s", "peak MiB", "wrong"
    );
    let line = |name: &str, f: &Figures| {
        println!(
            "{name:<10} {:>12} {:>9.0} {:>9.0} {:>9.0} {:>8.1} {:>10.1} {:>6}",
            f.observations, f.p50_ms, f.p99_ms, f.max_ms, f.cpu_seconds, f.peak_rss_mib, f.wrong
        );
    };
    let well = run("0")?;
    line("all well", &well);
    let sick = run("1")?;
    line("half sick", &sick);
    // Failing groups also reduce the load, so a healthy group may only be observed more often; the allowance
    // is for the scheduler.
    let holds = sick.p50_ms <= well.p50_ms * 1.05 && sick.p99_ms <= well.p99_ms * 1.1 + 20.0;
    println!(
        "{}",
        if holds { "the healthy half is not affected" } else { "failing groups slow down the healthy half" }
    );
    Ok(if holds && well.wrong + sick.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
