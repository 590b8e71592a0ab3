//! Answers in kubectl's words: a candidate a line, behind a tab what it means, and last a number that says how the
//! shell goes on. From `pluginCompletion` of kubectl 0.36.3 (`pkg/cmd/plugin/plugin_completion.go`) and
//! `ShellCompDirective` of cobra.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory;
use clap_complete::engine::{self, CompletionCandidate};

use super::{names, words};
use crate::args::Cli;

/// No space behind the word.
const NO_SPACE: u8 = 2;
/// No names of files: where files are meant, they are among the candidates.
const NO_FILES: u8 = 4;

/// The answer to the words of a command line, the program's name first, the word to complete last.
pub(super) fn answer(asked: Vec<OsString>, here: Option<&Path>) -> String {
    let typed = Arc::new(words::read(asked.split_last().map_or(&[], |(_, before)| before)));
    let begun = asked.last().and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    let mut definition = names::with_names(Cli::command(), &typed);
    let last = asked.len().saturating_sub(1);
    let found = engine::complete(&mut definition, asked, last, here).unwrap_or_default();
    text(&begun, &found)
}

fn text(begun: &str, found: &[CompletionCandidate]) -> String {
    // The shells' scripts of kubectl put `--flag=` back themselves.
    let flag = begun.split_once('=').map_or("", |(flag, _)| flag);
    let prefix = if flag.starts_with("--") { format!("{flag}=") } else { String::new() };
    let (mut lines, mut open) = (String::new(), true);
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        // As kubectl: flags are offered to whoever has typed a dash.
        if value.starts_with('-') && !begun.starts_with('-') || value.contains(char::is_control) {
            continue;
        }
        open &= value.ends_with(['/', '=']);
        let value = value.strip_prefix(&prefix).unwrap_or(&value);
        let meaning = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let meaning = meaning.lines().next().unwrap_or_default();
        let gap = if meaning.is_empty() { "" } else { "\t" };
        let _ = writeln!(lines, "{value}{gap}{meaning}");
    }
    let space = if open && !lines.is_empty() { NO_SPACE } else { 0 };
    format!("{lines}:{}\n", NO_FILES + space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> String {
        super::answer(line.split(' ').map(OsString::from).collect(), None)
    }

    #[test]
    fn commands_have_their_meaning_and_flags_wait_for_a_dash() {
        let all = answer("kubectl-rayfleet rollout ");
        assert!(all.contains("undo\tGo back to an earlier revision of template and model\n"), "{all}");
        assert!(!all.contains('-') && all.ends_with("\n:4\n"), "{all}");
        let flags = answer("kubectl-rayfleet rollout undo --to");
        assert_eq!(
            flags,
            "--to-revision\tRevision number; default: the newest one that differs from the fleet\n:4\n"
        );
    }

    #[test]
    fn a_flag_with_its_value_is_answered_by_the_value() {
        assert_eq!(
            answer("kubectl-rayfleet status --output=y"),
            "yaml\tThe objects as YAML; with -w one after the other\n:4\n"
        );
        assert_eq!(
            answer("kubectl-rayfleet status -o y"),
            "yaml\tThe objects as YAML; with -w one after the other\n:4\n"
        );
    }

    #[test]
    fn nothing_known_is_an_answer() {
        assert_eq!(answer("kubectl-rayfleet rollout undo llama x"), ":4\n");
        assert_eq!(text("", &[]), ":4\n");
    }

    #[test]
    fn a_directory_stays_open_and_a_control_character_is_not_passed_on() {
        let found = ["fleets/", "a\tb"].map(CompletionCandidate::new);
        assert_eq!(text("f", &found), "fleets/\n:6\n");
    }
}
