//! The command line: flags as in kubectl, help with examples. Parsing only.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::api::ListParams;
use rayfleet_cli_kit::{CliError, Format, input};

use crate::apply::args::ApplyArgs;
use crate::bundle::args::BundleArgs;
use crate::completion::args::CompletionArgs;
use crate::diagnose::args::DiagnoseArgs;
use crate::docs::DocsCommand;
use crate::drain::args::DrainArgs;
use crate::events::args::EventsArgs;
use crate::forward::args::ForwardArgs;
use crate::global::Global;
use crate::lint::{LintArgs, MigrateArgs};
use crate::logs::args::LogsArgs;
use crate::map::args::MapArgs;
use crate::object_names;
use crate::rollout::args::RolloutCommand;
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
    /// Write what is known of fleets into one file, without secrets, for whoever helps
    SupportBundle(BundleArgs),
    /// Predict the effect of a change step by step; changes nothing
    #[command(
        after_help = "The orchestrator's own planner is run forward on a simulated clock, with the room that the \
cluster's nodes have now. Groups take as long to start as this fleet's groups have taken.

Exit code: 0 the rollout would become complete, 1 it would not, or the plan could not be made, \
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
        after_help = "Exit code: 0 nothing of the severity of --fail-on or above, 1 something, 2 a file cannot be used. \
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
        after_help = "The manifest goes to standard output, with what was done to an object as a comment above \
it; standard error has the same and what could not be translated, by line. Comments of the file \
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

impl Command {
    /// Refuses what cannot be done with a bundle in place of a cluster.
    pub(crate) fn takes_bundle(&self) -> Result<(), CliError> {
        let writes = || {
            Err(CliError::usage(
                "--from: a bundle cannot be changed",
                "leave it out to change the cluster; a bundle is for the commands that read",
            ))
        };
        let goes_on = |flag: &str| {
            Err(CliError::usage(
                format!("{flag}: nothing changes in a bundle"),
                format!("leave {flag} out, or --from to follow the cluster"),
            ))
        };
        match self {
            Self::Status(StatusArgs { watch: true, .. }) | Self::Top(TopArgs { watch: true, .. }) => {
                goes_on("-w")
            }
            Self::Events(args) if args.watch => goes_on("-w"),
            Self::Logs(args) if args.follow => goes_on("-f"),
            Self::Rollout(
                RolloutCommand::Status(_) | RolloutCommand::History(_) | RolloutCommand::Diff(_),
            )
            | Self::Status(_)
            | Self::Diagnose(_)
            | Self::Map(_)
            | Self::Top(_)
            | Self::Events(_)
            | Self::Logs(_)
            | Self::Plan(_) => Ok(()),
            Self::Template(args) if args.asked.from_cluster => Ok(()),
            Self::Rollout(_) | Self::PortForward(_) | Self::Apply(_) | Self::Drain(_) => writes(),
            Self::SupportBundle(_) => Err(CliError::usage(
                "--from: a bundle is made from a cluster",
                "leave --from out; a bundle is a file that can be copied",
            )),
            Self::Lint(_) | Self::Migrate(_) | Self::Template(_) | Self::Completion(_) | Self::Docs(_) => {
                Err(CliError::usage(
                    "--from: this command reads no cluster, and no bundle in its place",
                    "leave --from out",
                ))
            }
        }
    }
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
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
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

/// Flags of `plan`.
#[derive(Args, Debug, Default)]
pub(crate) struct PlanArgs {
    /// Fleet, with its present spec
    #[arg(value_name = "FLEET", required_unless_present = "file", conflicts_with = "file", value_parser = object_names::fleet)]
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
    fn a_bundle_is_for_commands_that_read() {
        let refusal =
            |line: &str| parse(line).unwrap().command.takes_bundle().err().map(|fault| fault.message);
        for line in [
            "status",
            "status llama -o yaml",
            "map llama",
            "top",
            "logs llama",
            "events",
            "diagnose -A",
            "plan llama",
            "rollout status llama",
            "rollout history llama",
            "rollout diff llama",
            "template --from-cluster kimi-k2",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
        for line in [
            "rollout undo llama",
            "rollout restart llama",
            "rollout pause llama",
            "rollout resume llama",
            "rollout abort llama",
            "rollout promote llama",
            "drain llama-a-0",
            "apply -f x",
            "port-forward llama",
        ] {
            assert_eq!(refusal(line).as_deref(), Some("--from: a bundle cannot be changed"), "{line}");
        }
        for line in ["status -w", "top -w", "events -w", "logs llama -f"] {
            assert!(refusal(line).unwrap().ends_with("nothing changes in a bundle"), "{line}");
        }
        for line in ["support-bundle", "lint x", "template kimi-k2 --gpu h200", "completion bash"] {
            assert!(refusal(line).is_some(), "{line}");
        }
    }

    #[test]
    fn files_are_given_as_to_kubectl_or_alone() {
        for line in ["lint a b", "lint -f a -f b", "lint a --filename b", "lint -f a b"] {
            let Command::Lint(args) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(args.all().len(), 2, "{line}");
        }
        for line in ["migrate a", "migrate -f a", "migrate --filename=a"] {
            let Command::Migrate(args) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(args.manifest(), std::path::Path::new("a"), "{line}");
        }
        for line in ["lint", "migrate", "migrate a -f b"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
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
            "rollout diff llama --from-revision 0",
            "apply",
            "apply -f x --timeout 1m",
            "status --request-timeout 0",
            "support-bundle llama -A",
            "support-bundle --max-size 0",
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
