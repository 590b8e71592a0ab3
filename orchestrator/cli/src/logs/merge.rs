//! Lines of several logs in the order of their times, one at a time from each: memory does not grow with the logs.

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::context::{Entry, Said};

/// One log, of which the next line is known.
struct Log {
    said: mpsc::Receiver<Said>,
    next: Option<Entry>,
    /// Time of its last line that had one.
    time: Timestamp,
}

/// Logs that are merged. Each ends by itself.
pub(super) struct Merge(Vec<Log>);

impl Merge {
    pub(super) fn new(logs: Vec<mpsc::Receiver<Said>>) -> Self {
        Self(logs.into_iter().map(|said| Log { said, next: None, time: Timestamp::MIN }).collect())
    }

    /// What comes next; `None` at the end. Of the lines the earliest, a line without a time directly after the one before it; what is
    /// no line comes at once.
    pub(super) async fn next(&mut self) -> Option<Said> {
        let mut at = 0;
        while let Some(log) = self.0.get_mut(at) {
            if log.next.is_none() {
                match log.said.recv().await {
                    Some(Said::Line(entry)) => {
                        // Within one log the order is its own.
                        log.time = entry.time.map_or(log.time, |time| time.max(log.time));
                        log.next = Some(entry);
                    }
                    Some(other) => return Some(other),
                    None => {
                        self.0.remove(at);
                        continue;
                    }
                }
            }
            at += 1;
        }
        let earliest = self.0.iter_mut().min_by_key(|log| log.time)?;
        earliest.next.take().map(Said::Line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::logs::source::Label;

    async fn merged(logs: &[&[(&str, &str)]]) -> Vec<String> {
        let mut receivers = Vec::new();
        for lines in logs {
            let (out, said) = mpsc::channel(100);
            for (time, text) in *lines {
                let label = Arc::new(Label {
                    group: String::new(),
                    who: String::new(),
                    pod: None,
                    container: None,
                    rank: None,
                });
                let time = (!time.is_empty()).then(|| format!("2026-03-01T12:{time}Z").parse().unwrap());
                out.send(Said::Line(Entry { label, time, text: (*text).to_owned() })).await.unwrap();
            }
            receivers.push(said);
        }
        let mut merge = Merge::new(receivers);
        let mut texts = Vec::new();
        while let Some(said) = merge.next().await {
            match said {
                Said::Line(entry) => texts.push(entry.text),
                other => panic!("{other:?}"),
            }
        }
        texts
    }

    #[tokio::test]
    async fn lines_come_in_the_order_of_their_times() {
        let first: &[_] = &[("00:01", "a"), ("00:04", "d"), ("", "d2"), ("00:03", "d3")];
        let second: &[_] = &[("", "0"), ("00:02", "b"), ("00:03", "c"), ("00:05", "e")];
        assert_eq!(merged(&[first, second, &[]]).await, ["0", "a", "b", "c", "d", "d2", "d3", "e"]);
        assert_eq!(merged(&[]).await, Vec::<String>::new());
    }
}
