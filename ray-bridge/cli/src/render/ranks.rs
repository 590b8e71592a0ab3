//! The table of ranks: one line per stage and node, with data parallelism of each engine.

use rayfleet_cli_kit::ranges::ranges;
use rayfleet_cli_kit::table::Table;

use crate::view::Slot;

/// The table of ranks, in rank order.
pub(crate) fn text(ranks: &[Slot]) -> String {
    let engines = ranks.iter().any(|rank| rank.data_rank.is_some()).then_some("DP");
    let columns = ["STAGE", "RANKS", "NODE", "ADDRESS", "NODE ID", "STATE"];
    let mut table = Table::new(engines.into_iter().chain(columns));
    for alike in ranks.chunk_by(|a, b| (a.lane, &a.node_id, a.state) == (b.lane, &b.node_id, b.state)) {
        let [rank, ..] = alike else { continue };
        let engine = engines.map(|_| rank.data_rank.map_or_else(String::new, |engine| engine.to_string()));
        let cells = [
            rank.stage.to_string(),
            ranges(alike.iter().map(|rank| rank.rank)),
            rank.node.clone(),
            rank.node_ip.clone(),
            rank.node_id.chars().take(12).collect(),
            rank.state.to_owned(),
        ];
        table.push(engine.into_iter().chain(cells));
    }
    table.render(false)
}
