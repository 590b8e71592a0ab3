//! Completion in shells: the commands, flags and values of the definition in `args`, and names that the cluster
//! and the kubeconfig know. What cannot be found is left out without a word: nobody has asked for an error.
//!
//! `answer` finds out who asks, `words` reads what was typed so far, `names` are the kinds of names, `cluster` reads
//! them, `kubectl` speaks as kubectl's plugins do, and `script` is what a shell is given.

pub(crate) mod args;
mod cluster;
mod kubectl;
mod names;
mod script;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory;
use clap_complete::CompleteEnv;

use crate::args::Cli;
pub(crate) use script::run;

/// Set by the shells' scripts to the name of the shell.
const VARIABLE: &str = "KUBECTL_RAYFLEET_COMPLETE";
/// The program as shells and kubectl find it.
const PROGRAM: &str = "kubectl-rayfleet";
/// The same program under this name completes for kubectl.
const COMPLETER: &str = "kubectl_complete-rayfleet";

/// Answers if a shell or kubectl asks for completion. Standard output has nothing else then.
pub(crate) fn answer() -> bool {
    let words: Vec<OsString> = std::env::args_os().collect();
    let here = std::env::current_dir().ok();
    if words.first().and_then(|program| Path::new(program).file_stem()) == Some(OsStr::new(COMPLETER)) {
        let asked = std::iter::once(OsString::from(PROGRAM)).chain(words.into_iter().skip(1)).collect();
        let _ = script::print(&kubectl::answer(asked, here.as_deref()));
        return true;
    }
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return false;
    }
    // What the shell's script passes is behind `--`, with the words of the command line.
    let typed: Vec<OsString> = words.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    let typed = Arc::new(words::read(&typed));
    let definition = || names::with_names(Cli::command(), &typed);
    // An error has nowhere to go.
    let _ = CompleteEnv::with_factory(definition).var(VARIABLE).try_complete(words, here.as_deref());
    true
}
