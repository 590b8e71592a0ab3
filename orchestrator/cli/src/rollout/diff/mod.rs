//! `rollout diff`: what differs between two revisions of a fleet, and which of it replaces groups. Changes nothing.

mod change;
mod show;
mod side;

use kube::core::DynamicObject;
use rayfleet_cli_kit::terminal::yaml;
use rayfleet_cli_kit::{CliError, Kind, Terminal};
use side::Side;

use super::args::DiffArgs;
use crate::fleets::Fleets;
use crate::revisions::{self, Revision};
use crate::view::Fleet;

/// As `kubectl diff`: 1 is a difference, so an error is 2.
pub(super) async fn run(args: &DiffArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let differs = diff(args, fleets, terminal).await.map_err(|fault| match fault.kind {
        Kind::Failed => CliError { kind: Kind::Usage, ..fault },
        _ => fault,
    })?;
    if differs { Err(CliError::said()) } else { Ok(()) }
}

async fn diff(args: &DiffArgs, fleets: &Fleets, terminal: &Terminal) -> Result<bool, CliError> {
    let name = &args.fleet;
    let object = fleets.get(name).await?;
    let stored = fleets.revisions(name).await?;
    let revisions = revisions::owned(&stored, &object);
    let history = Chosen { fleets, object: &object, revisions: &revisions, terminal };
    let to = match args.to_revision {
        Some(number) => history.numbered(number)?,
        None => Side::spec(&object)?,
    };
    let from = match args.from_revision {
        Some(number) => history.numbered(number)?,
        None => history.running()?,
    };
    let texts = (yaml(&from.content)?, yaml(&to.content)?);
    let labels = [&from, &to].map(|side| format!("{name} {}", side.label));
    let text = show::unified((&labels[0], &texts.0), (&labels[1], &texts.1), terminal.color);
    if text.is_empty() {
        let hidden = fleets.recorded && from.hash != to.hash;
        if hidden {
            terminal.progress("note: they differ in something that is redacted in the bundle");
        }
        return Ok(hidden);
    }
    let effects = show::effects(&change::changes(&from, &to), terminal.color);
    terminal.print(&format!("{text}\n{effects}"))?;
    Ok(true)
}

/// The revisions to choose from.
struct Chosen<'a> {
    fleets: &'a Fleets,
    object: &'a DynamicObject,
    revisions: &'a [Revision],
    terminal: &'a Terminal,
}

impl Chosen<'_> {
    fn numbered(&self, number: i64) -> Result<Side, CliError> {
        let fleet = Fleet::read(self.object).name;
        let found = self.revisions.iter().find(|revision| revision.number == number);
        let found = found.ok_or_else(|| {
            CliError::failed(
                format!("fleet \"{fleet}\" has no revision {number}"),
                format!("list them: kubectl rayfleet rollout history {}", self.fleets.named(&fleet)),
            )
        })?;
        Side::stored(found, "")
    }

    /// What groups run.
    fn running(&self) -> Result<Side, CliError> {
        let (fleet, wanted) = (Fleet::read(self.object), revisions::current(self.object)?);
        let running = side::running(&fleet, &wanted);
        let (name, named) = (&fleet.name, self.fleets.named(&fleet.name));
        let Some((first, others)) = running.split_first() else {
            return Err(CliError::failed(
                format!("fleet \"{name}\" has no group yet: nothing runs that the spec could differ from"),
                format!("compare two revisions: kubectl rayfleet rollout diff {named} --from-revision N"),
            ));
        };
        for other in others.iter().filter(|other| other.hash != wanted) {
            self.terminal.progress(&format!("note: {} groups run {} too", other.groups, other.hash));
        }
        let Some(record) = side::record(self.revisions, &first.hash) else {
            return Err(CliError::failed(
                format!(
                    "revision {}, which groups of fleet \"{name}\" run, is not in its history",
                    first.hash
                ),
                format!(
                    "see what is: kubectl rayfleet rollout history {named}; then give one with --from-revision"
                ),
            ));
        };
        let groups = if first.groups == 1 { "group runs" } else { "groups run" };
        Side::stored(record, &format!(", {} {groups} it", first.groups))
    }
}

#[cfg(test)]
mod tests {
    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;
    use serde_json::json;

    use super::*;
    use crate::rollout::testing::with_history;
    use crate::sample;

    async fn diff(
        object: kube::core::DynamicObject,
        from: Option<i64>,
        to: Option<i64>,
    ) -> (Result<(), CliError>, String) {
        let kept = Kept::default();
        let args = DiffArgs { fleet: "llama".to_owned(), from_revision: from, to_revision: to };
        let outcome = run(&args, &with_history(object).fleets(), &kept.terminal(Format::Text)).await;
        (outcome, kept.out())
    }

    /// The sample, of whose groups one runs revision 6 and the other what the spec asks for.
    fn upgrading() -> DynamicObject {
        let mut fleet = sample::upgrading();
        let hash = |args: &[&str]| revisions::hash(&sample::template("ray:1"), &sample::model(args)).unwrap();
        for (group, hash) in [(0, hash(&["--max-model-len", "8192"])), (1, hash(&[]))] {
            let group = &mut fleet.data["status"]["groups"][group];
            group["revision"] = json!(hash.pod);
            group["engineRevision"] = json!(hash.engine);
        }
        fleet
    }

    #[tokio::test]
    async fn what_groups_run_is_compared_with_the_spec() {
        let mut fleet = upgrading();
        fleet.data["spec"]["model"]["startTimeout"] = json!("1h");
        let (outcome, text) = diff(fleet, None, None).await;
        assert_eq!(outcome.unwrap_err().code(), 1);
        insta::assert_snapshot!(text);
    }

    #[tokio::test]
    async fn revisions_are_compared_by_number_and_nothing_is_said_of_equal_ones() {
        let (outcome, text) = diff(upgrading(), Some(1), Some(6)).await;
        assert_eq!(outcome.unwrap_err().code(), 1);
        assert!(
            text.starts_with("--- llama revision 1 (") && text.contains("+++ llama revision 6 ("),
            "{text}"
        );
        let images = ["headGroupSpec", "workerGroupSpecs[0]"]
            .map(|group| format!("  template.spec.{group}.template.spec.containers[0].image\n"));
        let effects = format!("\nreplaces groups:\n  model\n{}", images.concat());
        assert!(text.ends_with(&effects), "{text}");
        let (outcome, text) = diff(upgrading(), Some(7), None).await;
        assert_eq!((outcome, text.as_str()), (Ok(()), ""));
    }

    #[tokio::test]
    async fn an_error_is_no_difference() {
        for (fleet, from) in [(upgrading(), Some(3)), (sample::upgrading(), None)] {
            let (outcome, text) = diff(fleet, from, None).await;
            let fault = outcome.unwrap_err();
            assert_eq!((fault.code(), text.as_str()), (2, ""), "{fault}");
            assert!(fault.to_string().contains("rollout history llama -n serving"), "{fault}");
        }
        let mut fleet = upgrading();
        fleet.data["status"] = json!({});
        let fault = diff(fleet, None, None).await.0.unwrap_err();
        assert!(fault.to_string().contains("has no group yet"), "{fault}");
    }
}
