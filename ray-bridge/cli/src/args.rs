//! The command line: commands, flags and help with examples. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ray_bridge::SubmissionId;
use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::input::wait;
use url::Url;

/// Places, runs, verifies and watches one large engine on any Ray cluster, through its dashboard.
#[derive(Debug, Parser)]
#[command(
    name = "ray-bridge",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 yes or done, 1 no or failed, 2 wrong usage or model file, 3 Ray not reached or not authorised.

Examples:
  ray-bridge doctor -f llama.yaml              # would it fit and start, and what would help
  ray-bridge deploy -f llama.yaml --wait       # place it, start it, wait until it answers a prompt
  ray-bridge status                            # engines of this cluster
  ray-bridge stop llama --drain                # wait for the requests in flight, then stop it"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Dashboard.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "Dashboard of the Ray head; default: $RAY_DASHBOARD_ADDRESS, $RAY_ADDRESS if it is http, http://127.0.0.1:8265"
    )]
    pub(crate) address: Option<String>,
    /// Engine's API server, if its port on the head node is not reachable; default: found through Ray
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) engine_address: Option<Url>,
    /// Token.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "File with the cluster's token, read again for every look; default: $RAY_AUTH_TOKEN, $RAY_AUTH_TOKEN_PATH"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates (PEM) to which an https address must chain
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Time limit of one call, as 10s or 1m
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = wait)]
    pub(crate) request_timeout: Duration,
    /// Format of standard output
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the node of every rank, or what is missing
    #[command(after_help = "Exit code: 0 it fits, 1 it does not.

Examples:
  ray-bridge plan -f llama.yaml
  ray-bridge plan -f llama.yaml --strategy spread --avoid 10.0.0.7
  ray-bridge plan -f llama.yaml --tensor-domain nvidia.com/gpu.clique
  ray-bridge plan -f llama.yaml --topology my.org/row,topology.kubernetes.io/zone -o yaml
  ray-bridge plan -f llama.yaml -o json | jq '.ranks[] | [.rank, .node]'")]
    Plan(ModelArgs),
    /// Place an engine and start it; running it again with the same file changes nothing
    #[command(after_help = "Examples:
  ray-bridge deploy -f llama.yaml              # return once Ray has the job
  ray-bridge deploy -f llama.yaml --wait       # follow it until it has answered the probe prompt
  ray-bridge deploy -f llama.yaml --name llama-canary --wait --timeout 20m")]
    Deploy(DeployArgs),
    /// Show the engines of the Ray cluster, or one engine and the nodes of its ranks
    #[command(after_help = "Examples:
  ray-bridge status
  ray-bridge status llama
  ray-bridge status llama -o json | jq .inFlight")]
    Status(StatusArgs),
    /// Compare the plan of an engine with what Ray reports
    #[command(after_help = "Exit code: 0 every rank is where it was planned, 1 it is not.

Examples:
  ray-bridge verify llama")]
    Verify(NameArg),
    /// Print a line for every change of an engine and for every fault, until interrupted
    #[command(after_help = "Examples:
  ray-bridge watch llama
  ray-bridge watch llama -o json >> llama.jsonl
  ray-bridge watch llama -o json | jq --unbuffered -r '.diagnosis.kind // empty'")]
    Watch(WatchArgs),
    /// Drain an engine and wait until no request is in flight
    #[command(
        after_help = "Requests that still come are still answered: take the engine out of its load balancer first.

Examples:
  ray-bridge drain llama --timeout 15m"
    )]
    Drain(DrainArgs),
    /// Stop an engine, with its ranks and placement group
    #[command(after_help = "Examples:
  ray-bridge stop llama
  ray-bridge stop llama --drain --drain-timeout 15m")]
    Stop(StopArgs),
    /// Print the end of an engine's log, and follow it with -f
    #[command(after_help = "Examples:
  ray-bridge logs llama --tail 500
  ray-bridge logs llama -f")]
    Logs(LogsArgs),
    /// Say why an engine would not be placed or not start, and how to fix it
    #[command(
        after_help = "Exit code: 0 nothing failed, 1 a check failed, 3 Ray not reached or not authorised.

Examples:
  ray-bridge doctor
  ray-bridge doctor -f llama.yaml"
    )]
    Doctor(DoctorArgs),
}

