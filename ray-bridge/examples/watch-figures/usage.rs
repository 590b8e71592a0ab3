//! What this process has cost so far, as Linux counts it.

/// Ticks of `utime` and `stime` a second; the kernel's ABI fixes it.
const TICKS: f64 = 100.0;

/// Seconds of CPU, and the most memory held, in MiB.
pub(crate) fn usage() -> std::io::Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the process stands in parentheses and may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(f64::NAN);
    Ok(((ticks(11) + ticks(12)) / TICKS, kib / 1024.0))
}
