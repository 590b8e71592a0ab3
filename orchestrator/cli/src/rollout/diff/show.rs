//! A diff as text: a unified diff of YAML, and what the changes do. No decisions here.

use std::fmt::Write;
use std::time::Duration;

use rayfleet_api::revision::RevisionMatch;
use rayfleet_cli_kit::table::Tone;
use similar::TextDiff;

use super::change::Changes;

/// Time after which a diff need not be the smallest.
const PATIENCE: Duration = Duration::from_secs(2);

/// The unified diff of two texts with their names.
pub(super) fn unified(from: (&str, &str), to: (&str, &str), color: bool) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(from.1, to.1);
    let plain = diff.unified_diff().context_radius(3).header(from.0, to.0).to_string();
    let mut text = String::with_capacity(plain.len());
    for line in plain.lines() {
        let tone = match line.as_bytes().first() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => Tone::Plain,
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Faint,
            _ => Tone::Plain,
        };
        text.push_str(&tone.paint(&visible(line), color));
        text.push('\n');
    }
    text
}

/// What the changes do, most of it first.
pub(super) fn effects(changes: &Changes, color: bool) -> String {
    let mut text = String::new();
    for (effect, words, tone) in [
        (RevisionMatch::PodsOutdated, "replaces groups", Tone::Busy),
        (RevisionMatch::EngineOutdated, "swaps engines, pods stay", Tone::Busy),
        (RevisionMatch::UpToDate, "changes nothing that runs", Tone::Good),
    ] {
        let mut paths = changes.all.iter().filter(|change| change.effect == effect).peekable();
        if paths.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "{}:", tone.paint(words, color));
        for change in paths {
            let _ = writeln!(text, "  {}", visible(&change.path));
        }
    }
    if changes.more {
        let together = match changes.effect {
            RevisionMatch::PodsOutdated => "replace groups",
            RevisionMatch::EngineOutdated => "swap engines, and pods stay",
            RevisionMatch::UpToDate => "change nothing that runs",
        };
        let _ = writeln!(text, "and more; all together {together}");
    }
    text
}

/// Characters that a terminal obeys instead of showing them, or that turn the order of others, are spelled out.
fn visible(line: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        if obeyed(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::change::Change;
    use super::*;

    #[test]
    fn a_diff_is_coloured_only_on_request() {
        let diff = |color| unified(("spec (a)", "a: 1\nb: 2\n"), ("spec (b)", "a: 1\nb: 3\n"), color);
        insta::assert_snapshot!(diff(false), @r"
        --- spec (a)
        +++ spec (b)
        @@ -1,2 +1,2 @@
         a: 1
        -b: 2
        +b: 3
        ");
        assert!(diff(true).contains("\u{1b}[32m+b: 3\u{1b}[0m\n"), "{:?}", diff(true));
    }

    #[test]
    fn texts_without_a_difference_give_none() {
        assert_eq!(unified(("a", "x: 1\n"), ("b", "x: 1\n"), false), "");
    }

    #[test]
    fn no_character_of_a_spec_commands_a_terminal() {
        let diff = unified(("a", "x\n"), ("b", "\u{1b}[2J\u{202e}\u{9b}\n"), false);
        assert!(diff.contains("+\\u{1b}[2J\\u{202e}\\u{9b}\n"), "{diff:?}");
    }

    #[test]
    fn effects_are_grouped_most_first() {
        let change = |path: &str, effect| Change { path: path.to_owned(), effect };
        let changes = Changes {
            all: vec![
                change("model.startTimeout", RevisionMatch::UpToDate),
                change("model.engine.args", RevisionMatch::EngineOutdated),
                change("template.spec", RevisionMatch::PodsOutdated),
            ],
            more: true,
            effect: RevisionMatch::PodsOutdated,
        };
        insta::assert_snapshot!(effects(&changes, false), @r"
        replaces groups:
          template.spec
        swaps engines, pods stay:
          model.engine.args
        changes nothing that runs:
          model.startTimeout
        and more; all together replace groups
        ");
    }
}
