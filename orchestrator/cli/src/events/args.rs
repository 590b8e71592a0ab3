//! The flags of `events`. Parsing only.

use std::time::Duration;

use clap::{Args, ValueEnum};
use rayfleet_cli_kit::{Format, input};

use crate::global::WideOutput;
use crate::object_names;

/// Flags of `events`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    after_help = "One time line of a fleet: Kubernetes' events of the fleet, its RayClusters, its pods and their nodes; \
and what their status says of its own times: conditions, phases of groups, launches, failures, \
revisions, starts and ends of containers. Oldest first; what repeats is one line with its count.

Kubernetes keeps events for an hour unless the API server is told otherwise. What you may not read \
is said and left out.

Examples:
  kubectl rayfleet events llama                   # what happened
  kubectl rayfleet events llama -w --since 5m     # and what happens
  kubectl rayfleet events llama --warnings        # what somebody should look at
  kubectl rayfleet events llama --group llama-d7fzzl-1
  kubectl rayfleet events -A -o json              # for scripts"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct EventsArgs {
    /// Fleet; without it all fleets of the namespace
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: Option<String>,
    /// Fleets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "fleet")]
    pub(crate) all_namespaces: bool,
    /// Only of this group, with its pods and their nodes
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Keep running and show what happens
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Only the last while, as 10m
    #[arg(long, value_name = "DURATION", value_parser = input::wait)]
    pub(crate) since: Option<Duration>,
    /// Only of these types, as Warning or Normal,Warning
    #[arg(
        long,
        value_name = "TYPES",
        value_delimiter = ',',
        value_enum,
        ignore_case = true,
        conflicts_with = "warnings"
    )]
    pub(crate) types: Vec<Type>,
    /// The same as --types Warning
    #[arg(long)]
    pub(crate) warnings: bool,
    /// Times as they are, in UTC, instead of ages
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<WideOutput>,
}

/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Type {
    /// For information
    Normal,
    /// Somebody should look
    Warning,
}

impl EventsArgs {
    /// Format of the result.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            Some(WideOutput::Json) => Format::Json,
            Some(WideOutput::Yaml) => Format::Yaml,
            Some(WideOutput::Wide) | None => Format::Text,
        }
    }

    /// Whether events of this type are wanted.
    pub(super) fn wants(&self, warning: bool) -> bool {
        let kind = if warning { Type::Warning } else { Type::Normal };
        if self.warnings { warning } else { self.types.is_empty() || self.types.contains(&kind) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &str) -> Result<EventsArgs, clap::Error> {
        let words = ["kubectl-rayfleet", "events"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Events(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn types_are_chosen_as_kubectl_does_it() {
        for (line, normal, warning) in [
            ("llama", true, true),
            ("llama --warnings", false, true),
            ("llama --types Warning", false, true),
            ("llama --types normal,Warning", true, true),
            ("llama --types Normal", true, false),
        ] {
            let args = parse(line).unwrap();
            assert_eq!((args.wants(false), args.wants(true)), (normal, warning), "{line}");
        }
        for line in ["llama -A", "--types odd", "--types Normal --warnings", "--since 0s"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
