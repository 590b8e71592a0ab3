//! The table of fleets. The output for one fleet is in `fleet`.

use jiff::Timestamp;
use rayfleet_api::status::RolloutStep;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::{Cell, Table, Tone};

use crate::args::StatusArgs;
use crate::view::Fleet;

/// The columns of the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// A column for the namespace.
    pub(crate) namespaces: bool,
    /// More columns.
    pub(crate) wide: bool,
}

impl Shape {
    /// That of a command line.
    pub(crate) fn of(args: &StatusArgs) -> Self {
        Self { namespaces: args.all_namespaces, wide: args.wide() }
    }
}

/// One row per fleet.
pub(crate) fn table<'a>(fleets: impl IntoIterator<Item = &'a Fleet>, shape: Shape, now: Timestamp) -> Table {
    let mut table = empty(shape);
    for fleet in fleets {
        table.push(row(fleet, shape, now));
    }
    table
}

/// The table without rows.
pub(crate) fn empty(shape: Shape) -> Table {
    let mut headers = vec!["NAME", "MODEL", "DESIRED", "UPDATED", "READY", "AVAILABLE", "AGE", "STEP"];
    if shape.namespaces {
        headers.insert(0, "NAMESPACE");
    }
    if shape.wide {
        headers.extend(["REVISION", "REASON"]);
    }
    headers.push("ATTENTION");
    Table::new(headers)
}

/// The row of a fleet.
pub(crate) fn row(fleet: &Fleet, shape: Shape, now: Timestamp) -> Vec<Cell> {
    let count = |number: i64| {
        let tone = if number < fleet.desired { Tone::Busy } else { Tone::Plain };
        Cell::new(number.to_string(), tone)
    };
    let mut row = Vec::new();
    if shape.namespaces {
        row.push(Cell::from(&fleet.namespace));
    }
    row.extend([
        Cell::from(&fleet.name),
        Cell::from(fleet.model.as_deref().unwrap_or("<none>")),
        Cell::from(fleet.desired.to_string()),
        count(fleet.updated),
        count(fleet.ready),
        count(fleet.available),
        Cell::from(age::since(fleet.created, now)),
        step(fleet),
    ]);
    if shape.wide {
        let rollout = fleet.rollout.as_ref();
        let revision = rollout.and_then(|rollout| rollout.to.as_ref()).map(ToString::to_string);
        let reason = rollout.and_then(|rollout| rollout.reason.as_deref());
        row.extend([
            Cell::from(revision.as_deref().unwrap_or("<none>")),
            Cell::from(reason.unwrap_or("<none>")),
        ]);
    }
    let attention: Vec<&str> = fleet
        .conditions
        .iter()
        .filter(|condition| condition.needs_attention())
        .map(|condition| condition.kind.as_str())
        .collect();
    row.push(Cell::new(attention.join(","), Tone::Bad));
    row
}

fn step(fleet: &Fleet) -> Cell {
    if fleet.deleting {
        return Cell::new("Deleting", Tone::Busy);
    }
    match &fleet.rollout {
        _ if !fleet.observed_now() => Cell::new("<not observed yet>", Tone::Busy),
        None => Cell::from("<none>"),
        Some(rollout) if rollout.step == RolloutStep::Complete.as_str() => Cell::new("Complete", Tone::Good),
        Some(rollout) => Cell::new(&rollout.step, Tone::Busy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::view::Condition;

    fn fleets() -> Vec<Fleet> {
        let stalled = Condition { kind: "Stalled".into(), status: "True".into(), ..Condition::default() };
        let new = Fleet {
            namespace: "lab".into(),
            name: "deepseek".into(),
            desired: 4,
            generation: 1,
            ..Fleet::default()
        };
        let complete = Fleet { name: "mistral".into(), ..sample::complete_fleet() };
        vec![Fleet { conditions: vec![stalled], ..sample::upgrading_fleet() }, complete, new]
    }

    #[test]
    fn the_narrow_list() {
        insta::assert_snapshot!(table(&fleets(), Shape::default(), sample::now()).render(false));
    }

    #[test]
    fn the_wide_list_of_all_namespaces() {
        let shape = Shape { namespaces: true, wide: true };
        insta::assert_snapshot!(table(&fleets(), shape, sample::now()).render(false));
    }
}
