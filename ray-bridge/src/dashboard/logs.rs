//! The end of a log from the end of a reply: `{"logs": "…"}` whose beginning may have been dropped.

use serde::Deserialize;

#[derive(Deserialize)]
struct Logs {
    logs: Option<String>,
}

/// The log's text, from a whole line on if `cut`. Errors say what the reply is.
pub(super) fn tail(reply: &[u8], cut: bool) -> Result<String, String> {
    if !cut {
        let logs: Logs = serde_json::from_slice(reply).map_err(|e| format!("logs: {e}"))?;
        return Ok(logs.logs.unwrap_or_default());
    }
    let inside = from_safe_place(reply);
    let end = inside.iter().rposition(|b| *b == b'"').ok_or("logs: the reply does not end as JSON")?;
    let mut string = vec![b'"'];
    string.extend_from_slice(inside.get(..=end).unwrap_or_default());
    let text: String = serde_json::from_slice(&string).map_err(|e| format!("logs: {e}"))?;
    Ok(text.split_once('\n').map_or(String::new(), |(_, whole_lines)| whole_lines.to_owned()))
}

/// The cut may have hit an escape, a surrogate pair or a character. Behind a byte that none of these can hold, it is
/// safe to read on.
fn from_safe_place(reply: &[u8]) -> &[u8] {
    let in_escape =
        |b: u8| b.is_ascii_hexdigit() || matches!(b, b'"' | b'\\' | b'/' | b'n' | b'r' | b't' | b'u');
    let place = reply.iter().position(|b| b.is_ascii() && !in_escape(*b));
    reply.get(place.map_or(0, |i| i + 1)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_logs_of_a_dead_node() {
        assert_eq!(tail(br#"{"logs": ""}"#, false), Ok(String::new()));
        assert_eq!(tail(br#"{"logs": null}"#, false), Ok(String::new()));
    }

    #[test]
    fn a_reply_cut_anywhere_gives_whole_last_lines_or_an_error() {
        let log = "first \\ \"line\"\nzweite \u{1F600} Zeile\ttab\nthe last line";
        let reply = serde_json::json!({ "logs": log }).to_string();
        let ascii = reply.replace('\u{1F600}', "\\ud83d\\ude00");
        for reply in [reply.as_bytes(), ascii.as_bytes()] {
            for from in 0..reply.len() {
                if let Ok(text) = tail(&reply[from..], true) {
                    assert!(log.ends_with(&text), "{from}: {text:?}");
                }
            }
            let at = reply.len() - 30;
            assert_eq!(tail(&reply[at..], true).as_deref(), Ok("the last line"));
        }
    }

    #[test]
    fn something_else_is_said_to_be_no_log() {
        assert!(tail(b"<html>", false).is_err());
        assert!(tail(b"<html>", true).is_err());
        assert!(tail(b"", true).is_err());
    }
}
