//! Which namespaces a command reads of a bundle if none was named: the one that was meant when it was made may have none of its fleets.

use std::collections::BTreeSet;

use kube::ResourceExt;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use crate::args::Command;
use crate::fleets::Fleets;
use crate::rollout::args::RolloutCommand;

/// Namespaces that are named one by one, and longest name, in bytes: a stranger may have made them.
const NAMED: usize = 20;
const LONGEST: usize = 63;

/// Reads all namespaces, if the command can, or that of the fleet that it names, if fleets of the bundle are in others than the one that
/// is meant.
pub(crate) async fn choose(command: &mut Command, fleets: &mut Fleets) -> Result<(), CliError> {
    // Whatever is wrong with the bundle the command says itself.
    let Ok(all) = fleets.list(true).await else { return Ok(()) };
    let of = |wanted: Option<&str>| -> BTreeSet<String> {
        let all = all.iter().filter(|fleet| wanted.is_none_or(|wanted| fleet.name_any() == wanted));
        all.filter_map(ResourceExt::namespace).collect()
    };
    let everywhere = of(None);
    if everywhere.iter().all(|namespace| *namespace == fleets.namespace) {
        return Ok(());
    }
    let fleet = match command {
        Command::Status(args) if args.fleet.is_none() => {
            args.all_namespaces = true;
            return Ok(());
        }
        Command::Diagnose(args) if args.fleet.is_none() => {
            args.all_namespaces = true;
            return Ok(());
        }
        Command::Top(args) if args.fleet.is_none() => {
            args.all_namespaces = true;
            return Ok(());
        }
        Command::Events(args) if args.fleet.is_none() => {
            args.all_namespaces = true;
            return Ok(());
        }
        Command::Status(args) => args.fleet.as_deref(),
        Command::Diagnose(args) => args.fleet.as_deref(),
        Command::Top(args) => args.fleet.as_deref(),
        Command::Events(args) => args.fleet.as_deref(),
        Command::Plan(args) => args.fleet.as_deref(),
        Command::Map(args) => Some(args.fleet.as_str()),
        Command::Logs(args) => Some(args.fleet.as_str()),
        Command::Rollout(RolloutCommand::Status(args)) => Some(args.fleet.as_str()),
        Command::Rollout(RolloutCommand::History(args)) => Some(args.fleet.as_str()),
        Command::Rollout(RolloutCommand::Diff(args)) => Some(args.fleet.as_str()),
        _ => None,
    };
    // A manifest names its namespace itself.
    let Some(fleet) = fleet else { return Ok(()) };
    let namespaces = of(Some(fleet));
    match namespaces.first() {
        Some(namespace) if namespaces.len() == 1 => {
            fleets.namespace.clone_from(namespace);
            Ok(())
        }
        Some(_) => Err(CliError::usage(
            format!("the bundle has fleets \"{fleet}\" in: {}", named(&namespaces)),
            "name one of the namespaces: -n NAMESPACE",
        )),
        None => Err(CliError::failed(
            format!("the bundle has no fleet \"{fleet}\"; it has fleets in: {}", named(&everywhere)),
            "list them: kubectl rayfleet status --from FILE",
        )),
    }
}

fn named(namespaces: &BTreeSet<String>) -> String {
    let shown: Vec<String> =
        namespaces.iter().take(NAMED).map(|namespace| one_line(&cut(namespace, LONGEST))).collect();
    let more = namespaces.len().saturating_sub(shown.len());
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}
