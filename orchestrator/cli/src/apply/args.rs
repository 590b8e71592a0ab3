//! The flags of `apply`. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use rayfleet_cli_kit::input;

/// Flags of `apply`.
#[derive(Args, Debug)]
#[command(
    after_help = "Server-side apply as kubectl does it, with its field manager and strict validation. All fleets of the \
manifest are tried first, and nothing is written if one is refused. Other kinds are refused: they \
are kubectl's. With --wait the rollouts are followed as by rollout status.

Exit code: 0 done, 1 refused, or a rollout failed, is past its progress deadline or timed out, \
2 the manifest cannot be used.

Examples:
  kubectl rayfleet apply -f llama.yaml
  kubectl rayfleet apply -f llama.yaml --wait --timeout 1h        # in CI
  kubectl rayfleet template kimi-k2 --gpu h200 | kubectl rayfleet apply -f - --wait"
)]
pub(crate) struct ApplyArgs {
    /// Manifest of fleets; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) file: PathBuf,
    /// Wait until the rollouts are complete and print their steps
    #[arg(long)]
    pub(crate) wait: bool,
    /// Time limit of the wait, as 30m; 0s is no limit
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "wait", value_parser = input::duration)]
    pub(crate) timeout: Duration,
    /// Say first what it will come to, in one line; needs the right to list nodes and pods
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub(crate) plan: bool,
    /// Take over fields that others manage
    #[arg(long)]
    pub(crate) force_conflicts: bool,
}
