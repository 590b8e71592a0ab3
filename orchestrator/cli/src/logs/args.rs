//! The flags of `logs`. Parsing only.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use rayfleet_cli_kit::{Format, input};
use regex::Regex;

use crate::object_names;

/// Highest rank that can be asked for; an engine has at most 1,024.
const HIGHEST_RANK: u32 = 1023;
/// Longest regular expression, in bytes, and what it may grow to when it is compiled.
const LONGEST_PATTERN: usize = 1024;
const COMPILED_BYTES: usize = 1 << 20;

/// Flags of `logs`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Without --engine, --launcher, --rank, --container and --kuberay: the engines' logs, in which are the \
lines of all ranks, and the containers of all pods. With several of them, all that they name. \
Engines that Rayfleet launched write where Ray keeps them; they are read through the API server's \
proxy of the head's dashboard, which the standard role edit may use and view may not.

Exit code: 0 done or interrupted, 1 nothing could be read, 2 the command line cannot be used.

Examples:
  kubectl rayfleet logs llama                     # the last lines of everything
  kubectl rayfleet logs llama -f --since 10m      # and what comes, with new groups and restarts
  kubectl rayfleet logs llama llama-d7fzzl-1      # one group
  kubectl rayfleet logs llama --rank 0,8-15       # what these ranks wrote themselves
  kubectl rayfleet logs llama --engine --grep 'ERROR|Traceback'
  kubectl rayfleet logs llama --previous          # before the last restart
  kubectl rayfleet logs llama --kuberay           # what KubeRay says of its RayClusters"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct LogsArgs {
    /// Fleet
    #[arg(value_name = "FLEET", value_parser = object_names::fleet)]
    pub(crate) fleet: String,
    /// Group; default: all of the fleet
    #[arg(value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Logs of these ranks alone, as 0 or 0,8-15
    #[arg(long, value_name = "RANKS", value_parser = ranks)]
    pub(crate) rank: Option<Ranks>,
    /// Logs of the engines
    #[arg(long)]
    pub(crate) engine: bool,
    /// Of the engines' logs the launcher's lines: its phases and what Ray says of the job
    #[arg(long)]
    pub(crate) launcher: bool,
    /// Logs of the containers of this name
    #[arg(short, long, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// What KubeRay's operator logs of the groups' RayClusters
    #[arg(long)]
    pub(crate) kuberay: bool,
    /// Keep running and print new lines, of new groups and restarted containers too
    #[arg(short, long, conflicts_with = "previous")]
    pub(crate) follow: bool,
    /// Only lines of the last while, as 10m
    #[arg(long, value_name = "DURATION", value_parser = input::wait)]
    pub(crate) since: Option<Duration>,
    /// Last lines of each log; -1 is all; default: 100, with --since all
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) tail: Option<i64>,
    /// The container, or the engine's launch, before the present one
    #[arg(short, long)]
    pub(crate) previous: bool,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    pub(crate) grep: Option<Regex>,
    /// The time of each line, where Kubernetes knows it
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// Lines as they were written, with colours and control characters
    #[arg(long)]
    pub(crate) raw: bool,
    /// Most logs that are read at a time
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) max_log_requests: u16,
    /// Format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

impl LogsArgs {
    /// Last lines of each log, `None`: all.
    pub(crate) fn lines(&self) -> Option<u64> {
        let all_of_a_while = if self.since.is_some() { -1 } else { 100 };
        u64::try_from(self.tail.unwrap_or(all_of_a_while)).ok()
    }
}

/// Ranks that were asked for.
pub(crate) type Ranks = std::sync::Arc<BTreeSet<u32>>;

fn ranks(text: &str) -> Result<Ranks, String> {
    let odd = || format!("write ranks as 0 or 0,8-15, up to {HIGHEST_RANK}");
    let number = |text: &str| text.parse::<u32>().ok().filter(|rank| *rank <= HIGHEST_RANK).ok_or_else(odd);
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(odd());
        }
        all.extend(first..=last);
    }
    Ok(all.into())
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("longer than {LONGEST_PATTERN} bytes"));
    }
    let built =
        regex::RegexBuilder::new(text).size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES).build();
    built.map_err(|error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    /// The arguments of a command line behind `logs`.
    pub(crate) fn parse(line: &str) -> Result<LogsArgs, clap::Error> {
        let words = ["kubectl-rayfleet", "logs"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::Logs(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ranks_are_numbers_and_ranges() {
        let asked = |text: &str| parse(&format!("llama --rank {text}")).map(|args| args.rank.unwrap());
        assert_eq!(*asked("3").unwrap(), BTreeSet::from([3]));
        assert_eq!(*asked("0,4-6,5").unwrap(), BTreeSet::from([0, 4, 5, 6]));
        for odd in ["x", "1-", "3-1", "1024", "0,,1", "0-99999999999"] {
            assert_eq!(asked(odd).unwrap_err().exit_code(), 2, "{odd}");
        }
    }

    #[test]
    fn a_pattern_that_would_need_much_memory_is_refused() {
        for odd in ["(", "((a{99}){99}){99}", &"a".repeat(2000)] {
            assert_eq!(parse(&format!("llama --grep {odd}")).unwrap_err().exit_code(), 2, "{odd}");
        }
        assert!(parse(r"llama --grep (?i)error\d+").unwrap().grep.unwrap().is_match("Error7"));
    }

    #[test]
    fn the_end_of_a_log_is_shown_unless_a_time_is_given() {
        for (line, wanted) in [
            ("llama", Some(100)),
            ("llama --since 5m", None),
            ("llama --since 5m --tail 3", Some(3)),
            ("llama --tail -1", None),
            ("llama --tail 0 -f", Some(0)),
        ] {
            assert_eq!(parse(line).unwrap().lines(), wanted, "{line}");
        }
        for odd in ["", "llama --tail -2", "llama -f -p", "llama --since 0", "llama --max-log-requests 0"] {
            assert_eq!(parse(odd).unwrap_err().exit_code(), 2, "{odd}");
        }
    }
}
