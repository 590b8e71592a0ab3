//! Text that users give, as YAML in a line. Nothing of fleets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Words that some reader of YAML 1.1 takes for something else than text.
const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];

/// One scalar: plain where that is safe everywhere, in flow collections too, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Letters first, or an option or absolute path, and nothing that means something.
fn is_plain(text: &str) -> bool {
    let body = text.strip_prefix("--").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    body.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=+@:".contains(c))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// In double quotes; whatever is not printable ASCII is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            _ if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            _ => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}

/// A map in one line.
pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entries = entries.into_iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

/// A map of labels in one line.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    map(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_safe_is_plain() {
        for text in ["/models/Llama-3.1", "--max-model-len=65536", "eth0", "registry:5000/a@sha256:ab"] {
            assert_eq!(scalar(text), text);
        }
        for text in [
            "", "1", "2.60.0", "1e3", "yes", "No", "null", "~", "a: b", "a #b", "a,b", "-", "--", "x:", "=",
            "a\nb", "é",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        assert_eq!(scalar("a\"\\\n\u{85}\u{1f600}"), r#""a\"\\\u000a\u0085\U0001f600""#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(key in "[^\u{0}]{0,12}", value in "\\PC{0,12}|[-:#{}\\[\\],&*!|>'\"%@` \n\t]{0,6}|[0-9.eExX_+-]{0,6}") {
            let text = format!("a: {{k: {}, l: 1}}\nb:\n- {}\n", scalar(&value), scalar(&value));
            let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            prop_assert_eq!(&read, &serde_json::json!({"a": {"k": value, "l": 1}, "b": [value]}), "{}", text);
            let text = map([(key.as_str(), "v")]);
            let read: BTreeMap<String, String> = serde_saphyr::from_str(&text).unwrap();
            prop_assert_eq!(read, BTreeMap::from([(key, "v".to_owned())]), "{}", text);
        }
    }
}
