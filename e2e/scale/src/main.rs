//! `rayfleet-scale`: what a controller costs that brings up many fleets, or one of many groups, and to which something may happen then.
//! It makes the fleets, answers as all of their Ray clusters, and measures. Nothing here knows which controller it is. `hack/scale`
//! makes the control plane that it runs on.

mod audit;
mod churn;
mod containers;
mod counted;
mod fleets;
mod foreign;
mod groups;
mod loss;
mod meters;
mod metrics;
mod numbers;
mod phase;
mod process;
mod progress;
mod relist;
mod report;
mod rollout;
mod room;
mod run;
mod scenario;
mod server;
mod start;
mod traffic;
mod watches;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum, value_parser};
use rayfleet_e2e::console::{line, print_error};

use crate::rollout::Rollout;

/// What `hack/scale` does on the control plane that it has made.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure a controller
    Measure(Args),
    /// Make a large cluster around the fleets
    Foreign(foreign::Args),
}

#[derive(clap::Args)]
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
    /// Then delete the oldest fleet and make another, again and again for so many minutes
    #[arg(long, conflicts_with = "groups", value_parser = value_parser!(u16).range(1..=240))]
    churn: Option<u16>,
    /// How many in a minute of that
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u16).range(1..=600))]
    turns: u16,
    /// Then take nodes 1 to N away at once, and wait until their fleets are back
    #[arg(long, conflicts_with_all = ["groups", "churn"])]
    lose_nodes: Option<u32>,
    /// There is no room for all fleets: wait until nothing changes, not until all are up
    #[arg(long, conflicts_with_all = ["upgrade", "churn", "lose_nodes"])]
    no_room: bool,
    /// Pods and nodes that are no fleet's and were there before the controller
    #[arg(long, default_value_t = 0)]
    foreign_pods: u32,
    #[arg(long, default_value_t = 0)]
    foreign_nodes: u32,
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
    /// The controller's page that is there once it works
    #[arg(long)]
    ready: Option<String>,
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
    let done = match Cli::parse().command {
        Command::Measure(args) => {
            scenario::run(&args).await.and_then(|report| shown(args.output, &report)).map(line)
        }
        Command::Foreign(args) => foreign::make(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn what_cannot_happen_to_the_same_fleets_is_refused() {
        Cli::command().debug_assert();
        let is_taken = |more: &str| {
            let line = format!("rayfleet-scale measure --pid 1 --user u --audit a --manifest m {more}");
            Cli::try_parse_from(line.split_whitespace()).is_ok()
        };
        for taken in ["", "--churn 3 --turns 600", "--lose-nodes 4", "--no-room", "--groups 3 --upgrade 1/0"]
        {
            assert!(is_taken(taken), "{taken}");
        }
        for refused in [
            "--churn 3 --groups 3",
            "--churn 0",
            "--churn 3 --turns 0",
            "--churn 3 --lose-nodes 4",
            "--lose-nodes 4 --groups 3",
            "--no-room --churn 3",
            "--no-room --lose-nodes 4",
            "--no-room --groups 3 --upgrade 1/0",
        ] {
            assert!(!is_taken(refused), "{refused}");
        }
    }
}
