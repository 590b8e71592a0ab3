//! Arguments of `rayfleet-sim`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rayfleet_sim::run::Plan;

/// Runs the orchestrator's own code on a simulated Kubernetes and Ray, in simulated time, with faults.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  rayfleet-sim run e2e/sim/scenarios/upgrade-surge.yaml\n  \
                  rayfleet-sim run e2e/sim/scenarios/create.yaml --seed 7 --faults crash-after:12,watch-breaks:80\n  \
                  rayfleet-sim grid --scenario create --stride 1\n  \
                  rayfleet-sim soak --seeds 500\n  \
                  rayfleet-sim walk --seeds 100 --from 40"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Play one scenario and print what happened.
    Run(Run),
    /// Play the standard scenarios with one fault at a time: each kind at each write.
    Grid(Grid),
    /// Play the standard scenarios with several random faults at once.
    Soak(Seeds),
    /// Change a fleet at random, rightly and wrongly, and see whether it ends as the last change says.
    Walk(Seeds),
    /// Print what a group costs in writes, and how fast the simulation is.
    Figures,
}

#[derive(Args)]
pub(crate) struct Run {
    /// The scenario's file.
    pub file: PathBuf,
    /// Seed of all that is random in the world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults as kind:number, parted by commas: the number of the write or of the event that they hit.
    #[arg(long, default_value_t)]
    pub faults: Plan,
    /// Steps to leave out, by number.
    #[arg(long, value_delimiter = ',')]
    pub skip_steps: Vec<usize>,
    /// If it fails, leave out faults and steps as long as it still does alike.
    #[arg(long)]
    pub shrink: bool,
    /// Rest twenty minutes at the end, in which nothing may be written.
    #[arg(long)]
    pub rest: bool,
    /// Show the orchestrator's own log.
    #[arg(long)]
    pub log: bool,
}

#[derive(Args)]
pub(crate) struct Grid {
    /// Only these scenarios.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// Of each kind of fault only every so many-th place. 0: as many as fit into half a minute.
    #[arg(long, default_value_t = 0)]
    pub stride: u64,
    /// With a stride: another number, up to it, tries other places.
    #[arg(long, default_value_t = 0)]
    pub offset: u64,
    /// Seed of all that is random in the world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args)]
pub(crate) struct Seeds {
    /// How many seeds.
    #[arg(long = "seeds", default_value_t = 100)]
    pub count: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    pub from: u64,
    /// Only these scenarios.
    #[arg(long)]
    pub scenario: Vec<String>,
}
