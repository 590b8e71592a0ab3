//! What was measured, as a table for people; its fields are the JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::audit::Requests;
use crate::churn::Churn;
use crate::groups::Upgraded;
use crate::loss::Loss;
use crate::numbers::Spread;
use crate::progress::Times;
use crate::room::NoRoom;
use crate::start::Start;
use crate::traffic::Calls;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) fleets: u16,
    /// Of each fleet.
    pub(crate) groups: u16,
    pub(crate) start: Start,
    /// `None` if no fleet was ready.
    pub(crate) times: Option<Times>,
    /// Seconds from a group's first pod until all were Ready.
    pub(crate) group_start: Option<Spread>,
    /// From the first creation until some seconds after the last fleet was ready.
    pub(crate) bring_up: Phase,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) churn: Option<Churn>,
    pub(crate) loss: Option<Loss>,
    /// Nothing was changed.
    pub(crate) rest: Option<Phase>,
    /// Read after that.
    pub(crate) no_room: Option<NoRoom>,
}

/// One fleet was given a new template.
#[derive(Debug, Serialize)]
pub(crate) struct Upgrade {
    /// `maxSurge/maxUnavailable`.
    pub(crate) rollout: String,
    /// How often as many groups as both are together have to start, one time after the other.
    pub(crate) waves: u32,
    /// Seconds of the waves, each as long as [`IDEAL`].
    pub(crate) ideal: f64,
    #[serde(flatten)]
    pub(crate) observed: Upgraded,
    /// From the change of the template until some seconds after the upgrade was done.
    pub(crate) work: Phase,
}

const IDEAL: &str = "the median start of a group in the bring-up";

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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bring_up, .. } = self;
        let number = f64::from(self.fleets) * f64::from(self.groups);
        let unit = if self.groups == 1 { "a fleet" } else { "a group" };
        write!(f, "{}", self.start)?;
        if self.groups == 1 {
            writeln!(f, "\nBRING-UP of {} fleets of one group", self.fleets)?;
        } else {
            writeln!(f, "\nBRING-UP of {} fleet of {} groups", self.fleets, self.groups)?;
        }
        if let Some(times) = &self.times {
            let Times { by_pods, by_status, .. } = times;
            row(f, "ready by pods / by status", format_args!("{by_pods:.1} / {by_status:.1} s"))?;
            spread(f, "a fleet, from its creation", times.fleet)?;
            spread(f, "a group, from its first pod", self.group_start)?;
            spread(f, "status behind pods", times.status_behind_pods)?;
        }
        bring_up.work(f, number, unit)?;
        if let Some(upgrade) = &self.upgrade {
            upgrade.show(f, number)?;
        }
        if let Some(churn) = &self.churn {
            write!(f, "{churn}")?;
        }
        if let Some(loss) = &self.loss {
            write!(f, "{loss}")?;
        }
        if let Some(rest) = &self.rest {
            rest.rest(f, number, unit)?;
        }
        match &self.no_room {
            Some(no_room) => write!(f, "{no_room}"),
            None => Ok(()),
        }
    }
}

impl Upgrade {
    fn show(&self, f: &mut fmt::Formatter<'_>, groups: f64) -> fmt::Result {
        let Self { rollout, waves, ideal, observed, work } = self;
        writeln!(f, "\nUPGRADE of {groups} groups with maxSurge/maxUnavailable {rollout}")?;
        row(f, "makespan", format_args!("{:.1} s", observed.makespan))?;
        let each = ideal / f64::from(*waves);
        row(f, "ideal", format_args!("{ideal:.1} s: {waves} waves of {each:.2} s, {IDEAL}"))?;
        spread(f, "a new group, from its first pod", observed.group_start)?;
        spread(f, "an old group, from not ready", observed.group_end)?;
        row(f, "lowest number of ready groups", observed.lowest_ready)?;
        row(f, "most existing groups", observed.most_existing)?;
        work.work(f, groups, "a group")
    }
}

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

    fn rest(&self, f: &mut fmt::Formatter<'_>, number: f64, unit: &str) -> fmt::Result {
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
