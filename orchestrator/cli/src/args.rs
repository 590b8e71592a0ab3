//! The command line: flags as in kubectl, help with examples. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::api::ListParams;
use rayfleet_cli_kit::{Format, input};

use crate::apply::args::ApplyArgs;
use crate::completion::args::CompletionArgs;
use crate::connect;
use crate::diagnose::args::DiagnoseArgs;
use crate::docs::DocsCommand;
use crate::drain::args::DrainArgs;
use crate::events::args::EventsArgs;
use crate::forward::args::ForwardArgs;
use crate::lint::{LintArgs, MigrateArgs};
use crate::logs::args::LogsArgs;
use crate::map::args::MapArgs;
use crate::rollout::args::{DiffArgs, PromoteArgs};
use crate::template::args::TemplateArgs;
use crate::top::args::TopArgs;

/// Status and rollouts of fleets: replica groups of models too large for one node.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-rayfleet",
    bin_name = "kubectl rayfleet",
    version,
    max_term_width = 100,
    after_help = "Examples:
  kubectl rayfleet status                      # fleets of the current namespace
  kubectl rayfleet status llama -w             # one fleet, drawn again on every change
  kubectl rayfleet diagnose llama              # what is wrong, and the cure
  kubectl rayfleet plan -f llama.yaml          # what applying this would do, step by step
  kubectl rayfleet rollout status llama        # wait until a change is rolled out
  kubectl rayfleet rollout undo llama          # back to the revision before
  kubectl rayfleet template kimi-k2 --gpu h200 # a manifest for a model"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// Cluster of the kubeconfig; default: that of the context
    #[arg(long, global = true, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// User of the kubeconfig; default: that of the context
    #[arg(long, global = true, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Address of the API server; default: that of the cluster
    #[arg(long, global = true, value_name = "URL", value_parser = connect::server)]
    pub(crate) server: Option<http::Uri>,
    /// Take any certificate of the API server: whoever is in between can read and change everything
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// User to act as; needs the right to impersonate
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub(crate) act_as: Option<String>,
    /// Group to act as, with --as; may be repeated
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) as_group: Vec<String>,
    /// Kubeconfig file; default: $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Time limit of one call to the API server, as 10s or 1m
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = input::wait)]
    pub(crate) request_timeout: Duration,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show fleets, or one fleet with its groups and the node of every rank
    Status(StatusArgs),
    /// Find the first thing that is wrong, from the CRD to the rank, and its cure
    Diagnose(DiagnoseArgs),
    /// Show where every rank is: stages, nodes, GPUs, and what links them
    Map(MapArgs),
    /// Show what every group's engine does now: tokens, latency, requests, caches, GPU memory
    Top(TopArgs),
    /// Show one time line of fleets, RayClusters, pods and nodes
    Events(Box<EventsArgs>),
    /// Show the logs of engines, ranks and pods as one
    Logs(Box<LogsArgs>),
    /// Predict the effect of a change step by step; changes nothing
    #[command(
        after_help = "The orchestrator's own planner is run forward on a simulated clock, with the room that the
cluster's nodes have now. Groups take as long to start as this fleet's groups have taken.

Exit code: 0 the rollout would become complete, 1 it would not, or the plan could not be made,
2 the manifest cannot be used.

Examples:
  kubectl rayfleet plan -f llama.yaml              # if this were applied now
  kubectl rayfleet plan llama                      # the rest of a rollout that is under way
  kubectl rayfleet plan -f llama.yaml --start 20m  # with engines that take 20 minutes
  kubectl rayfleet plan -f llama.yaml -o json      # for scripts"
    )]
    Plan(PlanArgs),
    /// Follow, compare, promote, abort, undo, pause and restart rollouts
    #[command(
        subcommand,
        after_help = "Examples:
  kubectl rayfleet rollout status llama --timeout 30m
  kubectl rayfleet rollout history llama
  kubectl rayfleet rollout undo llama --to-revision 3"
    )]
    Rollout(RolloutCommand),
    /// Forward local ports to the engine of a group that takes traffic
    PortForward(ForwardArgs),
    /// Apply manifests of fleets; say before what it will come to, and follow the rollouts
    Apply(ApplyArgs),
    /// Replace one group with care, or move all groups off a node
    Drain(DrainArgs),
    /// Find what will bite in manifests of fleets and LeaderWorkerSets; asks no cluster
    #[command(
        after_help = "Exit code: 0 nothing of the severity of --fail-on or above, 1 something, 2 a file cannot be used.
Every rule, why it bites and where that can be read: docs/lint.md.

