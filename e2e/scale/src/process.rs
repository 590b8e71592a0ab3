//! What a process has used, from `/proc`: CPU by thread group, and memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Of `/proc/PID/stat`: a fixed part of Linux' interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU of a process since its start, in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cpu {
    /// Of all threads, those that have ended too.
    pub(crate) total: f64,
    /// Of those that live, by their name without its number.
    pub(crate) threads: BTreeMap<String, f64>,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Most since [`forget_peak`].
    pub(crate) peak: u64,
    pub(crate) now: u64,
}

/// CPU of a process.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let of = format!("/proc/{pid}");
    let ended = || format!("process {pid} has ended: its log says why");
    let (_, total) = stat(Path::new(&of)).with_context(ended)?;
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("{of}/task")).with_context(ended)?.flatten() {
        // One that ends meanwhile is in the total.
        if let Some((name, seconds)) = stat(&task.path()) {
            *threads.entry(group(&name).to_owned()).or_default() += seconds;
        }
    }
    Ok(Cpu { total, threads })
}

/// Seconds since a process was started.
pub(crate) fn age(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let uptime = fs::read_to_string("/proc/uptime").context("/proc/uptime")?;
    age_at(&stat, &uptime).with_context(|| format!("{path} has no start time"))
}

fn age_at(stat: &str, uptime: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let started: f64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(uptime.split(' ').next()?.parse::<f64>().ok()? - started / TICKS_PER_SECOND)
}

/// CPU of every process by its name.
pub(crate) fn all() -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(numbered)
            && let Some((name, seconds)) = stat(&entry.path())
        {
            *all.entry(name).or_default() += seconds;
        }
    }
    all
}

/// Name and seconds of a process or thread.
fn stat(of: &Path) -> Option<(String, f64)> {
    parse(&fs::read_to_string(of.join("stat")).ok()?)
}

fn parse(stat: &str) -> Option<(String, f64)> {
    // A name may hold brackets and spaces.
    let (front, fields) = stat.rsplit_once(") ")?;
    let (_, name) = front.split_once(" (")?;
    let mut ticks = fields.split(' ').skip(11).map_while(|field| field.parse::<u32>().ok());
    let seconds = f64::from(ticks.next()?) + f64::from(ticks.next()?);
    Some((name.to_owned(), seconds / TICKS_PER_SECOND))
}

/// `worker-3` and `worker-4` are one group.
fn group(name: &str) -> &str {
    let group = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | ':'));
    if group.is_empty() { name } else { group }
}

/// Memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok())
    };
    kib("VmHWM")
        .zip(kib("VmRSS"))
        .map(|(peak, now)| Memory { peak, now })
        .with_context(|| format!("{path} has no VmHWM and VmRSS"))
}

/// Begins a new peak of memory.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| path)
}

impl Cpu {
    /// What was used since `before`. Threads that ended meanwhile stand under their own name.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let total = self.total - before.total;
        let mut threads = rise(&self.threads, &before.threads);
        let ended = total - threads.values().sum::<f64>();
        if ended >= 1.0 / TICKS_PER_SECOND {
            threads.insert("(ended)".to_owned(), ended);
        }
        Self { total, threads }
    }
}

/// By how much each has risen, without those that have not.
pub(crate) fn rise(now: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let rise =
        now.iter().map(|(name, now)| (name.clone(), now - before.get(name).copied().unwrap_or_default()));
    rise.filter(|(_, seconds)| *seconds > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_behind_any_name() {
        let stat = "42 (a) (b) c) S 1 42 42 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 9 0 100 1 2 3";
        let (name, seconds) = parse(stat).unwrap();
        assert_eq!(name, "a) (b) c");
        assert!((seconds - 2.0).abs() < 1e-9, "{seconds}");
        assert_eq!(parse("42 (short) S 1 2"), None);
    }

    #[test]
    fn an_age_is_counted_from_the_start_of_the_machine() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 9 0 12000 1 2 3";
        let age = age_at(stat, "130.50 900.00\n").unwrap();
        assert!((age - 10.5).abs() < 1e-9, "{age}");
        assert_eq!(age_at("42 (short) S 1 2", "130.50 900.00\n"), None);
    }

    #[test]
    fn numbered_threads_are_one_group() {
        assert_eq!(group("tokio-rt-worker"), "tokio-rt-worker");
        assert_eq!(group("worker-12"), "worker");
        assert_eq!(group("7"), "7");
    }

    #[test]
    fn threads_that_ended_are_not_lost() {
        let before = Cpu { total: 1.0, threads: BTreeMap::from([("worker".to_owned(), 1.0)]) };
        let now = Cpu { total: 4.0, threads: BTreeMap::from([("worker".to_owned(), 3.0)]) };
        let used = now.since(&before);
        assert_eq!(used.threads, BTreeMap::from([("worker".to_owned(), 2.0), ("(ended)".to_owned(), 1.0)]));
    }
}
