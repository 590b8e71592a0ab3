//! Rows of `top` as text. Pure.

use rayfleet_cli_kit::ranges::ranges;
use rayfleet_cli_kit::table::{Cell, Table, Tone};
use rayfleet_telemetry::histogram::Quantile;

use super::rows::{GpuRow, NodeRow, Row};

/// Which columns there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// A column for the namespace.
    pub(super) namespaces: bool,
    /// A column for the fleet.
    pub(super) fleets: bool,
    /// More columns.
    pub(super) wide: bool,
}

/// The groups, and below them the Ray nodes whose GPUs are known, or why they are not.
pub(super) fn text(rows: &[Row], shape: Shape, color: bool) -> String {
    let mut text = groups(rows, shape).render(color);
    let has_gpus = rows.iter().flat_map(|row| &row.nodes).any(|node| !node.gpus.is_empty());
    let nodes = rows.iter().any(|row| !row.nodes.is_empty());
    if has_gpus || (shape.wide && nodes) {
        text.push('\n');
        text.push_str(&self::nodes(rows).render(color));
    }
    text
}

fn groups(rows: &[Row], shape: Shape) -> Table {
    let mut headers = Vec::new();
    headers.extend(shape.namespaces.then_some("NAMESPACE"));
    headers.extend(shape.fleets.then_some("FLEET"));
    headers.extend([
        "GROUP",
        "PHASE",
        "TOK/S",
        "PROMPT/S",
        "TTFT-P50",
        "TTFT-P95",
        "RUNNING",
        "WAITING",
        "KV",
        "PREFIX-HIT",
    ]);
    if shape.wide {
        headers.extend(["PREEMPT/S", "HEAD"]);
    }
    headers.push("MESSAGE");
    let mut table = Table::new(headers);
    for row in rows {
        table.push(group(row, shape));
    }
    table
}

fn group(row: &Row, shape: Shape) -> Vec<Cell> {
    let figures = row.metrics.clone().unwrap_or_default();
    let number = |value: Option<f64>| Cell::from(value.map_or_else(dash, amount));
    let part = |value: Option<f64>, tone: fn(f64) -> Tone| {
        value.map_or_else(|| Cell::from("-"), |part| Cell::new(percent(part), tone(part)))
    };
    let mut cells = Vec::new();
    cells.extend(shape.namespaces.then(|| Cell::from(&row.namespace)));
    cells.extend(shape.fleets.then(|| Cell::from(&row.fleet)));
    cells.extend([
        Cell::from(&row.group),
        Cell::new(&row.phase, if row.phase == "Ready" { Tone::Good } else { Tone::Busy }),
        number(figures.generated_tokens_per_second),
        number(figures.prompt_tokens_per_second),
        Cell::from(figures.ttft_p50_seconds.map_or_else(dash, quantile)),
        Cell::from(figures.ttft_p95_seconds.map_or_else(dash, quantile)),
        number(figures.running),
        Cell::new(
            figures.waiting.map_or_else(dash, amount),
            if figures.waiting.is_some_and(|waiting| waiting > 0.0) { Tone::Busy } else { Tone::Plain },
        ),
        // Beyond that vLLM begins to preempt requests.
        part(figures.kv_usage, |usage| if usage >= 0.95 { Tone::Busy } else { Tone::Plain }),
        part(figures.prefix_hit_rate, |_| Tone::Plain),
    ]);
    if shape.wide {
        let head = row.head.as_deref().unwrap_or("-");
        cells.extend([number(figures.preemptions_per_second), Cell::from(head)]);
    }
    cells.push(match (&row.error, &row.note) {
        (Some(error), _) => Cell::new(error, Tone::Bad),
        (None, note) => Cell::new(note.as_deref().unwrap_or_default(), Tone::Faint),
    });
    cells
}

fn nodes(rows: &[Row]) -> Table {
    let mut table = Table::new(["NODES", "NODE", "RANKS", "GPUS", "GPU-MEM", "GPU-BUSY", "MESSAGE"]);
    for (row, node) in rows.iter().flat_map(|row| row.nodes.iter().map(move |node| (row, node))) {
        let ranks = ranges(node.ranks.iter().copied());
        let or_dash = |text: String| if text.is_empty() { dash() } else { text };
        let error = node.error.as_deref().unwrap_or_default();
        table.push([
            Cell::from(&row.group),
            Cell::from(&node.node),
            Cell::from(or_dash(ranks)),
            Cell::from(if node.gpus.is_empty() { dash() } else { node.gpus.len().to_string() }),
            Cell::from(memory(node).unwrap_or_else(dash)),
            Cell::from(spread(node.gpus.iter().filter_map(|gpu| gpu.busy), percent).unwrap_or_else(dash)),
            Cell::new(error, Tone::Bad),
        ]);
    }
    table
}

/// `70.1-71.9 of 80.0 GiB`: of each GPU.
fn memory(node: &NodeRow) -> Option<String> {
    let gib = |mib: f64| format!("{:.1}", (mib / 1024.0).min(1e9));
    let used = spread(node.gpus.iter().filter_map(|gpu| gpu.used_mib), gib)?;
    let total = |gpu: &GpuRow| Some(gpu.used_mib? + gpu.free_mib?);
    let all = spread(node.gpus.iter().filter_map(total), gib);
    Some(all.map_or_else(|| format!("{used} GiB"), |all| format!("{used} of {all} GiB")))
}

