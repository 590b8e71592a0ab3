//! What a command line says so far, as far as it decides which names are meant.

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::args::Cli;
use crate::global::Global;

/// Where to look for names.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// The flags of every command.
    pub(super) global: Global,
    /// The fleet that was named, if any.
    pub(super) fleet: Option<String>,
}

/// Reads an incomplete command line, the program's name first. What is wrong with it is ignored.
pub(super) fn read(words: &[OsString]) -> Typed {
    let Ok(matches) = Cli::command().ignore_errors(true).try_get_matches_from(words) else {
        return Typed::default();
    };
    let global = Global::from_arg_matches(&matches).unwrap_or_default();
    let mut deepest = &matches;
    while let Some((_, inner)) = deepest.subcommand() {
        deepest = inner;
    }
    Typed { global, fleet: fleet(deepest) }
}

/// Commands without a fleet have no such argument.
fn fleet(matches: &ArgMatches) -> Option<String> {
    matches.try_get_one::<String>("fleet").ok().flatten().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        read(
            &std::iter::once("kubectl-rayfleet")
                .chain(line.split(' '))
                .map(OsString::from)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn flags_count_wherever_they_stand_and_whatever_else_is_wrong() {
        for line in [
            "status -n serving --context lab ",
            "-n serving --context=lab status ",
            "--context lab rollout undo --namespace=serving --to-revision x ",
            "rollout status -n serving --context lab --no-such-flag --timeout ",
        ] {
            let global = typed(line).global;
            assert_eq!(
                (global.namespace.as_deref(), global.context.as_deref()),
                (Some("serving"), Some("lab")),
                "{line}"
            );
        }
    }

    #[test]
    fn the_fleet_is_that_of_the_innermost_command() {
        assert_eq!(typed("rollout undo llama ").fleet.as_deref(), Some("llama"));
        assert_eq!(typed("lint llama.yaml ").fleet, None);
        assert_eq!(typed("").fleet, None);
    }
}
