//! Changes as lines, for `status -w` without a terminal: each line is complete, so that it can be piped and
//! logged. Only what has changed since the last line is printed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayfleet_api::GroupName;
use rayfleet_cli_kit::table::Columns;

use crate::args::StatusArgs;
use crate::render::list::{self, Shape};
use crate::render::{fleet, groups};
use crate::view::{Fleet, Group};

/// What has been printed so far.
pub(crate) struct Lines {
    one_fleet: bool,
    shape: Shape,
    color: bool,
    columns: Columns,
    head: String,
    groups: BTreeMap<GroupName, Group>,
}

impl Lines {
    /// Nothing has been printed.
    pub(crate) fn new(args: &StatusArgs, color: bool) -> Self {
        Self {
            one_fleet: args.fleet.is_some(),
            shape: Shape::of(args),
            color,
            columns: Columns::default(),
            head: String::new(),
            groups: BTreeMap::new(),
        }
    }

    /// The changes of a fleet; empty if there are none.
    pub(crate) fn changes(&mut self, fleet: &Fleet, now: Timestamp) -> String {
        if !self.one_fleet {
            return self.columns.lines(&list::table([fleet], self.shape, now), self.color);
        }
        let mut text = String::new();
        let head = fleet::head(fleet, None, self.color);
        if head != self.head {
            text.push_str(&head);
            self.head = head;
        }
        let changed: Vec<&Group> =
            fleet.groups.iter().filter(|group| self.groups.get(&group.name) != Some(group)).collect();
        if !changed.is_empty() {
            let table = groups::table(changed, self.shape.wide, now);
            text.push_str(&self.columns.lines(&table, self.color));
        }
        let gone = self.groups.keys().filter(|name| !fleet.groups.iter().any(|group| &group.name == *name));
        text.extend(gone.map(|name| format!("{name}  gone\n")));
        self.groups = fleet.groups.iter().map(|group| (group.name.clone(), group.clone())).collect();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn lines(fleet: Option<&str>) -> Lines {
        Lines::new(&StatusArgs { fleet: fleet.map(str::to_owned), ..StatusArgs::default() }, false)
    }

    #[test]
    fn only_changes_are_printed() {
        let mut lines = lines(Some("llama"));
        let mut fleet = sample::upgrading_fleet();
        let first = lines.changes(&fleet, sample::now());
        assert_eq!(lines.changes(&fleet, sample::now()), "");
        fleet.groups[1].in_flight = Some(0);
        let second = lines.changes(&fleet, sample::now());
        fleet = sample::complete_fleet();
        fleet.groups.pop();
        let third = lines.changes(&fleet, sample::now());
        insta::assert_snapshot!([first, second, third].join("---\n"));
    }

    #[test]
    fn a_list_has_a_line_for_every_change() {
        let mut lines = lines(None);
        let text = lines.changes(&sample::upgrading_fleet(), sample::now())
            + &lines.changes(&sample::complete_fleet(), sample::now());
        insta::assert_snapshot!(text);
    }
}
