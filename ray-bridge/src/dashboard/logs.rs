//! The end of a job's log, bounded whatever the length of the log.

use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{Dashboard, Job, job};
use crate::SubmissionId;
use crate::http::{CallError, CallErrorKind, Keep};

/// Ray's API counts lines, the limit is in bytes; most lines are longer than this.
const SHORT_LINE: usize = 64;

#[derive(Deserialize)]
struct Logs {
    logs: Option<String>,
}

impl Dashboard {
    /// The end of a job's log ([`Limits::log_tail_bytes`](crate::Limits)); empty if the node it ran on is
    /// gone.
    pub async fn log_tail(&self, id: &SubmissionId) -> Result<String, CallError> {
        let job = self.job(id).await?;
        self.log_tail_of(id, &job).await
    }

    /// Like [`Dashboard::log_tail`], for a job that was read just before.
    ///
    /// Ray's call for a job's log reads and sends the whole file as a JSON string, so the end of the file is
    /// requested from the node that writes it. If that fails, the whole log is read and all but its end
    /// dropped.
    pub async fn log_tail_of(&self, id: &SubmissionId, job: &Job) -> Result<String, CallError> {
        let limit = self.0.limits.log_tail_bytes;
        let tail = Keep::Tail { keep: limit, read: self.0.limits.log_read_bytes };
        if let Some(node) = &job.driver_node_id {
            let lines = (limit / SHORT_LINE).clamp(100, 100_000);
            let seconds = self.0.limits.call.as_secs().max(1);
            let query = Serializer::new(String::new())
                .append_pair("node_id", node.as_str())
                .append_pair("filename", &format!("job-driver-{id}.log"))
                .append_pair("lines", &lines.to_string())
                .append_pair("timeout", &seconds.to_string())
                .finish();
            let path = format!("/api/v0/logs/file?{query}");
            match self.0.get_bytes(&path, tail).await {
                Ok(kept) if is_page(&kept.bytes) => {
                    return Err(self.0.malformed(&path, "an HTML page instead of the log"));
                }
                Ok(kept) => return Ok(whole_lines(&kept.bytes, kept.cut)),
                // The node or file is gone, the file is empty (Ray 2.46 breaks the connection then), or this
                // Ray lacks the call.
                Err(CallError {
                    kind:
                        CallErrorKind::NotFound { .. }
                        | CallErrorKind::Rejected { .. }
                        | CallErrorKind::Unreachable { refused: false, .. },
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        let path = job::path(id, "/logs");
        let kept = self.0.get_bytes(&path, tail).await?;
        quoted(&kept.bytes, kept.cut).map_err(|what| self.0.malformed(&path, what))
    }
}

/// Ray begins every log with a line of its own, so a log that begins like an HTML page comes from a proxy in
/// between.
fn is_page(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    start.starts_with(b"<html") || start.starts_with(b"<!doctype html")
}

/// Decodes the text, from the first whole line on if its beginning is `cut`. Invalid UTF-8 is replaced.
fn whole_lines(bytes: &[u8], cut: bool) -> String {
    let from = if cut { bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1) } else { 0 };
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

/// Extracts the log from `{"logs": "…"}` whose beginning may have been dropped. Errors say what the reply is
/// instead.
fn quoted(reply: &[u8], cut: bool) -> Result<String, String> {
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

/// The cut may be inside an escape, a surrogate pair or a character. Reading is safe after a byte that can be
/// part of none of these.
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
        assert_eq!(quoted(br#"{"logs": ""}"#, false), Ok(String::new()));
        assert_eq!(quoted(br#"{"logs": null}"#, false), Ok(String::new()));
    }

    #[test]
    fn a_reply_cut_anywhere_gives_whole_last_lines_or_an_error() {
        let log = "first \\ \"line\"\nzweite \u{1F600} Zeile\ttab\nthe last line";
        let reply = serde_json::json!({ "logs": log }).to_string();
        let ascii = reply.replace('\u{1F600}', "\\ud83d\\ude00");
        for reply in [reply.as_bytes(), ascii.as_bytes()] {
            for from in 0..reply.len() {
                if let Ok(text) = quoted(&reply[from..], true) {
                    assert!(log.ends_with(&text), "{from}: {text:?}");
                }
            }
            let at = reply.len() - 30;
            assert_eq!(quoted(&reply[at..], true).as_deref(), Ok("the last line"));
        }
    }

    #[test]
    fn a_reply_that_is_no_log_is_an_error() {
        assert!(quoted(b"<html>", false).is_err());
        assert!(quoted(b"<html>", true).is_err());
        assert!(quoted(b"", true).is_err());
    }

    #[test]
    fn a_file_cut_amid_a_character_gives_whole_lines() {
        let log = "größte Zeile\nzweite\nletzte";
        for from in 1..log.len() {
            assert!(log.ends_with(&whole_lines(&log.as_bytes()[from..], true)), "{from}");
        }
        assert_eq!(whole_lines(b"\xff\xfe\n", false), "\u{fffd}\u{fffd}\n");
        assert_eq!(whole_lines(b"no line end", true), "");
    }
}
