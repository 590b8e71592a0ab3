//! `logs`: prints the end of an engine's log as Ray keeps it, or follows it.

use ray_bridge::SubmissionId;
use ray_bridge::engine::this_launch;
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::json;

use crate::args::LogsArgs;
use crate::connect::Session;
use crate::{Answer, error, tail};

pub(crate) async fn run(args: &LogsArgs, session: &Session, terminal: &Terminal) -> Result<Answer, CliError> {
    let found = session.find(&args.name).await?;
    if args.follow {
        return tail::follow(&args.name, &found.job, args.tail, session, terminal).await;
    }
    let log = session.dashboard().log_tail_of(&args.name, &found.job).await.map_err(error::call)?;
    let log = this_launch(&log, &args.name, found.job.started);
    if log.is_empty() {
        terminal.progress(&empty(&args.name));
    }
    let tail = last(log, args.tail);
    terminal.result(&json!({"name": args.name, "lines": tail.lines().collect::<Vec<_>>()}), tail)?;
    Ok(Answer::Yes)
}

fn empty(name: &SubmissionId) -> String {
    format!("engine {name}: nothing in its log; it has not started, or its node is gone and the log with it")
}

/// The last lines of a text.
fn last(text: &str, lines: usize) -> &str {
    let end = text.strip_suffix('\n').unwrap_or(text);
    match (lines.checked_sub(1), end.rmatch_indices('\n').nth(lines.saturating_sub(1))) {
        (None, _) => "",
        (_, None) => text,
        (_, Some((at, _))) => text.get(at + 1..).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        for (lines, wanted) in [(0, ""), (1, "c\n"), (2, "b\nc\n"), (3, "a\nb\nc\n"), (9, "a\nb\nc\n")] {
            assert_eq!(last("a\nb\nc\n", lines), wanted, "{lines}");
        }
        assert_eq!(last("a\nb", 1), "b");
        assert_eq!(last("", 5), "");
    }
}
