//! The flags of `top`. Parsing only.

use std::time::Duration;

use clap::Args;
use rayfleet_cli_kit::{Format, input};

use crate::global::WideOutput;
use crate::object_names;

/// Flags of `top`.
#[derive(Args, Debug)]
#[command(
    after_help = "Reads /metrics of every group's engine through the API server's proxy, twice: rates, and quantiles \
of the time to the first token, are of the requests in between (with -w quantiles are of the last \
minute). With FLEET also GPU memory by node, from Ray's metrics. Needs the right to get pods/proxy \
in the namespace; of an engine that does not answer in time its row says so.

Exit code: 0 done, 1 no engine could be read, 2 the command line cannot be used.

Examples:
  kubectl rayfleet top                         # every group of the current namespace
  kubectl rayfleet top llama                   # one fleet, with GPU memory by node and rank
  kubectl rayfleet top llama -w                # measured again and again
  kubectl rayfleet top llama --interval 30s    # over a longer time
  kubectl rayfleet top -A -o json              # for scripts"
)]
pub(crate) struct TopArgs {
    /// Fleet; without it every fleet of the namespace
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: Option<String>,
    /// Fleets of all namespaces
    #[arg(short = 'A', long, conflicts_with = "fleet")]
    pub(crate) all_namespaces: bool,
    /// Keep running and measure again
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Time between two readings
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = input::wait)]
    pub(crate) interval: Duration,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<WideOutput>,
}

impl TopArgs {
    /// Format of the result.
    pub(crate) fn format(&self) -> Format {
        match self.output {
            Some(WideOutput::Json) => Format::Json,
            Some(WideOutput::Yaml) => Format::Yaml,
            Some(WideOutput::Wide) | None => Format::Text,
        }
    }

    /// The table with more columns.
    pub(crate) fn wide(&self) -> bool {
        self.output == Some(WideOutput::Wide)
    }
}
