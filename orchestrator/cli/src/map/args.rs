//! The flags of `map`. Parsing only.

use clap::{Args, ValueEnum};
use rayfleet_cli_kit::Format;

use crate::object_names;

/// Flags of `map`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Where every rank is comes from the fleet's status; the state and the labels of nodes, and GPUs of \
pods, from the API server. What you may not read is said and left out.

Examples:
  kubectl rayfleet map llama                   # stages, nodes, GPUs, ranks and what links them
  kubectl rayfleet map llama llama-bcdfgh-0    # one group
  kubectl rayfleet map llama -o wide           # with pods and GPU models
  kubectl rayfleet map llama -o svg > map.svg  # a picture for a browser or a report
  kubectl rayfleet map llama -o json           # for scripts"
)]
pub(crate) struct MapArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Group; without it all of the fleet
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<MapOutput>,
}

/// Format of `map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapOutput {
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// With pods and GPU models
    Wide,
    /// A picture, complete in one file
    Svg,
}

impl MapArgs {
    /// Format of the result, which of a picture is its text.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            Some(MapOutput::Json) => Format::Json,
            Some(MapOutput::Yaml) => Format::Yaml,
            Some(MapOutput::Wide | MapOutput::Svg) | None => Format::Text,
        }
    }
}
