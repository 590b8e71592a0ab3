//! What the controller did in one time, as rows of the table; its fields are the JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::audit::Requests;
use crate::numbers::Spread;
use crate::traffic::Calls;

/// What the controller did in one time. CPU is in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) cpu: f64,
    /// CPU of its threads by their name.
    pub(crate) threads: BTreeMap<String, f64>,
    /// CPU of every process of the bench by its name.
    pub(crate) all: BTreeMap<String, f64>,
    pub(crate) peak_kib: u64,
    pub(crate) resident_kib: u64,
    /// Its requests to the API server.
    pub(crate) requests: Requests,
    /// Those of other controllers that the audit log has.
    pub(crate) others: BTreeMap<String, u64>,
    /// Its calls to dashboards and engines.
    pub(crate) calls: Calls,
    /// By how much its own counters rose.
    pub(crate) counters: BTreeMap<String, f64>,
}

/// Lines of a breakdown that are shown; the JSON has all.
const LINES: usize = 16;

impl Phase {
    /// CPU, memory, requests and calls, each also for one of the `number` things that were done.
    pub(crate) fn work(&self, f: &mut fmt::Formatter<'_>, number: f64, unit: &str) -> fmt::Result {
        let each = 1000.0 * self.cpu / number;
        row(f, "CPU", format_args!("{:.2} s, {each:.1} ms {unit}", self.cpu))?;
        self.memory(f)?;
        let requests = count(self.requests.total);
        let refused: u64 = self.requests.refused.values().sum();
        let each = requests / number;
        row(
            f,
            "requests to the API server",
            format_args!("{requests:.0}, {each:.2} {unit}, {refused} refused"),
        )?;
        for (user, total) in &self.others {
            let each = count(*total) / number;
            row(f, &format!("  beside it, {user}"), format_args!("{total}, {each:.2} {unit}"))?;
        }
        let calls = count(self.calls.total());
        row(f, "calls to dashboards and engines", format_args!("{calls:.0}, {:.1} {unit}", calls / number))?;
        self.breakdown(f, number, unit)
    }

    pub(crate) fn rest(&self, f: &mut fmt::Formatter<'_>, number: f64, unit: &str) -> fmt::Result {
        writeln!(f, "\nREST of {:.0} s", self.seconds)?;
        row(f, "CPU", format_args!("{:.2} % of a core", 100.0 * self.cpu / self.seconds))?;
        self.memory(f)?;
        row(f, "requests to the API server", self.requests.total)?;
        let per_second = |number: u64| count(number) / self.seconds;
        let Calls { connections, received, sent, .. } = self.calls;
        let calls = per_second(self.calls.total());
        row(
            f,
            "calls to dashboards and engines",
            format_args!("{calls:.1}/s, {:.2}/s {unit}", calls / number),
        )?;
        row(f, "connections to pods", format_args!("{:.1}/s", per_second(connections)))?;
        let (received, sent) = (per_second(received) / 1024.0, per_second(sent) / 1024.0);
        row(f, "bytes to and from pods", format_args!("{received:.1} and {sent:.1} KiB/s"))?;
        if calls > 0.0 {
            row(
                f,
                "CPU for each of these calls",
                format_args!("{:.0} µs", 1e6 * self.cpu / self.seconds / calls),
            )?;
        }
        self.breakdown(f, self.seconds, "/s")
    }

    pub(crate) fn memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(
            f,
            "memory, peak / at the end",
            format_args!("{:.1} / {:.1} MiB", mib(self.peak_kib), mib(self.resident_kib)),
        )
    }

    fn breakdown(&self, f: &mut fmt::Formatter<'_>, by: f64, unit: &str) -> fmt::Result {
        let whole = |of: &BTreeMap<String, u64>| {
            of.iter().map(|(name, number)| (name.clone(), count(*number))).collect()
        };
        table(f, "CPU s of its threads", &self.threads, by, unit)?;
        table(f, "CPU s of all processes", &self.all, by, unit)?;
        table(f, "requests", &whole(&self.requests.by_kind), by, unit)?;
        table(f, "requests that were refused", &whole(&self.requests.refused), by, unit)?;
        table(f, "calls", &whole(&self.calls.by_kind), by, unit)?;
        table(f, "its counters", &self.counters, by, unit)
    }
}

pub(crate) fn row(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<34}{value}")
}

pub(crate) fn spread(f: &mut fmt::Formatter<'_>, name: &str, of: Option<Spread>) -> fmt::Result {
    match of {
        Some(Spread { median, p99, most }) => {
            row(f, name, format_args!("median {median:.2} s, P99 {p99:.2} s, most {most:.2} s"))
        }
        None => row(f, name, "-"),
    }
}

fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    of: &BTreeMap<String, f64>,
    by: f64,
    unit: &str,
) -> fmt::Result {
    if of.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {title}, and {unit}")?;
    let mut lines: Vec<_> = of.iter().collect();
    lines.sort_by(|a, b| b.1.total_cmp(a.1));
    for (name, value) in lines.iter().take(LINES) {
        writeln!(f, "    {name:<64}{value:>12.2}{:>12.4}", **value / by)?;
    }
    if let Some((_, rest)) = lines.split_at_checked(LINES).filter(|(_, rest)| !rest.is_empty()) {
        let sum: f64 = rest.iter().map(|(_, value)| **value).sum();
        writeln!(f, "    {:<64}{sum:>12.2}{:>12.4}", format!("({} more)", rest.len()), sum / by)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

pub(crate) fn mib(kib: u64) -> f64 {
    count(kib) / 1024.0
}
