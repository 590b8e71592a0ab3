//! Lines as text with a coloured prefix, or as documents. No call here.

use std::hash::{DefaultHasher, Hash, Hasher};

use clap::builder::styling::{AnsiColor, Style};
use rayfleet_cli_kit::clean;
use rayfleet_cli_kit::table::width;
use regex::Regex;
use serde_json::{Value, json};

use super::context::Entry;
use super::source::Label;

/// Widest prefix that later ones are aligned to.
const WIDEST: usize = 60;
/// Colours of prefixes: those that can be read on dark and light.
const COLOURS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightYellow,
    AnsiColor::BrightBlue,
];

/// How lines are shown.
pub(super) struct Show {
    pub(super) color: bool,
    pub(super) timestamps: bool,
    pub(super) raw: bool,
    pub(super) grep: Option<Regex>,
    width: usize,
}

impl Show {
    pub(super) fn new(color: bool, timestamps: bool, raw: bool, grep: Option<Regex>) -> Self {
        Self { color, timestamps, raw, grep, width: 0 }
    }

    /// Prefixes of these are to be aligned from the first line on.
    pub(super) fn expect<'a>(&mut self, labels: impl IntoIterator<Item = &'a Label>) {
        for label in labels {
            self.width = width(&prefix(label)).min(WIDEST).max(self.width);
        }
    }

    /// A line, with its document; `None` if it does not match.
    pub(super) fn line(&mut self, entry: &Entry) -> Option<(Value, String)> {
        let plain = clean::line(&entry.text);
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&plain)) {
            return None;
        }
        let Label { group, pod, container, rank, .. } = &*entry.label;
        let text = if self.raw { &entry.text } else { &plain };
        let document = json!({
            "group": group, "from": entry.label.who, "pod": pod, "container": container, "rank": rank,
            "time": entry.time, "line": text
        });
        let prefix = prefix(&entry.label);
        self.expect([&*entry.label]);
        let gap = " ".repeat(self.width.saturating_sub(width(&prefix)));
        let time = match entry.time.filter(|_| self.timestamps) {
            Some(time) => format!("{time:.3} "),
            None => String::new(),
        };
        Some((document, format!("{}{gap} {time}{text}\n", self.paint(&prefix))))
    }

    fn paint(&self, prefix: &str) -> String {
        if !self.color {
            return prefix.to_owned();
        }
        let mut hasher = DefaultHasher::new();
        prefix.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % COLOURS.len() as u64).unwrap_or_default();
        let style: Style = COLOURS.get(at).copied().unwrap_or(AnsiColor::Cyan).on_default();
        format!("{style}{prefix}{style:#}")
    }
}

fn prefix(label: &Label) -> String {
    clean::line(&format!("{}/{}", label.group, label.who))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn entry(who: &str, text: &str) -> Entry {
        let label =
            Label { group: "llama-bcdfgh-0".into(), who: who.into(), pod: None, container: None, rank: None };
        let time = Some("2026-03-01T12:00:00.123456Z".parse().unwrap());
        Entry { label: Arc::new(label), time, text: text.to_owned() }
    }

    #[test]
    fn prefixes_are_aligned_and_control_characters_go() {
        let mut show = Show::new(false, false, false, None);
        show.expect([&*entry("worker-x2b4f 1", "").label]);
        let text = |show: &mut Show, who: &str, text: &str| show.line(&entry(who, text)).unwrap().1;
        assert_eq!(
            text(&mut show, "head 0", "\u{1b}[31ma\u{1b}[0m\u{202e}"),
            "llama-bcdfgh-0/head 0         a\u{fffd}\n"
        );
        assert_eq!(text(&mut show, "worker-x2b4f 1", "b"), "llama-bcdfgh-0/worker-x2b4f 1 b\n");
        (show.raw, show.timestamps) = (true, true);
        assert_eq!(
            text(&mut show, "rank 1", "\u{1b}[31ma"),
            "llama-bcdfgh-0/rank 1         2026-03-01T12:00:00.123Z \u{1b}[31ma\n"
        );
    }

    #[test]
    fn a_prefix_has_one_colour_and_the_line_none() {
        let mut show = Show::new(true, false, false, None);
        let (first, second) =
            (show.line(&entry("head", "a")).unwrap().1, show.line(&entry("head", "b")).unwrap().1);
        assert!(first.starts_with("\u{1b}[") && first.ends_with("\u{1b}[0m a\n"), "{first:?}");
        assert_eq!(first.replace(" a\n", ""), second.replace(" b\n", ""));
    }

    #[test]
    fn a_pattern_is_searched_in_what_is_shown() {
        let mut show = Show::new(false, false, false, Some(Regex::new("^error").unwrap()));
        assert!(show.line(&entry("head", "\u{1b}[31merror\u{1b}[0m x")).is_some());
        assert!(show.line(&entry("head", "no error")).is_none());
    }

    #[test]
    fn a_document_says_who_wrote_a_line_and_when() {
        let (document, _) = Show::new(false, false, false, None).line(&entry("head", "a")).unwrap();
        assert_eq!(document["group"], "llama-bcdfgh-0");
        assert_eq!(document["from"], "head");
        assert_eq!(document["line"], "a");
        assert_eq!(document["time"], "2026-03-01T12:00:00.123456Z");
    }
}
