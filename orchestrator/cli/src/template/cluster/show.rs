//! What GPUs a cluster has, and which were taken, as text. Pure.

use rayfleet_cli_kit::table::{Table, one_line};
use rayfleet_templates::explain::count;
use rayfleet_templates::nodes::Unclear;
use rayfleet_text::cut;

use super::{Picked, Pool};

/// Most rows of the table.
const MOST: usize = 20;
/// The longest label of Kubernetes.
const LABEL: usize = 63;

/// All kinds of GPUs, one row each.
pub(in crate::template) fn table(pools: &[Pool]) -> String {
    let mut table = Table::new(["PRODUCT", "GPU", "A NODE", "NODES", "NOT USABLE"]);
    for pool in pools.iter().take(MOST) {
        let closed: Vec<String> =
            pool.closed.iter().map(|(why, nodes)| format!("{nodes} {}", why.text())).collect();
        table.push([
            pool.kind
                .label
                .as_ref()
                .map_or_else(|| "-".to_owned(), |(_, value)| cut(&one_line(value), LABEL)),
            pool.kind.gpu.clone().unwrap_or_else(Unclear::text),
            pool.kind.per_node.to_string(),
            pool.open.to_string(),
            if closed.is_empty() { "-".to_owned() } else { closed.join(", ") },
        ]);
    }
    let more = pools.len().saturating_sub(MOST);
    let more = if more > 0 { format!("and {more} more kinds\n") } else { String::new() };
    table.render(false) + &more
}

/// The choice, and why. `needed`: nodes of all groups during an upgrade, if the model fits.
pub(in crate::template) fn chosen(picked: &Picked, kinds: usize, needed: Option<u64>) -> String {
    let nodes = count(u64::from(picked.nodes), "node");
    let mut lines = vec![format!("from the cluster: {nodes} of {} {}", picked.per_node, picked.gpu.title)];
    if kinds > 1 {
        let why = match needed {
            None => "the one with the most memory, since the model fits on none",
            Some(_) => "the one with nodes for all groups, or the fewest nodes and GPUs of a group",
        };
        lines.push(format!("of {kinds} kinds {why}; --gpu takes another"));
    }
    if let Some(needed) = needed.filter(|needed| *needed > u64::from(picked.nodes)) {
        let nodes = picked.nodes;
        lines.push(format!("warning: all groups together need {needed} nodes, {nodes} are there"));
    }
    lines.join("\n")
}
