//! The table of ranks: one line per stage and node.

use super::table::table;
use crate::view::Slot;

/// The table of ranks, in rank order.
pub(crate) fn text(ranks: &[Slot]) -> String {
    let mut rows: Vec<(&Slot, Vec<u32>)> = Vec::new();
    for rank in ranks {
        match rows.last_mut() {
            Some((first, numbers)) if like(first, rank) => numbers.push(rank.rank),
            _ => rows.push((rank, vec![rank.rank])),
        }
    }
    let rows: Vec<[String; 6]> = rows
        .into_iter()
        .map(|(rank, numbers)| {
            [
                rank.stage.to_string(),
                ranges(&numbers),
                rank.node.clone(),
                rank.node_ip.clone(),
                rank.node_id.chars().take(12).collect(),
                rank.state.to_owned(),
            ]
        })
        .collect();
    table(["STAGE", "RANKS", "NODE", "ADDRESS", "NODE ID", "STATE"], &rows)
}

fn like(a: &Slot, b: &Slot) -> bool {
    (a.stage, &a.node_id, a.state) == (b.stage, &b.node_id, b.state)
}

/// Sorted numbers as ranges: `0-3,6`.
fn ranges(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let texts: Vec<String> = runs
        .filter_map(|run| match run {
            [one] => Some(one.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
            [] => None,
        })
        .collect();
    texts.join(",")
}
