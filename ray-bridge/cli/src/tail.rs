//! `logs --follow`: follows a log over a WebSocket, or by polling if `WebSockets` do not get through.
//!
//! Continues while Ray does not answer, and ends with the job.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::dashboard::{Dashboard, Job, LogEvent, LogStream};
use ray_bridge::engine::this_launch;
use ray_bridge::{CallError, CallErrorKind as Call, SubmissionId};
use rayfleet_cli_kit::{CliError, Terminal};
use serde_json::json;
use tokio::time::sleep;

use crate::connect::Session;
use crate::{Answer, error};

/// Ray sends the existing log without a pause, and polls for more once a second.
const CAUGHT_UP: Duration = Duration::from_millis(500);
/// How long nothing may arrive before Ray is asked whether the job still runs.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest pause before a reconnect, in intervals of observation.
const LONGEST_WAIT: u32 = 10;

/// Prints the lines of a log.
struct Printer<'a> {
    name: &'a SubmissionId,
    terminal: &'a Terminal,
    /// The end of what was written before, until all of it has arrived; then nothing is held back.
    earlier: Option<VecDeque<String>>,
    lines: usize,
    /// A line that is not complete yet.
    open: String,
}

/// Why a stream ended.
enum Ended {
    /// The job has ended, and its whole log was printed.
    Job,
    /// The connection broke.
    Connection(String),
}

/// Follows the log of a job until the job has ended; begins with the last lines of the existing log.
pub(crate) async fn follow(
    name: &SubmissionId,
    job: &Job,
    lines: usize,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let mut printer = Printer { name, terminal, earlier: Some(VecDeque::new()), lines, open: String::new() };
    let (mut started, mut position, mut wait) = (job.started, 0, 0);
    let mut reported = String::new();
    let dashboard = session.dashboard();
    loop {
        let broke = match dashboard.log_stream(name, position).await {
            Ok(mut stream) => {
                wait = 0;
                let ended = printer.stream(&mut stream, started, &dashboard).await?;
                position = stream.position();
                match ended {
                    Ended::Job => return printer.end().map(|()| Answer::Yes),
                    Ended::Connection(why) => why,
                }
            }
            Err(error)
                if matches!(
                    error.kind,
                    Call::NotFound { .. } | Call::Rejected { .. } | Call::Malformed { .. }
                ) =>
            {
                terminal.progress(&format!(
                    "no live stream ({error}): the log is asked for every {} s",
                    session.pace.as_secs()
                ));
                return printer.poll(&dashboard, session.pace).await.map(|()| Answer::Yes);
            }
            Err(error) => passing(error)?,
        };
        if broke != reported {
            terminal.progress(&format!("{broke}; trying again"));
            reported = broke;
        }
        wait = (wait * 2).clamp(1, LONGEST_WAIT);
        sleep(session.pace * wait).await;
        if let Ok(Some(job)) = look(&dashboard, name).await
            && job.started != started
        {
            // Another launch under the same name has another log, or appends to the earlier one's.
            (started, position) = (job.started, 0);
            printer.earlier = Some(VecDeque::new());
        }
    }
}

/// The message of a transient error; other errors are returned.
fn passing(error: CallError) -> Result<String, CliError> {
    if error.retryable() { Ok(error.to_string()) } else { Err(error::call(error)) }
}

