//! Server-sent events as used for streamed completions: bytes in, the data of each event out. Completions
//! do not belong here.

/// Longest line that is accepted; a stream that sends more without a line end is broken.
const LONGEST: usize = 1 << 20;

/// Collects bytes until lines are complete.
#[derive(Debug, Default)]
pub(super) struct Events {
    rest: Vec<u8>,
}

impl Events {
    /// Takes the next bytes and returns the data of the events that they complete. Comments and fields
    /// other than `data` are left out. Fails if a line is longer than `LONGEST`.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, String> {
        self.rest.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Some(data) = String::from_utf8_lossy(&line).trim_end().strip_prefix("data:") {
                found.push(data.trim_start().to_owned());
            }
        }
        if self.rest.len() > LONGEST {
            Err(format!("a line of more than {LONGEST} bytes"))
        } else {
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_may_arrive_in_any_chunks() {
        let mut events = Events::default();
        assert_eq!(events.push(b"da").unwrap(), Vec::<String>::new());
        assert_eq!(events.push(b"ta: {\"a\":1}\n\ndata:").unwrap(), ["{\"a\":1}"]);
        assert_eq!(events.push(b" [DONE]\r\n\r\n: a comment\n").unwrap(), ["[DONE]"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        assert!(Events::default().push(&vec![b'x'; LONGEST + 1]).is_err());
    }
}