/// The smallest and the largest, once if they read the same.
fn spread(values: impl Iterator<Item = f64> + Clone, write: impl Fn(f64) -> String) -> Option<String> {
    let (low, high) = (values.clone().reduce(f64::min)?, values.reduce(f64::max)?);
    let (low, high) = (write(low), write(high));
    Some(if low == high { low } else { format!("{}-{high}", low.trim_end_matches('%')) })
}

fn dash() -> String {
    "-".to_owned()
}

/// Up to five digits; then thousands and millions; what no engine does in short.
fn amount(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        _ if value < 1e5 => format!("{value:.0}"),
        _ if value < 1e6 => format!("{:.0}k", value / 1e3),
        _ if value < 1e12 => format!("{:.1}M", value / 1e6),
        _ => format!("{value:.0e}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

fn quantile(quantile: Quantile) -> String {
    match quantile {
        Quantile::At(seconds) => duration(seconds),
        Quantile::Above(seconds) => format!(">{}", duration(seconds)),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1.0 => format!("{:.0}ms", seconds.max(0.0) * 1000.0),
        _ if seconds < 10.0 => format!("{seconds:.2}s"),
        _ if seconds < 1e6 => format!("{seconds:.0}s"),
        _ => format!("{seconds:.0e}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::window::Figures;

    fn gpu(index: u32, used: f64) -> GpuRow {
        GpuRow { index, used_mib: Some(used), free_mib: Some(81_920.0 - used), busy: Some(0.5 + used / 1e6) }
    }

    fn node(name: &str, ranks: std::ops::Range<i64>, gpus: Vec<GpuRow>) -> NodeRow {
        NodeRow {
            node: name.to_owned(),
            pod: format!("pod-{name}"),
            ranks: ranks.collect(),
            gpus,
            error: None,
        }
    }

    fn all() -> Vec<Row> {
        let row = |number: u32, phase: &str, metrics, error: Option<&str>, note: Option<&str>| Row {
            namespace: "serving".to_owned(),
            fleet: "llama".to_owned(),
            group: format!("llama-bcdfgh-{number}"),
            phase: phase.to_owned(),
            head: Some(format!("llama-bcdfgh-{number}-head-x2b4f")),
            metrics,
            error: error.map(str::to_owned),
            note: note.map(str::to_owned),
            nodes: Vec::new(),
        };
        let busy = Figures {
            generated_tokens_per_second: Some(1834.4),
            prompt_tokens_per_second: Some(212_340.0),
            ttft_p50_seconds: Some(Quantile::At(0.34)),
            ttft_p95_seconds: Some(Quantile::At(2.414)),
            running: Some(48.0),
            waiting: Some(3.0),
            kv_usage: Some(0.97),
            prefix_hit_rate: Some(0.431),
            preemptions_per_second: Some(0.5),
        };
        let odd = Figures {
            generated_tokens_per_second: Some(1e300),
            ttft_p50_seconds: Some(Quantile::Above(2560.0)),
            running: Some(0.0),
            ..Figures::default()
        };
        let mut rows = vec![
            row(0, "Ready", Some(busy), None, None),
            row(1, "Ready", Some(odd), None, Some("measuring")),
            row(2, "Draining", None, Some("no answer\u{1b}[2J within 5s"), None),
            row(3, "Provisioning", None, None, Some("waits for\nroom")),
        ];
        let (first, second) = (vec![gpu(0, 70_000.0), gpu(1, 73_500.0)], vec![gpu(0, 70_000.0)]);
        rows[0].nodes = vec![node("node-a", 0..2, first), node("node-b", 2..4, second)];
        let silent =
            NodeRow { error: Some("no answer within 5s".to_owned()), ..node("node-c", 0..2, Vec::new()) };
        rows[2].nodes = vec![silent];
        rows
    }

    #[test]
    fn groups_and_the_gpus_of_their_nodes() {
        insta::assert_snapshot!(text(&all(), Shape::default(), false));
    }

    #[test]
    fn the_wide_table_of_all_namespaces() {
        insta::assert_snapshot!(text(&all(), Shape { namespaces: true, fleets: true, wide: true }, false));
    }

    #[test]
    fn without_a_gpu_there_is_no_table_of_nodes() {
        let mut rows = all();
        rows.truncate(2);
        rows[0].nodes.iter_mut().for_each(|node| node.gpus.clear());
        assert!(!text(&rows, Shape::default(), false).contains("NODES"));
    }

    #[test]
    fn numbers_stay_short() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.2"), (9.0, "9"), (99_999.0, "99999"), (123_456.0, "123k"), (2.5e6, "2.5M")]
        {
            assert_eq!(amount(value), text);
        }
        for value in [1e12, 1e300, f64::MAX] {
            assert!(amount(value).len() < 8 && duration(value).len() < 8, "{value}");
        }
        assert_eq!(
            (duration(0.0004), duration(12.4), duration(-1.0)),
            ("0ms".into(), "12s".into(), "0ms".into())
        );
    }
}
