//! The cause of a job's end, in a few readable lines.

use super::phase::{PhaseKind, parse_phases};
use crate::dashboard::{Job, JobStatus};

const LAST_LINES: usize = 12;
const LONGEST_LINE: usize = 300;
const LONGEST_CAUSE: usize = 1200;

/// Why the engine's job ended: the launcher's message, else the job's, and the last lines of the log.
///
/// An engine serves until it is stopped, so a job that succeeded counts as failed too.
pub fn failure_cause(job: &Job, log: &str) -> String {
    // A launcher that is stopped reports that as its failure.
    let said = (job.status != JobStatus::Stopped)
        .then(|| parse_phases(log).into_iter().rev().find(|p| p.kind == PhaseKind::Failed))
        .flatten();
    let cause = match said.and_then(|p| Some((p.message.filter(|m| !m.is_empty())?, p.during))) {
        Some((message, Some(during))) => format!("failed in phase {during}: {message}"),
        Some((message, None)) => message,
        None => from_job(job),
    };
    let mut text = plain(&cause, LONGEST_CAUSE);
    let tail = last_lines(log);
    if !tail.is_empty() && job.status != JobStatus::Stopped {
        text.push_str("\nlast lines of its log:\n");
        text.push_str(&tail);
    }
    text
}

fn from_job(job: &Job) -> String {
    match job.status {
        JobStatus::Succeeded => {
            "the engine's server returned, although a server must never return".to_owned()
        }
        JobStatus::Stopped => "the engine was stopped on request".to_owned(),
        _ => {
            let kind = job.error_type.as_deref().map(|e| format!("{e}: ")).unwrap_or_default();
            // Ray appends the whole log to the message; the log is read separately.
            let message = job.message.as_deref().unwrap_or("Ray gives no message");
            let message = message.split(", last available logs").next().unwrap_or(message);
            let exit = job.driver_exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default();
            format!("{kind}{}{exit}", message.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

fn last_lines(log: &str) -> String {
    let mut lines: Vec<String> = log
        .lines()
        .rev()
        .filter(|line| {
            !line.trim().is_empty()
                && !["RAYFLEET_PHASE", "RAYFLEET_LAUNCH"].iter().any(|mark| line.contains(mark))
        })
        .take(LAST_LINES)
        .map(|line| plain(line, LONGEST_LINE))
        .collect();
    lines.reverse();
    lines.join("\n")
}

/// Removes colours and other control characters, which would otherwise reach terminals and Kubernetes events.
fn plain(line: &str, longest: usize) -> String {
    let mut pieces = line.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.map(|piece| piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    // A letter ends the escape sequence.
    let rest = rest.map(|piece| piece.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(piece));
    std::iter::once(first)
        .chain(rest)
        .flat_map(str::chars)
        .map(|c| if matches!(c, '\t' | '\n') { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(longest)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_control_characters_are_removed() {
        assert_eq!(
            plain("\u{1b}[36m(ApiServer pid=7)\u{1b}[0m\tloaded\u{7} 4\u{1b}[1;32m!", 99),
            "(ApiServer pid=7) loaded 4!"
        );
        assert_eq!(plain("\u{1b}[", 99), "");
        assert_eq!(plain(&"x".repeat(1000), 99).len(), 99);
    }
}
