//! Reads the log of one container by `pods/log`: until it ends, or on through restarts and broken connections.

use std::sync::Arc;

use futures::AsyncBufRead;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::core::Request;
use kube::{Error, Resource};
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use super::context::{Closed, Context, Entry, Pause, SILENCE, Said};
use super::facts::Container;
use super::line::{Lines, Stamps, stamped};
use super::source::Label;
use crate::error;

/// Lines of KubeRay's operator that are looked through: it speaks of every RayCluster of the cluster.
const OPERATOR_LINES: i64 = 10_000;
/// Longest part of an error's text, in bytes.
const LONGEST: usize = 512;

/// One container, and where the reading of it is.
pub(super) struct Reading {
    pub(super) context: Context,
    pub(super) label: Arc<Label>,
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    /// Of an operator's container: only lines about the groups that are wanted, and its pod is not one of the fleet's.
    pub(super) operator: bool,
    /// It came up after the command had begun: all its lines are new.
    pub(super) fresh: bool,
}

impl Reading {
    /// Reads until there is no more to come.
    pub(super) async fn run(mut self) -> Result<(), Closed> {
        let follow = self.context.options.follow;
        let (mut stamps, mut pause, mut reported) = (Stamps::default(), Pause::new(), String::new());
        // Restarts of the container whose log was opened last.
        let mut opened: Option<i64> = None;
        loop {
            let Some(now) = self.now() else { return Ok(()) };
            let ended = opened.is_some_and(|restarts| restarts >= now.restarts) && !now.running;
            if !now.started || ended {
                if !follow || !self.context.changed(SILENCE).await {
                    return Ok(());
                }
                continue;
            }
            if opened.is_some_and(|restarts| restarts < now.restarts)
                && let Ok(log) = self.open(&self.again(&stamps, true)).await
            {
                // What the one before wrote last.
                stamps.again();
                self.pump(log, &mut stamps, false).await?;
            }
            let params = if opened.is_none() { self.first() } else { self.again(&stamps, false) };
            match self.open(&params).await {
                Ok(log) => {
                    if opened.replace(now.restarts).is_none() {
                        self.context.say(Said::Opened).await?;
                    }
                    reported.clear();
                    stamps.again();
                    let before = stamps.from();
                    self.pump(log, &mut stamps, follow).await?;
                    if !follow {
                        return Ok(());
                    }
                    if stamps.from() != before {
                        pause.reset();
                    }
                }
                Err(Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(Error::Api(status)) if status.code == 403 => {
                    let fault = self.refused(&status.message);
                    return self.context.say(Said::Refused(fault)).await;
                }
                Err(error) => {
                    let why = self.why(&error);
                    // A container that is about to start says so with a 400.
                    if why != reported {
                        self.context.note(format!("{}: {why}", self.named())).await?;
                        reported = why;
                    }
                    if !follow {
                        return Ok(());
                    }
                }
            }
            if !self.context.changed(pause.next()).await {
                return Ok(());
            }
        }
    }

    fn now(&self) -> Option<Container> {
        if self.operator {
            return Some(Container { started: true, running: true, ..Container::default() });
        }
        self.context.container(&self.pod, &self.container)
    }

    fn named(&self) -> String {
        format!("container {} of pod {}", self.container, self.pod)
    }

    /// What is asked for first.
    fn first(&self) -> LogParams {
        let options = self.context.options;
        let lines = if self.operator {
            Some(OPERATOR_LINES)
        } else {
            options.lines.and_then(|it| i64::try_from(it).ok())
        };
        let since = options.since.and_then(|since| i64::try_from(since.as_secs().max(1)).ok());
        LogParams {
            tail_lines: lines.filter(|_| !self.fresh),
            since_seconds: since.filter(|_| !self.fresh),
            previous: options.previous && !self.operator,
            ..self.params(options.follow)
        }
    }

    /// What is asked for after a break.
    fn again(&self, stamps: &Stamps, previous: bool) -> LogParams {
        // Kubernetes knows whole seconds only.
        let from = stamps.from().and_then(|last| Timestamp::from_second(last.as_second()).ok());
        LogParams { since_time: from, previous, ..self.params(!previous) }
    }

    fn params(&self, follow: bool) -> LogParams {
        LogParams {
            container: Some(self.container.clone()),
            follow,
            timestamps: true,
            ..LogParams::default()
        }
    }

    async fn open(&self, params: &LogParams) -> Result<impl AsyncBufRead + use<>, Error> {
        let request = Request::new(Pod::url_path(&(), Some(&self.namespace)));
        let request = request.logs(&self.pod, params).map_err(Error::BuildRequest)?;
        let call = self.context.fleets.client.request_stream(request);
        match tokio::time::timeout(self.context.fleets.timeout, call).await {
            Ok(log) => log,
            Err(_) => Err(Error::Service("no answer in time".into())),
        }
    }

    /// Passes the lines of a stream on that are new, until its end, a break, or a long silence.
    async fn pump(&self, log: impl AsyncBufRead, stamps: &mut Stamps, follow: bool) -> Result<(), Closed> {
        let mut lines = Lines::new(Box::pin(log));
        loop {
            let Ok(Ok(Some(line))) = tokio::time::timeout(SILENCE, lines.next()).await else { return Ok(()) };
            let (time, text) = stamped(&line.text);
            // What a broken stream had begun comes again, whole.
            let new = (line.whole || !follow) && time.is_none_or(|time| stamps.is_new(time));
            if new && (!self.operator || self.is_about_the_fleet(text)) {
                let entry = Entry { label: self.label.clone(), time, text: text.to_owned() };
                self.context.say(Said::Line(entry)).await?;
            }
        }
    }

    /// Whether a line of the operator names a group that is wanted.
    fn is_about_the_fleet(&self, line: &str) -> bool {
        let world = self.context.now();
        world
            .groups
            .keys()
            .filter(|group| self.context.selection.wants(group))
            .any(|group| names(line, group))
    }

    fn why(&self, error: &Error) -> String {
        match error {
            Error::Api(status) => one_line(&cut(&status.message, LONGEST)),
            other => {
                error::reading(other, &self.context.fleets.server, "pods/log", Some(&self.namespace)).message
            }
        }
    }

    fn refused(&self, words: &str) -> CliError {
        let namespace = &self.namespace;
        CliError::failed(
            one_line(&cut(words, LONGEST)),
            format!(
                "you need the right to get pods/log in namespace \"{namespace}\" (the standard role view has it)"
            ),
        )
    }
}

/// Whether a line has a name that is not a part of another one.
fn names(line: &str, name: &str) -> bool {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    line.match_indices(name).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_s_name_is_found_as_a_whole() {
        let line = r#"{"level":"info","RayCluster":{"name":"llama-bcdfgh-1","namespace":"serving"}}"#;
        assert!(names(line, "llama-bcdfgh-1"));
        for other in ["llama-bcdfgh", "bcdfgh-1", "llama-bcdfgh-12", "a"] {
            assert!(!names(line, other), "{other}");
        }
        assert!(names("llama-bcdfgh-1", "llama-bcdfgh-1"));
        assert!(!names("über-llama", "llama"));
    }
}
