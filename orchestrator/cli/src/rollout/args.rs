//! The subcommands of `rollout` and their flags. Parsing only.

use std::time::Duration;

use clap::{Args, Subcommand};
use rayfleet_cli_kit::input;

use crate::object_names;

/// Subcommands of `rollout`.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Wait until a rollout is complete and print its steps
    #[command(after_help = "Exit code: 0 complete, 1 failed, past its progress deadline or timed out.

Examples:
  kubectl rayfleet rollout status llama
  kubectl rayfleet rollout status llama --timeout 30m
  kubectl rayfleet rollout status llama --watch=false     # print where it is and return")]
    Status(RolloutStatusArgs),
    /// Replace every group with a new one of the same template
    #[command(after_help = "Examples:
  kubectl rayfleet rollout restart llama")]
    Restart(FleetArg),
    /// Go back to an earlier revision of template and model
    #[command(after_help = "Examples:
  kubectl rayfleet rollout undo llama                     # the newest other revision
  kubectl rayfleet rollout undo llama --to-revision 3")]
    Undo(UndoArgs),
    /// Show what differs between two revisions, and which of it replaces groups
    #[command(after_help = "Exit code: 0 nothing differs, 1 something does, 2 no answer.

Examples:
  kubectl rayfleet rollout diff llama                      # what runs now and the spec
  kubectl rayfleet rollout diff llama --from-revision 3    # revision 3 and the spec
  kubectl rayfleet rollout diff llama --from-revision 3 --to-revision 5")]
    Diff(DiffArgs),
    /// End a rollout that is under way and go back to the last complete revision
    #[command(
        after_help = "Template and model of the last complete revision are written into the spec, and a pause ends. \
Nothing is written if somebody changes the spec meanwhile, or if no rollout is under way.

Examples:
  kubectl rayfleet rollout abort llama"
    )]
    Abort(FleetArg),
    /// Continue a rollout that the partition holds, by one group or to its end
    #[command(
        after_help = "Lowers spec.strategy.rollingUpdate.partition by one group, once the groups promoted before serve.

Examples:
  kubectl rayfleet rollout promote llama                  # one more group
  kubectl rayfleet rollout promote llama --full           # all of them, and end a pause"
    )]
    Promote(PromoteArgs),
    /// Hold a rollout; scaling and repair continue
    #[command(after_help = "Examples:
  kubectl rayfleet rollout pause llama")]
    Pause(FleetArg),
    /// Continue a paused rollout
    #[command(after_help = "Examples:
  kubectl rayfleet rollout resume llama")]
    Resume(FleetArg),
    /// List the revisions, or show one
    #[command(after_help = "Examples:
  kubectl rayfleet rollout history llama
  kubectl rayfleet rollout history llama --revision 3     # its template and model")]
    History(HistoryArgs),
}

/// A fleet's name.
#[derive(Args, Debug)]
pub(crate) struct FleetArg {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
}

/// Flags of `rollout status`.
#[derive(Args, Debug)]
pub(crate) struct RolloutStatusArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Wait until the end; `--watch=false` prints one line and returns
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub(crate) watch: bool,
    /// Time limit, as 30m; 0s is no limit
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = input::duration)]
    pub(crate) timeout: Duration,
}

/// Flags of `rollout undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Revision number; default: the newest one that differs from the fleet
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
}

/// Flags of `rollout history`.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Show template and model of this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) revision: Option<i64>,
}

/// Flags of `rollout diff`.
#[derive(Args, Debug, Default)]
pub(crate) struct DiffArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Revision number to compare from; default: the one that groups run and the spec does not ask for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) from_revision: Option<i64>,
    /// Revision number to compare with; default: the spec
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
}

/// Flags of `rollout promote`.
#[derive(Args, Debug, Default)]
pub(crate) struct PromoteArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// All groups at once: the partition becomes 0, a pause ends, and nothing is waited for
    #[arg(long)]
    pub(crate) full: bool,
}
