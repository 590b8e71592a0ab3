//! `kubectl rayfleet completion`: what a shell, or kubectl, is given once.

use clap_complete::env::Shells;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use super::args::{CompletionArgs, Shell};
use super::{COMPLETER, PROGRAM, VARIABLE};

pub(crate) fn run(args: &CompletionArgs, terminal: &Terminal) -> Result<(), CliError> {
    terminal.print(&script(args.shell)?)
}

/// Prints an answer to a shell.
pub(super) fn print(answer: &str) -> Result<(), CliError> {
    Terminal::find(Format::Text).print(answer)
}

fn script(shell: Shell) -> Result<String, CliError> {
    let name = match shell {
        // `exec -a` is not in every sh; a credential plugin's complaints do not belong onto the command line.
        Shell::Kubectl => {
            return Ok(format!("#!/usr/bin/env bash\nexec -a {COMPLETER} {PROGRAM} \"$@\" 2>/dev/null\n"));
        }
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut script = Vec::new();
    Shells::builtins()
        .completer(name)
        .ok_or_else(|| CliError::plain(format!("no completion for {name}")))?
        .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .map_err(|error| CliError::plain(format!("completion for {name}: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_asks_this_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell).unwrap();
            assert!(script.contains(VARIABLE) && script.contains(PROGRAM), "{shell:?}: {script}");
        }
    }

    #[test]
    fn kubectl_runs_it_under_the_name_that_it_looks_for() {
        insta::assert_snapshot!(script(Shell::Kubectl).unwrap(), @r#"
        #!/usr/bin/env bash
        exec -a kubectl_complete-rayfleet kubectl-rayfleet "$@" 2>/dev/null
        "#);
    }
}
