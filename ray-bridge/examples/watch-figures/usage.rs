//! CPU and memory use of this process, as Linux counts it.

/// Ticks of `utime` and `stime` per second; a constant of the kernel's ABI.
const TICKS: f64 = 100.0;

/// CPU seconds, and peak memory in MiB.
pub(crate) fn usage() -> std::io::Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The process name is in parentheses and may contain spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(f64::NAN);
    Ok(((ticks(11) + ticks(12)) / TICKS, kib / 1024.0))
}
