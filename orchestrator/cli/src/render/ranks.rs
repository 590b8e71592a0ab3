//! The nodes of all ranks: a row per group, a column per pipeline stage, and in each cell the nodes of the
//! stage with their ranks. The ranks of a stage are its tensor ranks in order.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::NodeName;
use rayfleet_cli_kit::ranges::ranges;
use rayfleet_cli_kit::table::{Cell, Table};

use crate::view::{Group, Rank};

/// The table; `None` while no rank is placed.
pub(crate) fn table(groups: &[Group]) -> Option<Table> {
    let stages: BTreeSet<i64> =
        groups.iter().flat_map(|group| &group.placement).map(|rank| rank.stage).collect();
    if stages.is_empty() {
        return None;
    }
    let headers = stages.iter().map(|stage| format!("STAGE {stage}"));
    let mut table = Table::new(std::iter::once("RANKS".to_owned()).chain(headers));
    for group in groups.iter().filter(|group| !group.placement.is_empty()) {
        let cells = stages.iter().map(|stage| Cell::from(stage_cell(&group.placement, *stage)));
        table.push(std::iter::once(Cell::from(&*group.name)).chain(cells));
    }
    Some(table)
}

/// `node-a:0-7`; a stage on several nodes has one part for each.
fn stage_cell(placement: &[Rank], stage: i64) -> String {
    let mut nodes: BTreeMap<&NodeName, Vec<i64>> = BTreeMap::new();
    for rank in placement.iter().filter(|rank| rank.stage == stage) {
        nodes.entry(&rank.node).or_default().push(rank.number);
    }
    if nodes.is_empty() {
        return "-".to_owned();
    }
    let parts: Vec<String> =
        nodes.into_iter().map(|(node, ranks)| format!("{node}:{}", ranges(ranks))).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn rank(stage: i64, number: i64, node: &str) -> Rank {
        Rank { stage, number, node: node.into() }
    }

    #[test]
    fn one_rank_per_stage() {
        let fleet = sample::upgrading_fleet();
        insta::assert_snapshot!(table(&fleet.groups).unwrap().render(false));
    }

    #[test]
    fn eight_tensor_ranks_and_a_stage_on_two_nodes() {
        let whole = (0..16).map(|n| rank(n / 8, n, if n < 8 { "node-a" } else { "node-b" })).collect();
        let split =
            vec![rank(0, 0, "node-c"), rank(0, 1, "node-c"), rank(0, 2, "node-d"), rank(0, 3, "node-c")];
        let groups = [
            Group { name: "whole".into(), placement: whole, ..Group::default() },
            Group { name: "split".into(), placement: split, ..Group::default() },
            Group { name: "none".into(), ..Group::default() },
        ];
        insta::assert_snapshot!(table(&groups).unwrap().render(false));
    }

    #[test]
    fn without_placed_ranks_there_is_no_table() {
        assert!(table(&[Group::default()]).is_none());
    }
}
