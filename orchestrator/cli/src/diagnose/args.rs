//! The flags of `diagnose`. Parsing only.

use clap::Args;
use rayfleet_cli_kit::Format;

use crate::object_names;

/// Flags of `diagnose`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Follows the chain from the API server over the CRDs, the orchestrator, the fleet's spec, its \
RayClusters, pods, nodes, Ray and engine to the endpoints; says the first thing that is wrong, \
what shows it, and the cure. Changes nothing. What you may not read is said and left out.

Exit code: 0 nothing is wrong, 1 something is or not everything could be read in time, \
2 the command line cannot be used. All calls together take no longer than six times
--request-timeout.

Examples:
  kubectl rayfleet diagnose llama              # why does it not serve, or not progress
  kubectl rayfleet diagnose                    # every fleet of the current namespace
  kubectl rayfleet diagnose -A                 # every fleet of the cluster
  kubectl rayfleet diagnose llama -o json      # for scripts"
)]
pub(crate) struct DiagnoseArgs {
    /// Fleet; without it every fleet of the namespace
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: Option<String>,
    /// Fleets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "fleet")]
    pub(crate) all_namespaces: bool,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}
