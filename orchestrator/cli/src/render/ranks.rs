//! The nodes of all ranks: a row per group, a column per pipeline stage, with data parallelism of each engine, and
//! in each cell the nodes of the stage with their ranks. The ranks of a stage are its tensor ranks in order.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::NodeName;
use rayfleet_cli_kit::ranges::ranges;
use rayfleet_cli_kit::table::{Cell, Table};

use crate::view::{Group, Rank};

/// The table; `None` while no rank is placed.
pub(crate) fn table(groups: &[Group]) -> Option<Table> {
    let stages: BTreeSet<Stage> =
        groups.iter().flat_map(|group| &group.placement).map(|rank| (rank.data, rank.stage)).collect();
    if stages.is_empty() {
        return None;
    }
    let is_pipeline = stages.iter().any(|(_, stage)| *stage > 0);
    let headers = stages.iter().map(|(data, stage)| match data {
        None => format!("STAGE {stage}"),
        Some(data) if !is_pipeline => format!("DP {data}"),
        Some(data) => format!("DP {data} STAGE {stage}"),
    });
    let mut table = Table::new(std::iter::once("RANKS".to_owned()).chain(headers));
    for group in groups.iter().filter(|group| !group.placement.is_empty()) {
        let cells = stages.iter().map(|stage| Cell::from(stage_cell(&group.placement, *stage)));
        table.push(std::iter::once(Cell::from(&*group.name)).chain(cells));
    }
    Some(table)
}

/// A data-parallel engine, with data parallelism, and one of its stages.
type Stage = (Option<i64>, i64);

/// `node-a:0-7`; a stage on several nodes has one part for each.
fn stage_cell(placement: &[Rank], stage: Stage) -> String {
    let mut nodes: BTreeMap<&NodeName, Vec<i64>> = BTreeMap::new();
    for rank in placement.iter().filter(|rank| (rank.data, rank.stage) == stage) {
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
        Rank { data: None, stage, number, node: node.into() }
    }

    /// A row of a group of four ranks: two data-parallel engines of as many stages.
    fn headers(stages: i64) -> String {
        let of =
            |n: i64| Rank { data: Some(n / 2), stage: n % 2 * (stages - 1), number: n, node: "a".into() };
        let group = Group { name: "g".into(), placement: (0..4).map(of).collect(), ..Group::default() };
        table(&[group]).unwrap().render(false)
    }

    #[test]
    fn data_parallel_engines_have_columns_of_their_own() {
        assert_eq!(headers(1), "RANKS  DP 0   DP 1\ng      a:0-1  a:2-3\n");
        assert_eq!(
            headers(2),
            "RANKS  DP 0 STAGE 0  DP 0 STAGE 1  DP 1 STAGE 0  DP 1 STAGE 1\n\
             g      a:0           a:1           a:2           a:3\n"
        );
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