Examples:
  kubectl rayfleet lint llama.yaml
  kubectl rayfleet lint --fail-on warning deploy/*.yaml    # in CI
  kustomize build . | kubectl rayfleet lint -
  kubectl rayfleet lint -o sarif deploy/*.yaml > lint.sarif"
    )]
    Lint(LintArgs),
    /// Turn fleets of AIBrix and LeaderWorkerSets into fleets with a model; asks no cluster
    #[command(
        after_help = "The manifest goes to standard output, with what was done to an object as a comment above
it; standard error has the same and what could not be translated, by line. Comments of the file
are not kept. A Service or autoscaler of a set follows it if it is in the same manifest.

Exit code: 0 done, 1 an object could not become a fleet and is as it was, 2 the file cannot be used.

Examples:
  kubectl rayfleet migrate aibrix.yaml > fleet.yaml
  kubectl rayfleet migrate lws.yaml | kubectl rayfleet plan -f -
  (cat lws.yaml; echo ---; cat service.yaml) | kubectl rayfleet migrate -"
    )]
    Migrate(MigrateArgs),
    /// Print a manifest for a model and a GPU, or why it has this shape
    Template(Box<TemplateArgs>),
    /// Print what a shell or kubectl needs to complete commands, flags and names of the cluster
    Completion(CompletionArgs),
    /// Write man pages and the page of commands, for packages
    #[command(
        subcommand,
        hide = true,
        after_help = "Examples:
  kubectl rayfleet docs man ~/.local/share/man/man1"
    )]
    Docs(DocsCommand),
}

/// Flags of `status`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  kubectl rayfleet status                      # fleets of the current namespace
  kubectl rayfleet status -A -o wide           # all fleets, more columns
  kubectl rayfleet status -l team=a -o name    # names alone, of those with a label
  kubectl rayfleet status llama                # one fleet: groups, phases, ranks
  kubectl rayfleet status llama -w             # drawn again on every change
  kubectl rayfleet status llama -w | tee log   # one line for every change
  kubectl rayfleet status llama -o yaml        # the object itself")]
pub(crate) struct StatusArgs {
    /// Fleet; without it all fleets of the namespace are listed
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: Option<String>,
    /// Fleets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "fleet")]
    pub(crate) all_namespaces: bool,
    /// Fleets with these labels, as team=a,tier!=test or `tier in (a,b)`
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "fleet")]
    pub(crate) selector: Option<String>,
    /// Fleets with these fields, as metadata.name!=llama
    #[arg(long, value_name = "SELECTOR", conflicts_with = "fleet")]
    pub(crate) field_selector: Option<String>,
    /// Keep running and show every change
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

impl StatusArgs {
    /// Format of the result.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            Some(Output::Json) => Format::Json,
            Some(Output::Yaml) => Format::Yaml,
            Some(Output::Wide | Output::Name) | None => Format::Text,
        }
    }

    /// Names alone.
    pub(crate) fn names(&self) -> bool {
        self.output == Some(Output::Name)
    }

    /// Which fleets are listed.
    pub(crate) fn filter(&self) -> ListParams {
        ListParams {
            label_selector: self.selector.clone(),
            field_selector: self.field_selector.clone(),
            ..ListParams::default()
        }
    }

    /// The table with more columns.
    pub(crate) fn wide(&self) -> bool {
        self.output == Some(Output::Wide)
    }
}

/// Format of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The objects as JSON; with -w one per line
    Json,
    /// The objects as YAML; with -w one after the other
    Yaml,
    /// The table with more columns
    Wide,
    /// Kind and name, one a line
    Name,
}

/// Format of a table that has more columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WideOutput {
    /// As JSON; with -w one document a line
    Json,
    /// As YAML; with -w one document after the other
    Yaml,
    /// The table with more columns
    Wide,
}

/// Flags of `plan`.
#[derive(Args, Debug, Default)]
pub(crate) struct PlanArgs {
    /// Fleet, with its present spec
    #[arg(value_name = "FLEET", required_unless_present = "file", conflicts_with = "file")]
    pub(crate) fleet: Option<String>,
    /// Manifest of a fleet to apply; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Time from an engine's launch until it takes traffic; default: as observed
    #[arg(long, value_name = "DURATION", value_parser = input::duration)]
    pub(crate) start: Option<Duration>,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

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
  kubectl rayfleet rollout diff llama                     # what runs now and the spec
  kubectl rayfleet rollout diff llama --from 3            # revision 3 and the spec
  kubectl rayfleet rollout diff llama --from 3 --to 5")]
    Diff(DiffArgs),
    /// End a rollout that is under way and go back to the last complete revision
    #[command(
        after_help = "Template and model of the last complete revision are written into the spec, and a pause ends.
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
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: String,
}

/// Flags of `rollout status`.
#[derive(Args, Debug)]
pub(crate) struct RolloutStatusArgs {
    /// Fleet
    #[arg(value_name = "FLEET")]
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
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: String,
    /// Revision number; default: the newest one that differs from the fleet
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
}

/// Flags of `rollout history`.
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// Fleet
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: String,
    /// Show template and model of this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) revision: Option<i64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("kubectl-rayfleet").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rollout_status_watches_by_default() {
        let watch = |line: &str| match parse(line).unwrap().command {
            Command::Rollout(RolloutCommand::Status(args)) => args.watch,
            other => panic!("{other:?}"),
        };
        assert!(watch("rollout status llama"));
        assert!(watch("rollout status llama -w"));
        assert!(watch("rollout status llama --watch"));
        assert!(watch("rollout status --watch llama"));
        assert!(!watch("rollout status llama --watch=false"));
    }

    #[test]
    fn flags_may_follow_the_command() {
        let cli = parse("status llama -n serving --context lab --request-timeout 1m30s").unwrap();
        assert_eq!(cli.global.namespace.as_deref(), Some("serving"));
        assert_eq!(cli.global.context.as_deref(), Some("lab"));
        assert_eq!(cli.global.request_timeout, Duration::from_secs(90));
    }

    #[test]
    fn usage_errors_exit_with_2() {
        for line in [
            "",
            "plan",
            "plan llama -f x",
            "status llama -A",
            "diagnose llama -A",
            "rollout undo llama --to-revision 0",
            "rollout diff llama --from 0",
            "apply",
            "apply -f x --timeout 1m",
            "status --request-timeout 0",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command, path: &str) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{path} has no examples");
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        check(&Cli::command(), "kubectl rayfleet");
    }
}
