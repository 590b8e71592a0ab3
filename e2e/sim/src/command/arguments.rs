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
    /// Run one scenario and print what happened.
    Run(Run),
    /// Run the standard scenarios with one fault at a time: each kind at each write.
    Grid(Grid),
    /// Run the standard scenarios with several random faults at once.
    Soak(Seeds),
    /// Apply random valid and invalid changes to a fleet, and check that it ends as the last change
    /// demands.
    Walk(Seeds),
    /// Print what a group costs in writes, and how fast the simulation is.
    Figures,
}

#[derive(Args)]
pub(crate) struct Run {
    /// The scenario file.
    pub file: PathBuf,
    /// Seed of all randomness in the simulated world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Faults as kind:number, separated by commas: the number of the write or event that they hit.
    #[arg(long, default_value_t)]
    pub faults: Plan,
    /// Steps to skip, by number.
    #[arg(long, value_delimiter = ',')]
    pub skip_steps: Vec<usize>,
    /// If the run fails, remove faults and steps as long as it still fails in the same way.
    #[arg(long)]
    pub shrink: bool,
    /// Rest for twenty minutes at the end, during which nothing may be written.
    #[arg(long)]
    pub rest: bool,
    /// Show the orchestrator's log.
    #[arg(long)]
    pub log: bool,
}

#[derive(Args)]
pub(crate) struct Grid {
    /// Only these scenarios.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// For each kind of fault, try only every STRIDE-th place. 0: as many as fit into half a minute.
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
    /// Number of seeds.
    #[arg(long = "seeds", default_value_t = 100)]
    pub count: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub from: u64,
    /// Only these scenarios.
    #[arg(long)]
    pub scenario: Vec<String>,
}
