//! The table of ranks: one line per stage and node.

use rayfleet_cli_kit::ranges::ranges;
use rayfleet_cli_kit::table::Table;

use crate::view::Slot;

/// The table of ranks, in rank order.
pub(crate) fn text(ranks: &[Slot]) -> String {
    let mut table = Table::new(["STAGE", "RANKS", "NODE", "ADDRESS", "NODE ID", "STATE"]);
    for alike in ranks.chunk_by(|a, b| (a.stage, &a.node_id, a.state) == (b.stage, &b.node_id, b.state)) {
        let [rank, ..] = alike else { continue };
        table.push([
            rank.stage.to_string(),
            ranges(alike.iter().map(|rank| rank.rank)),
            rank.node.clone(),
            rank.node_ip.clone(),
            rank.node_id.chars().take(12).collect(),
            rank.state.to_owned(),
        ]);
    }
    table.render(false)
}
