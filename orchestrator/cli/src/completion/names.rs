//! Which arguments take names that are looked up: their value names say it, so that a new command needs no more.

use std::ffi::OsStr;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use rayfleet_templates::Catalogue;

use super::cluster;
use super::words::Typed;

/// A kind of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Fleets of the namespace.
    Fleets,
    /// Groups of the fleet that was named, or of all fleets of the namespace.
    Groups,
    /// Nodes of the cluster.
    Nodes,
    /// Namespaces of the cluster.
    Namespaces,
    /// Contexts of the kubeconfig.
    Contexts,
    /// Models of the catalogue.
    Models,
    /// GPUs of the catalogue.
    Gpus,
}

impl Names {
    /// All of a value name, as GROUP|NODE.
    fn all_of(value_name: &str) -> Vec<Self> {
        value_name.split('|').filter_map(Self::of).collect()
    }

    /// That of FLEET and others.
    fn of(value_name: &str) -> Option<Self> {
        Some(match value_name {
            "FLEET" => Self::Fleets,
            "GROUP" => Self::Groups,
            "NODE" => Self::Nodes,
            "NAMESPACE" => Self::Namespaces,
            "CONTEXT" => Self::Contexts,
            "MODEL" => Self::Models,
            "GPU" => Self::Gpus,
            _ => return None,
        })
    }
}

/// The definition, with names for all arguments that take them. GROUP|NODE takes both.
pub(super) fn with_names(command: Command, typed: &Arc<Typed>) -> Command {
    command.mut_args(|arg| named(arg, typed)).mut_subcommands(|inner| with_names(inner, typed))
}

fn named(arg: Arg, typed: &Arc<Typed>) -> Arg {
    let value_name = arg.get_value_names().and_then(<[_]>::first);
    let kinds = value_name.map_or_else(Vec::new, |name| Names::all_of(name));
    if kinds.is_empty() {
        return arg;
    }
    let typed = Arc::clone(typed);
    arg.add(ArgValueCompleter::new(move |begun: &OsStr| {
        let Some(begun) = begun.to_str() else { return Vec::new() };
        let names = kinds.iter().flat_map(|kind| all(*kind, &typed));
        names.filter(|name| name.starts_with(begun)).map(CompletionCandidate::new).collect::<Vec<_>>()
    }))
}

fn all(kind: Names, typed: &Arc<Typed>) -> Vec<String> {
    let names = match kind {
        Names::Models | Names::Gpus => known(kind),
        Names::Contexts => cluster::contexts(&typed.global),
        Names::Fleets | Names::Groups | Names::Nodes | Names::Namespaces => cluster::names(kind, typed),
    };
    names.into_iter().filter(|name| is_plain(name)).collect()
}

/// What the catalogue has.
fn known(kind: Names) -> Vec<String> {
    let Ok(catalogue) = Catalogue::embedded() else { return Vec::new() };
    match kind {
        Names::Gpus => catalogue.gpus.into_iter().map(|gpu| gpu.name).collect(),
        _ => catalogue.models.into_iter().map(|entry| entry.name).collect(),
    }
}

/// Letters, digits and signs that no shell expands and that do nothing on a terminal. A cluster's names always are so;
/// a context may be called anything.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@+=,".contains(c))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;
    use clap_complete::engine;

    use super::*;
    use crate::args::Cli;

    fn candidates(line: &str) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let index = words.len() - 1;
        let mut command = with_names(Cli::command(), &Arc::default());
        let found = engine::complete(&mut command, words, index, None).unwrap();
        found.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn commands_flags_values_and_the_catalogue_are_completed() {
        for (line, wanted) in [
            ("kubectl-rayfleet roll", vec!["rollout"]),
            ("kubectl-rayfleet rollout und", vec!["undo"]),
            ("kubectl-rayfleet rollout undo --to", vec!["--to-revision"]),
            ("kubectl-rayfleet status -o y", vec!["yaml"]),
            ("kubectl-rayfleet template kimi-k2 --gpu h2", vec!["h200"]),
            ("kubectl-rayfleet template llama-3.1-4", vec!["llama-3.1-405b"]),
            ("kubectl-rayfleet template kimi-k2 --gpu nothing", vec![]),
        ] {
            assert_eq!(candidates(line), wanted, "{line}");
        }
    }

    #[test]
    fn value_names_of_alternatives_take_both() {
        assert_eq!(Names::all_of("GROUP|NODE"), [Names::Groups, Names::Nodes]);
        assert_eq!(Names::all_of("FILE"), []);
    }

    #[test]
    fn a_name_with_a_meaning_for_shells_or_terminals_is_left_out() {
        assert!(is_plain("arn:aws:eks:eu-west-1:1234:cluster/lab_2") && is_plain("admin@kubernetes"));
        for name in ["$(reboot)", "a b", "a\tb", "a;b", "`id`", "a\u{1b}[2J", "a\u{202e}b", "a\nb", "~", "a*"]
        {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
