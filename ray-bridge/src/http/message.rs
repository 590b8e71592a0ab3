//! Extracts the message of an error reply: Ray answers with plain text, JSON, HTML or a Python traceback.

use serde::Deserialize;

use crate::lean::{self, Pick, Picked, Text};

const LONGEST: usize = 600;

/// The few lines that say what the server objects to.
pub(crate) fn summary(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return "no text in the reply".to_owned();
    }
    if let Some(message) = json_message(text) {
        return bounded(&message);
    }
    if text.starts_with('<') {
        return bounded(&format!("an HTML page instead of Ray's reply: {}", html_title(text)));
    }
    if text.starts_with("Traceback") {
        return bounded(&last_exception(text));
    }
    bounded(&text.lines().filter(|l| !l.trim().is_empty()).take(3).collect::<Vec<_>>().join("; "))
}

/// JSON fields that hold an error message, in order of preference.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    msg: Picked<Words>,
    #[serde(default)]
    message: Picked<Words>,
    #[serde(default)]
    detail: Picked<Words>,
    #[serde(default)]
    error: Picked<Words>,
}

/// A string, or the `message` of an object.
#[derive(Default)]
struct Words(String);

impl Pick for Words {
    fn text(&mut self, text: &str) {
        self.0 = bounded(text);
    }

    fn map<'de, A: serde::de::MapAccess<'de>>(&mut self, map: A) -> Result<(), A::Error> {
        let Text(words) = lean::entry::<A, Text<{ 4 * LONGEST }>>(map, "message")?.unwrap_or_default();
        self.0 = words;
        Ok(())
    }
}

fn json_message(text: &str) -> Option<String> {
    let Said { msg, message, detail, error } = serde_json::from_str(text).ok()?;
    [msg, message, detail, error]
        .into_iter()
        .map(|Picked(Words(words))| words)
        .find(|words| !words.is_empty())
}

fn html_title(text: &str) -> &str {
    text.split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map_or("no title", |(t, _)| t)
}

/// Nested tracebacks end with the exception that the outermost caller saw; the innermost one names the cause,
/// in the last line that is not indented.
fn last_exception(text: &str) -> String {
    text.lines()
        .rev()
        .map(str::trim_end)
        .find(|l| l.len() > 1 && !l.starts_with([' ', '^']))
        .unwrap_or("a Python traceback")
        .to_owned()
}

/// The text, truncated to a readable length.
pub(crate) fn bounded(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exception_of_a_traceback_is_reported() {
        let body = "Traceback (most recent call last):\n  File \"job.py\", line 1, in x\n    y()\nValueError: Job with submission_id j already exists.\n.\n";
        assert_eq!(summary(body.as_bytes()), "ValueError: Job with submission_id j already exists.");
    }

    #[test]
    fn the_message_of_a_json_error_is_reported() {
        assert_eq!(summary(br#"{"result": false, "msg": "Unknown view None"}"#), "Unknown view None");
        assert_eq!(summary(br#"{"error": {"message": "no such model"}}"#), "no such model");
    }

    #[test]
    fn a_login_page_is_reported_as_a_page() {
        let page = b"<html><head><title>Sign in</title></head></html>";
        assert_eq!(summary(page), "an HTML page instead of Ray's reply: Sign in");
    }

    #[test]
    fn long_and_invalid_texts_are_bounded() {
        assert!(summary(&[0xff; 10_000]).chars().count() <= LONGEST + 1);
        assert_eq!(summary(b" \n"), "no text in the reply");
    }
}