/// The job; `None` if Ray does not know it any more.
async fn look(dashboard: &Dashboard, name: &SubmissionId) -> Result<Option<Job>, CallError> {
    match dashboard.job(name).await {
        Ok(job) => Ok(Some(job)),
        Err(CallError { kind: Call::NotFound { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Printer<'_> {
    async fn stream(
        &mut self,
        stream: &mut LogStream,
        started: Option<Timestamp>,
        dashboard: &Dashboard,
    ) -> Result<Ended, CliError> {
        let mut over = false;
        loop {
            let patience = if self.earlier.is_some() || over { CAUGHT_UP } else { SILENCE };
            match stream.next(patience).await {
                Ok(LogEvent::Text(text)) => self.take(&text)?,
                Ok(LogEvent::Quiet) if over => return Ok(Ended::Job),
                Ok(event) => {
                    let caught_up = self.earlier.is_some();
                    self.catch_up(started)?;
                    if caught_up && event == LogEvent::Quiet {
                        continue;
                    }
                    match look(dashboard, self.name).await {
                        Ok(job) => over = job.is_none_or(|job| job.status.has_ended()),
                        Err(error) => return passing(error).map(Ended::Connection),
                    }
                    if event == LogEvent::Closed {
                        // Ray also closes it without an error when the node that writes the log is lost.
                        let why = || {
                            Ended::Connection("Ray has closed the stream although the job runs".to_owned())
                        };
                        return Ok(if over { Ended::Job } else { why() });
                    }
                }
                Err(error) => return passing(error).map(Ended::Connection),
            }
        }
    }

    /// Polls the end of the log.
    async fn poll(&mut self, dashboard: &Dashboard, pace: Duration) -> Result<(), CliError> {
        let mut before: Vec<String> = Vec::new();
        let mut first = true;
        loop {
            let looked = match look(dashboard, self.name).await {
                Ok(Some(job)) => dashboard.log_tail_of(self.name, &job).await.map(|log| (job, log)),
                Ok(None) => return self.end(),
                Err(error) => Err(error),
            };
            match looked {
                Ok((job, log)) => {
                    let log = this_launch(&log, self.name, job.started);
                    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
                    let now: Vec<String> = whole.lines().map(str::to_owned).collect();
                    if first {
                        self.earlier = Some(now.iter().cloned().collect());
                        self.catch_up(None)?;
                    } else {
                        let known = known(&before, &now);
                        if known == 0 && !before.is_empty() && !now.is_empty() {
                            self.terminal.progress("some lines were skipped: they were written too quickly");
                        }
                        now.iter().skip(known).try_for_each(|line| self.line(line))?;
                    }
                    if job.status.has_ended() {
                        log.rsplit_once('\n').map_or(log, |(_, rest)| rest).clone_into(&mut self.open);
                        return self.end();
                    }
                    (before, first) = (now, false);
                }
                Err(error) => self.terminal.progress(&format!("{}; trying again", passing(error)?)),
            }
            sleep(pace).await;
        }
    }

    fn take(&mut self, text: &str) -> Result<(), CliError> {
        self.open.push_str(text);
        while let Some((line, rest)) = self.open.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.open = rest;
            match &mut self.earlier {
                Some(earlier) => {
                    earlier.push_back(line);
                    if earlier.len() > self.lines {
                        earlier.pop_front();
                    }
                }
                None => self.line(&line)?,
            }
        }
        Ok(())
    }

    /// Everything written before has arrived: prints the end of it.
    fn catch_up(&mut self, started: Option<Timestamp>) -> Result<(), CliError> {
        let Some(earlier) = self.earlier.take() else { return Ok(()) };
        let text: String = earlier.iter().flat_map(|line| [line, "\n"]).collect();
        let ours: Vec<&str> = this_launch(&text, self.name, started).lines().collect();
        ours.iter().skip(ours.len().saturating_sub(self.lines)).try_for_each(|line| self.line(line))
    }

    fn end(&mut self) -> Result<(), CliError> {
        self.catch_up(None)?;
        let rest = std::mem::take(&mut self.open);
        if rest.is_empty() { Ok(()) } else { self.line(&rest) }
    }

    fn line(&self, line: &str) -> Result<(), CliError> {
        self.terminal.entry(&json!({"name": self.name, "line": line}), &format!("{line}\n"))
    }
}

/// How many lines of the log's end `now` were already in it `before`, if lines may have dropped out at the
/// beginning.
fn known(before: &[String], now: &[String]) -> usize {
    let left = (0..before.len()).find(|left| before.get(*left..).is_some_and(|rest| now.starts_with(rest)));
    left.map_or(0, |left| before.len() - left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_printed_before_are_recognized() {
        let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (before, now, wanted) in [
            ("", "a b", 0),
            ("a b", "a b", 2),
            ("a b", "a b c", 2),
            ("a b c", "b c d", 2),
            ("a a a", "a a a", 3),
            ("a b", "x y", 0),
            ("a b c", "c", 1),
            ("a b c", "", 0),
        ] {
            assert_eq!(known(&lines(before), &lines(now)), wanted, "{before} / {now}");
        }
    }
}
