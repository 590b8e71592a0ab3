//! What the lines of a Ray job's log say of themselves: when they were written, and by which process. No call and no clock.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::line::spoken;

/// The launcher's first line: `RAYFLEET_LAUNCH {"name": …, "ms": 1795337323066}`.
const LAUNCH: &str = "RAYFLEET_LAUNCH ";
/// Its reports: `RAYFLEET_PHASE {"phase": "Loading", "seconds": 12.5, …}`, in seconds since that line.
const PHASE: &str = "RAYFLEET_PHASE ";

/// The process that wrote a line, as Ray puts it in front: `(RayWorkerProc pid=582, ip=10.0.0.2) …`; of what a rank prints the API
/// server's process stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer<'a> {
    /// Address of its node; `None`: that of the job's own node.
    pub(super) ip: Option<&'a str>,
}

/// The process in front of a line, the innermost one whose address is named; `None`: the launcher itself.
pub(super) fn writer(line: &str) -> Option<Writer<'_>> {
    let (first, mut rest) = process(line)?;
    let mut writer = first;
    while let Some((inner, behind)) = process(rest) {
        writer.ip = inner.ip.or(writer.ip);
        rest = behind;
    }
    Some(writer)
}

/// A process at the beginning of a line, and what is behind it.
fn process(line: &str) -> Option<(Writer<'_>, &str)> {
    let (inside, rest) = line.strip_prefix('(')?.split_once(')')?;
    let rest = rest.trim_start_matches(' ');
    if inside == "raylet" || inside.starts_with("raylet,") || inside.starts_with("autoscaler") {
        return Some((Writer { ip: inside.split_once("ip=").map(|(_, ip)| ip) }, rest));
    }
    let (_, pid) = inside.split_once(" pid=")?;
    let (pid, ip) = pid.split_once(", ip=").map_or((pid, None), |(pid, ip)| (pid, Some(ip)));
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some((Writer { ip }, rest))
}

/// When a line was written, in UTC, the zone of containers: as the launcher, Ray (`2026-11-30 13:48:36,823`) or vLLM says.
pub(super) fn time(line: &str, now: Timestamp) -> Option<Timestamp> {
    if line.starts_with(LAUNCH) {
        return launch(line);
    }
    let mut said = line;
    while let Some((_, behind)) = process(said) {
        said = behind;
    }
    rays(said).or_else(|| spoken(said, now))
}

/// When the launcher began, if this is its first line.
pub(super) fn launch(line: &str) -> Option<Timestamp> {
    let launch: Value = serde_json::from_str(line.strip_prefix(LAUNCH)?.trim()).ok()?;
    Timestamp::from_millisecond(launch["ms"].as_i64()?).ok()
}

/// When a report of the launcher was written, if it began at `launch`.
pub(super) fn phase(line: &str, launch: Timestamp) -> Option<Timestamp> {
    let phase: Value = serde_json::from_str(line.strip_prefix(PHASE)?.trim()).ok()?;
    let seconds = SignedDuration::try_from_secs_f64(phase["seconds"].as_f64()?).ok()?;
    launch.checked_add(seconds).ok()
}

fn rays(line: &str) -> Option<Timestamp> {
    let (stamp, _) = line.split_once('\t')?;
    let (date, time) = stamp.split_once(' ')?;
    if stamp.len() != 23 {
        return None;
    }
    format!("{date}T{}Z", time.replace(',', ".")).parse().ok()
}

/// Whether Ray wrote a line of a rank's file, for itself: it names the job and the actor.
pub(super) fn is_mark(line: &str) -> bool {
    [":job_id:", ":actor_name:", ":task_name:"].iter().any(|mark| line.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_in_front_of_a_line_is_read() {
        for (line, wanted) in [
            ("(ApiServer pid=582) (APIServer pid=582) INFO 11-30 13:52:33 [api_utils.py:347]", Some(None)),
            ("(RayWorkerProc pid=7, ip=10.99.2.5) x", Some(Some("10.99.2.5"))),
            ("(RayWorkerProc pid=7, ip=fd00::2) x", Some(Some("fd00::2"))),
            (
                "(ApiServer pid=5) (RayWorkerProc pid=7, ip=10.99.2.5) x (a pid=1, ip=1.1.1.1)",
                Some(Some("10.99.2.5")),
            ),
            ("(raylet) There are tasks", Some(None)),
            ("(raylet, ip=10.0.0.2) x", Some(Some("10.0.0.2"))),
            ("RAYFLEET_PHASE {}", None),
            ("(see below) x", None),
            ("(a pid=x) y", None),
            ("(a pid=1", None),
        ] {
            assert_eq!(writer(line).map(|writer| writer.ip), wanted, "{line}");
        }
    }

    #[test]
    fn a_report_counts_from_the_launch() {
        let launch: Timestamp = "2026-11-30T13:49:00Z".parse().unwrap();
        let of = |line: &str| phase(line, launch).map(|time| time.to_string());
        assert_eq!(of("RAYFLEET_PHASE {\"seconds\": 12.5}").as_deref(), Some("2026-11-30T13:49:12.5Z"));
        for odd in [
            "RAYFLEET_PHASE {\"seconds\": 9e99}",
            "RAYFLEET_PHASE {",
            "RAYFLEET_PHASE {\"seconds\": null}",
            "x",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_line_says_when_it_was_written() {
        let now = "2026-11-30T14:00:00Z".parse().unwrap();
        for (line, wanted) in [
            ("RAYFLEET_LAUNCH {\"name\": \"a\", \"ms\": 1796046540177}", "2026-11-30T13:49:00.177Z"),
            ("2026-11-30 13:48:36,823\tINFO job_manager.py:581 -- x", "2026-11-30T13:48:36.823Z"),
            (
                "(ApiServer pid=5) 2026-11-30 13:48:36,823\tINFO worker.py:2029 -- x",
                "2026-11-30T13:48:36.823Z",
            ),
            (
                "(ApiServer pid=582) (APIServer pid=582) INFO 11-30 13:52:33 [a.py:3] x",
                "2026-11-30T13:52:33Z",
            ),
        ] {
            assert_eq!(time(line, now), Some(wanted.parse().unwrap()), "{line}");
        }
        for line in
            ["", "RAYFLEET_LAUNCH {", "RAYFLEET_LAUNCH {\"ms\": 9e99}", "2026-99-99 13:48:36,823\tx", "a\tb"]
        {
            assert_eq!(time(line, now), None, "{line}");
        }
    }
}
