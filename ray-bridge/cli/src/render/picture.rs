//! Draws stages on nodes: a row of GPUs per node, and the distance between rows.

use ray_bridge::placement::RayNode;
use rayfleet_cli_kit::table::one_line;

use crate::plan::StageHop;
use crate::view::Slot;

/// The most nodes that are drawn.
const DRAWN: usize = 24;

/// A node that has ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    node: String,
    /// Stage of each rank here, among those of all data-parallel engines.
    stages: Vec<u32>,
    /// GPUs that remain free.
    free: u32,
    /// GPUs that others use.
    held: u32,
}

/// The nodes of a plan, in its order.
pub(crate) fn rows(ranks: &[Slot], nodes: &[RayNode]) -> Vec<Row> {
    let mut order: Vec<&str> = Vec::new();
    for rank in ranks {
        if !order.contains(&rank.node_id.as_str()) {
            order.push(&rank.node_id);
        }
    }
    let row = |id: &str| {
        let node = nodes.iter().find(|node| node.id.as_str() == id)?;
        let stages: Vec<u32> = ranks.iter().filter(|rank| rank.node_id == id).map(|rank| rank.lane).collect();
        let used = u32::try_from(stages.len()).unwrap_or(u32::MAX);
        Some(Row {
            node: node.name.clone(),
            stages,
            free: node.gpus_free.saturating_sub(used),
            held: node.gpus_total.saturating_sub(node.gpus_free),
        })
    };
    order.into_iter().filter_map(row).collect()
}

/// The picture: a GPU is the number of its stage, `.` if it remains free, `x` if others use it.
pub(crate) fn text(rows: &[Row], hops: &[StageHop]) -> String {
    let drawn = rows.get(..DRAWN).unwrap_or(rows);
    let name = drawn.iter().map(|row| one_line(&row.node).chars().count()).max().unwrap_or_default();
    let cell = drawn.iter().flat_map(|row| &row.stages).max().map_or(1, |stage| stage.to_string().len());
    let mut lines: Vec<String> = Vec::new();
    let mut before: Option<&Row> = None;
    for row in drawn {
        if let Some(way) = before.and_then(|before| between(before, row, hops)) {
            lines.push(format!("{:name$}  | {way}\n", ""));
        }
        let stages = row.stages.iter().map(ToString::to_string);
        let free = std::iter::repeat_n(".".to_owned(), row.free as usize);
        let held = std::iter::repeat_n("x".to_owned(), row.held as usize);
        let cells: Vec<String> =
            stages.chain(free).chain(held).map(|text| format!("{text:>cell$}")).collect();
        lines.push(format!("{:name$}  [{}]\n", one_line(&row.node), cells.join(" ")));
        before = Some(row);
    }
    if rows.len() > drawn.len() {
        lines.push(format!("and {} more nodes\n", rows.len() - drawn.len()));
    }
    lines.concat()
}

/// The distance from the last stage of a node to the first stage of the next, if that follows it.
fn between(from: &Row, to: &Row, hops: &[StageHop]) -> Option<String> {
    let (last, first) = (*from.stages.last()?, *to.stages.first()?);
    if last == first {
        return Some(format!("both have ranks of stage {first}"));
    }
    let step = hops.get(last as usize).filter(|_| last.checked_add(1) == Some(first))?;
    Some(match (&step.level, &step.domain) {
        (Some(level), Some(domain)) => format!("within {level} {}", one_line(domain)),
        _ if step.cost == 0 => "within one tensor domain".to_owned(),
        _ => "no label in common".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: &str, stages: &[u32], free: u32, held: u32) -> Row {
        Row { node: node.to_owned(), stages: stages.to_vec(), free, held }
    }

    fn within(level: &str, domain: &str) -> StageHop {
        StageHop { level: Some(level.to_owned()), domain: Some(domain.to_owned()), cost: 2 }
    }

    #[test]
    fn stages_are_drawn_on_nodes_with_the_distances_between() {
        let rows =
            [row("head-0", &[0, 0], 1, 1), row("w1", &[1, 1, 2, 2], 0, 0), row("worker-12", &[3, 3], 2, 0)];
        let same = StageHop { level: None, domain: None, cost: 0 };
        let far = StageHop { level: None, domain: None, cost: 16 };
        assert_eq!(
            text(&rows, &[within("rack", "leaf-7"), same, far]),
            "\
head-0     [0 0 . x]
           | within rack leaf-7
w1         [1 1 2 2]
           | no label in common
worker-12  [3 3 . .]
"
        );
    }

    #[test]
    fn a_stage_on_two_nodes_is_named() {
        let rows = [row("a", &[0, 0], 0, 0), row("b", &[0, 0], 0, 0), row("c", &[10], 0, 0)];
        assert_eq!(text(&rows, &[]), "a  [ 0  0]\n   | both have ranks of stage 0\nb  [ 0  0]\nc  [10]\n");
    }

    #[test]
    fn long_pictures_are_cut() {
        let rows: Vec<Row> = (0..30).map(|n| row("n", &[n], 0, 0)).collect();
        assert!(text(&rows, &[]).ends_with("and 6 more nodes\n"));
    }
}
