//! `rayfleet-scale`: what a controller costs that brings up many fleets, or one of many groups, upgrades that, and then watches them.
//! It makes the fleets, answers as all of their Ray clusters, and measures. Nothing here knows which controller it is. `hack/scale` makes the control plane that
//! it runs on.

mod audit;
mod containers;
mod counted;
mod fleets;
mod groups;
mod meters;
mod metrics;
mod numbers;
mod process;
mod progress;
mod relist;
mod report;
mod rollout;
mod scenario;
mod server;
mod traffic;
mod watches;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum, value_parser};
use rayfleet_e2e::console::{line, print_error};

use crate::rollout::Rollout;

/// Measures a controller on a control plane that `hack/scale` has made.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Process of the controller
    #[arg(long)]
    pid: u32,
    /// Its user in the audit log
    #[arg(long)]
    user: String,
    /// The API server's audit log, of level Metadata
    #[arg(long)]
    audit: PathBuf,
    /// One object to make of each; NAME in it becomes its name
    #[arg(long)]
    manifest: PathBuf,
    /// How many to make
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u16).range(1..=1000))]
    fleets: u16,
    /// Make one fleet of so many groups instead
    #[arg(long, conflicts_with = "fleets", value_parser = value_parser!(u16).range(1..=1000))]
    groups: Option<u16>,
    /// Then give it a new template, with this maxSurge/maxUnavailable
    #[arg(long, requires = "groups")]
    upgrade: Option<Rollout>,
    /// Pods of one group
    #[arg(long, default_value_t = 2)]
    pods: usize,
    /// Minutes at rest afterwards
    #[arg(long, default_value_t = 1)]
    rest: u64,
    /// Minutes within which the fleets have to be up
    #[arg(long, default_value_t = 15)]
    limit: u64,
    /// The controller's page of metrics; counters that rose are shown
    #[arg(long)]
    metrics: Option<String>,
    /// What is printed at the end
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match scenario::run(&args).await.and_then(|report| shown(args.output, &report)) {
        Ok(text) => {
            line(text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(format_args!(
                "error: {error:#}\ncure:  the logs of all processes are in target/hack-logs/scale"
            ));
            ExitCode::FAILURE
        }
    }
}

fn shown(output: Output, report: &report::Report) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => report.to_string(),
        Output::Json => serde_json::to_string_pretty(report)?,
    })
}