/// A model file and the engine's name.
#[derive(Args, Debug)]
pub(crate) struct ModelArgs {
    /// Model file: the `spec.model` block of a RayClusterFleet; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name of the engine and its job; default: the name of the model
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<SubmissionId>,
    #[command(flatten)]
    pub(crate) placement: PlacementArgs,
}

const PLACEMENT: &str = "Placement, in place of what the model file says";

/// Placement flags.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PlacementArgs {
    /// How stages share nodes
    #[arg(long, help_heading = PLACEMENT, value_enum, value_name = "STRATEGY")]
    pub(crate) strategy: Option<Share>,
    /// Label of a fabric over several nodes that a stage's tensor ranks may fill but never leave; default:
    /// one node
    #[arg(long, help_heading = PLACEMENT, value_name = "LABEL")]
    pub(crate) tensor_domain: Option<String>,
    /// Labels that say which nodes are near each other, from the inside out; default: docs/placement.md
    #[arg(long, help_heading = PLACEMENT, value_name = "LABEL,…", value_delimiter = ',')]
    pub(crate) topology: Vec<String>,
    /// Nodes, by id, address or name, that get ranks only if the others have no room
    #[arg(long, help_heading = PLACEMENT, value_name = "NODE,…", value_delimiter = ',')]
    pub(crate) avoid: Vec<String>,
    /// Nodes, by id, address or name, that get no ranks
    #[arg(long, help_heading = PLACEMENT, value_name = "NODE,…", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
}

/// How stages share nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Share {
    /// Stages as near to each other as possible
    Pack,
    /// As few stages per node as possible
    Spread,
}

/// Flags of `deploy`.
#[derive(Args, Debug)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Follow the start until the engine is healthy and has answered the probe
    #[arg(long)]
    pub(crate) wait: bool,
    /// Time limit of the start with --wait; default: `startTimeout` of the model
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = wait)]
    pub(crate) timeout: Option<Duration>,
}

/// Flags of `status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Engine; without it all engines are listed
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<SubmissionId>,
}

/// An engine's name.
#[derive(Args, Debug)]
pub(crate) struct NameArg {
    /// Engine
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: SubmissionId,
}

/// Flags of `watch`.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Engine
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: SubmissionId,
    /// An engine that makes no step for this long while requests wait is hung; after a quarter of it, slow
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = wait)]
    pub(crate) hung_after: Duration,
}

/// Flags of `drain`.
#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// Engine
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: SubmissionId,
    /// Time limit for the requests in flight
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = wait)]
    pub(crate) timeout: Duration,
}

/// Flags of `stop`.
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Engine
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: SubmissionId,
    /// Drain first; if that takes too long, the engine is not stopped
    #[arg(long)]
    pub(crate) drain: bool,
    /// Time limit for the requests in flight
    #[arg(long, value_name = "DURATION", default_value = "10m", requires = "drain", value_parser = wait)]
    pub(crate) drain_timeout: Duration,
    /// Time limit for Ray to end the job
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = wait)]
    pub(crate) timeout: Duration,
}

/// Flags of `logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Engine
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) name: SubmissionId,
    /// Number of lines from the end
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) tail: usize,
    /// Print new lines too, until the job has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Flags of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Model file to check against the cluster; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Name of the engine; default: the name of the model
    #[arg(long, value_name = "NAME", requires = "file", value_parser = name)]
    pub(crate) name: Option<SubmissionId>,
}

fn name(text: &str) -> Result<SubmissionId, String> {
    SubmissionId::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("ray-bridge").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_follow_the_command() {
        let cli = parse("status llama --address http://h:8265 -o json --request-timeout 1m30s").unwrap();
        assert_eq!(cli.global.address.as_deref(), Some("http://h:8265"));
        assert_eq!((cli.global.output, cli.global.request_timeout), (Format::Json, Duration::from_secs(90)));
    }

    #[test]
    fn usage_errors_exit_with_2() {
        for line in [
            "",
            "plan",
            "status a/b",
            "drain llama --timeout 0",
            "deploy -f x --timeout 5m",
            "stop llama --drain-timeout 5m",
            "drain llama --timeout soon",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_has_examples() {
        let command = Cli::command();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:") || command.get_name() == "help", "{}", command.get_name());
        }
    }
}
