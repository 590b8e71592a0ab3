//! What the lines of a Ray job's log say of themselves: when they were written, and by which process. No call and no clock.

use jiff::Timestamp;
use serde_json::Value;

use super::line::spoken;

/// The launcher's first line: `RAYFLEET_LAUNCH {"name": …, "ms": 1795337323066}`.
const LAUNCH: &str = "RAYFLEET_LAUNCH ";

/// The process that wrote a line, as Ray puts it in front: `(RayWorkerProc pid=582, ip=10.0.0.2) …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer<'a> {
    /// Address of its node; `None`: that of the job's own node.
    pub(super) ip: Option<&'a str>,
}

/// The process in front of a line; `None`: the launcher itself.
pub(super) fn writer(line: &str) -> Option<Writer<'_>> {
    let (inside, _) = line.strip_prefix('(')?.split_once(')')?;
    if inside == "raylet" || inside.starts_with("raylet,") || inside.starts_with("autoscaler") {
        return Some(Writer { ip: inside.split_once("ip=").map(|(_, ip)| ip) });
    }
    let (_, pid) = inside.split_once(" pid=")?;
    let (pid, ip) = pid.split_once(", ip=").map_or((pid, None), |(pid, ip)| (pid, Some(ip)));
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(Writer { ip })
}

/// When a line was written, in UTC, the zone of containers: as the launcher, Ray (`2026-11-30 13:48:36,823`) or vLLM says.
pub(super) fn time(line: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(launch) = line.strip_prefix(LAUNCH) {
        let launch: Value = serde_json::from_str(launch.trim()).ok()?;
        return Timestamp::from_millisecond(launch["ms"].as_i64()?).ok();
    }
    rays(line).or_else(|| spoken(line, now))
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
    fn a_line_says_when_it_was_written() {
        let now = "2026-11-30T14:00:00Z".parse().unwrap();
        for (line, wanted) in [
            ("RAYFLEET_LAUNCH {\"name\": \"a\", \"ms\": 1796046540177}", "2026-11-30T13:49:00.177Z"),
            ("2026-11-30 13:48:36,823\tINFO job_manager.py:581 -- x", "2026-11-30T13:48:36.823Z"),
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
