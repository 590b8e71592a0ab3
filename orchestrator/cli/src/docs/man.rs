//! A man page for every command.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use rayfleet_cli_kit::CliError;

/// Writes the pages of a command and of all below it, without those that help does not list.
pub(super) fn write(mut command: Command, directory: &Path) -> Result<(), CliError> {
    command = command.disable_help_subcommand(true);
    command.build();
    for (name, page) in pages(&command)? {
        let file = directory.join(name);
        fs::write(&file, page).map_err(|error| {
            CliError::usage(format!("cannot write {}: {error}", file.display()), "name a directory of yours")
        })?;
    }
    Ok(())
}

/// Names of files and their text.
fn pages(command: &Command) -> Result<Vec<(String, String)>, CliError> {
    let man = Man::new(command.clone())
        .manual("Rayfleet")
        .source(format!("rayfleet {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page).map_err(|error| CliError::plain(format!("man page: {error}")))?;
    let page = notes(&String::from_utf8_lossy(&page));
    let mut all = vec![(man.get_filename(), page)];
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        all.extend(pages(inner)?);
    }
    Ok(all)
}

/// What stands behind the flags are exit codes and examples: they keep their lines.
fn notes(page: &str) -> String {
    let Some((before, after)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let (notes, rest) = after.split_once("\n.SH ").map_or((after, None), |(notes, rest)| (notes, Some(rest)));
    let rest = rest.map_or_else(String::new, |rest| format!(".SH {rest}"));
    format!("{before}.SH NOTES\n.nf\n{}\n.fi\n{rest}", notes.trim_end())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn all() -> Vec<(String, String)> {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        pages(&command).unwrap()
    }

    #[test]
    fn every_listed_command_has_a_page() {
        let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
        for name in ["kubectl-rayfleet.1", "kubectl-rayfleet-status.1", "kubectl-rayfleet-rollout-undo.1"] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("docs")), "{names:?}");
    }

    #[test]
    fn a_page() {
        let all = all();
        let (_, page) = all.iter().find(|(name, _)| name == "kubectl-rayfleet-rollout-undo.1").unwrap();
        insta::assert_snapshot!(page.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn examples_keep_their_lines_whatever_comes_behind() {
        assert_eq!(
            notes(".SH NAME\na\n.SH EXTRA\nb\n c\n.SH VERSION\nd\n"),
            ".SH NAME\na\n.SH NOTES\n.nf\nb\n c\n.fi\n.SH VERSION\nd\n"
        );
        assert_eq!(notes(".SH NAME\na\n"), ".SH NAME\na\n");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let fault = write(Cli::command(), Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(fault.code(), 2);
        assert!(fault.to_string().contains("/nowhere/at/all/kubectl-rayfleet.1"), "{fault}");
    }
}
