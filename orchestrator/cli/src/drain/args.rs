//! The flags of `drain`. Parsing only.

use std::time::Duration;

use clap::Args;
use rayfleet_cli_kit::input;

/// Flags of `drain`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "A group is replaced as in a rollout: by a surge group first where maxSurge and room allow, else \
within maxUnavailable; its requests end before it goes. A node is cordoned, and its groups move by \
the same rules; its other pods stay, for kubectl drain. Both go on if you stop waiting.

Exit code: 0 done, 1 it failed or time is up.

Examples:
  kubectl rayfleet drain llama-d7fzzl-0                  # another group in place of this one
  kubectl rayfleet drain node-a --timeout 2h             # move every group off this node
  kubectl rayfleet drain node/node-a                     # if a group has that name, too
  kubectl annotate raycluster llama-d7fzzl-0 rayfleet.io/replace-    # take the first one back
  kubectl uncordon node-a                                # take the second one back"
)]
pub(crate) struct DrainArgs {
    /// Group (group/NAME) of the namespace, or node (node/NAME)
    #[arg(value_name = "GROUP|NODE")]
    pub(crate) name: String,
    /// Time limit of the wait, as 30m; 0s is no limit
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = input::duration)]
    pub(crate) timeout: Duration,
}
