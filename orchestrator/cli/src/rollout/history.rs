//! `rollout history`: the revisions of a fleet, or one of them in full.

use rayfleet_cli_kit::terminal::{note, yaml};
use rayfleet_cli_kit::{CliError, Terminal};

use crate::error::OBJECT;
use crate::fleets::Fleets;
use crate::render::history;
use crate::revisions;
use crate::rollout::args::HistoryArgs;

pub(super) async fn run(args: &HistoryArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let name = &args.fleet;
    let object = fleets.get(name).await?;
    let stored = fleets.revisions(name).await?;
    let revisions = revisions::owned(&stored, &object);
    let Some(wanted) = args.revision else {
        if revisions.is_empty() {
            note(&format!("No rollout history found for {OBJECT}/{name}."));
            return Ok(());
        }
        let table = history::table(&revisions, revisions::current(&object).ok().as_ref(), fleets.now());
        return terminal.print(&format!("{OBJECT}/{name}\n{}", table.render(terminal.color)));
    };
    let Some(revision) = revisions.iter().find(|revision| revision.number == wanted) else {
        return Err(CliError::failed(
            format!("fleet \"{name}\" has no revision {wanted}"),
            format!("list them: kubectl rayfleet rollout history {}", fleets.named(name)),
        ));
    };
    let yaml = yaml(&history::content(revision))?;
    terminal.print(&format!("# {OBJECT}/{name} revision {wanted}\n{yaml}"))
}
