//! Finds where a launch begins in a job's log: Ray appends to the file of an earlier job of the same name.

use jiff::Timestamp;
use serde::Deserialize;

use crate::SubmissionId;

/// The launcher's first line: `RAYFLEET_LAUNCH {"name": "chat", "ms": 1795337323066}`.
const MARK: &str = "RAYFLEET_LAUNCH ";

/// How far the clock of the launcher's node may lag behind that of the head, which dates the submit.
const SKEW_MS: i64 = 2_000;

#[derive(Deserialize)]
struct Launch {
    name: String,
    /// Time of the launch, in milliseconds since 1970.
    ms: i64,
}

/// The part of a log that the launch submitted at `started` has written; empty if it has written nothing yet.
///
/// It begins with Ray's own line, or with the launcher's: Ray 2.46 writes no line, and because Ray starts a
/// job before it writes its line, the launcher's may come first on a busy machine. If the end of a log holds
/// neither, it is all of one launch. An earlier launch is not the wanted one, whatever follows it.
pub fn this_launch<'a>(log: &'a str, name: &SubmissionId, started: Option<Timestamp>) -> &'a str {
    let rays = format!("Running entrypoint for job {name}: ");
    let mut begins = 0;
    let mut at = 0;
    // Ray's line of a launch was found, the launcher's not yet.
    let mut open = false;
    let mut earlier = false;
    // The line of the wanted launch was found.
    let mut is_current = false;
    for line in log.split_inclusive('\n') {
        if line.starts_with(&rays) {
            if !is_current {
                (begins, open, earlier) = (at, true, false);
            }
        } else if let Some(launch) = read(line, name) {
            if !open {
                begins = at;
            }
            open = false;
            earlier = started.is_some_and(|s| launch.ms.saturating_add(SKEW_MS) < s.as_millisecond());
            is_current = started.is_some() && !earlier;
        }
        at += line.len();
    }
    if earlier { "" } else { log.get(begins..).unwrap_or_default() }
}

fn read(line: &str, name: &SubmissionId) -> Option<Launch> {
    let launch: Launch = serde_json::from_str(line.strip_prefix(MARK)?.trim()).ok()?;
    (launch.name == name.as_str()).then_some(launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAY: &str = "Running entrypoint for job chat: exec python -u rayfleet_launcher.py\n";

    fn launch(ms: i64) -> String {
        format!("{MARK}{{\"name\": \"chat\", \"ms\": {ms}}}\n")
    }

    fn cut(log: &str, started_ms: i64) -> &str {
        let name = SubmissionId::new("chat").unwrap();
        this_launch(log, &name, Timestamp::from_millisecond(started_ms).ok())
    }

    #[test]
    fn a_log_of_one_launch_is_returned_whole() {
        let log = format!("{RAY}{}a\nb\n", launch(10_000));
        assert_eq!(cut(&log, 9_000), log);
        assert_eq!(cut("the beginning is cut off\n", 9_000), "the beginning is cut off\n");
        assert_eq!(cut("", 9_000), "");
    }

    #[test]
    fn only_the_last_launch_of_a_reused_name_is_returned() {
        let (first, second) = (format!("{RAY}{}a\n", launch(10_000)), format!("{RAY}{}b\n", launch(50_000)));
        assert_eq!(cut(&format!("{first}{second}"), 49_000), second);
        assert_eq!(cut(&format!("{first}{RAY}"), 49_000), RAY, "the second one has just started");
    }

    #[test]
    fn a_launcher_line_before_the_line_of_ray_is_kept() {
        let (first, second) =
            (format!("{RAY}{}a\n", launch(10_000)), format!("{}b\n{RAY}c\n", launch(50_000)));
        assert_eq!(cut(&second, 49_000), second);
        assert_eq!(cut(&format!("{first}{second}"), 49_000), second);
    }

    #[test]
    fn without_a_line_of_ray_the_launcher_line_is_the_beginning() {
        let (first, second) = (format!("{}a\n", launch(10_000)), format!("{}b\n", launch(50_000)));
        assert_eq!(cut(&format!("{first}{second}"), 49_000), second);
        assert_eq!(cut(&format!("INFO job_manager.py\n{first}{second}"), 49_000), second);
    }

    #[test]
    fn a_launch_without_output_does_not_return_the_one_before() {
        let first = format!("{RAY}{}RAYFLEET_PHASE {{\"phase\": \"Failed\"}}\n", launch(10_000));
        assert_eq!(cut(&first, 49_000), "");
        assert_eq!(cut(&first, 11_500), first, "clocks differ a little");
        let name = SubmissionId::new("chat").unwrap();
        assert_eq!(this_launch(&first, &name, None), first, "a Ray that does not date the submit");
    }

    #[test]
    fn lines_that_only_resemble_a_beginning_are_ignored() {
        let log =
            format!("{RAY}{}x {RAY}Running entrypoint for job chat-2: y\n{MARK}no json\n", launch(10_000));
        assert_eq!(cut(&log, 9_000), log);
    }
}
