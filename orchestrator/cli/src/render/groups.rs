//! The table of a fleet's groups.

use jiff::Timestamp;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::{Cell, Table, Tone};

use crate::view::Group;

/// One row per group.
pub(crate) fn table<'a>(groups: impl IntoIterator<Item = &'a Group>, wide: bool, now: Timestamp) -> Table {
    let mut headers =
        vec!["GROUP", "REVISION", "PHASE", "SINCE", "GOAL", "NODES", "RANKS", "IN-FLIGHT", "RESTARTS"];
    if wide {
        headers.extend(["HEAD", "GOAL-REASON"]);
    }
    headers.push("MESSAGE");
    let mut table = Table::new(headers);
    for group in groups {
        table.push(row(group, wide, now));
    }
    table
}

fn row(group: &Group, wide: bool, now: Timestamp) -> Vec<Cell> {
    let or_dash = |text: Option<&str>| Cell::from(text.unwrap_or("-"));
    let tone = tone(&group.phase);
    let goal =
        if group.goal == "Serve" { Cell::new("-", Tone::Faint) } else { Cell::new(&group.goal, Tone::Busy) };
    let mut row = vec![
        Cell::from(&*group.name),
        Cell::from(group.revision.to_string()),
        Cell::new(&group.phase, tone),
        Cell::from(age::since(group.since, now)),
        goal,
        Cell::from(if group.nodes.is_empty() { "-".to_owned() } else { group.nodes.join(",") }),
        or_dash(group.ranks.as_deref()),
        or_dash(group.in_flight.map(|count| count.to_string()).as_deref()),
        Cell::new(group.restarts.to_string(), if group.restarts > 0 { Tone::Busy } else { Tone::Plain }),
    ];
    if wide {
        row.extend([or_dash(group.head.as_deref()), or_dash(group.goal_reason.as_deref())]);
    }
    let message = group.message.as_deref().unwrap_or_default();
    row.push(Cell::new(message, if tone == Tone::Bad { Tone::Bad } else { Tone::Plain }));
    row
}

fn tone(phase: &str) -> Tone {
    match phase {
        "Ready" => Tone::Good,
        "Failed" => Tone::Bad,
        _ => Tone::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_narrow_table() {
        let fleet = sample::upgrading_fleet();
        insta::assert_snapshot!(table(&fleet.groups, false, sample::now()).render(false));
    }

    #[test]
    fn the_wide_table() {
        let fleet = sample::upgrading_fleet();
        insta::assert_snapshot!(table(&fleet.groups, true, sample::now()).render(false));
    }

    #[test]
    fn a_group_without_details() {
        let group = Group { name: "llama-bcdfgh-3".into(), phase: "Pending".into(), ..Group::default() };
        insta::assert_snapshot!(table([&group], false, sample::now()).render(false));
    }
}
