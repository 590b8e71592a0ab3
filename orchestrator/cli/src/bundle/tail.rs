//! The end of a long text as it is read, without the rest in memory. Where the text comes from is not known here.

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

/// Longest part of somebody's words, in bytes.
pub(super) const WORDS: usize = 500;

/// The end of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) bytes: Vec<u8>,
    /// Bytes that came before it.
    pub(super) before: u64,
    /// Why nothing came after it.
    pub(super) broke: Option<String>,
}

/// The last bytes of a stream, from the beginning of a line: of a long one no more is held than twice as much.
pub(super) async fn tail(mut stream: impl AsyncRead + Unpin, most: usize, limit: Duration) -> Tail {
    let (mut tail, mut chunk) = (Tail::default(), vec![0; 64 << 10]);
    let read = async {
        loop {
            let length = match stream.read(&mut chunk).await {
                Ok(0) => return None,
                Ok(length) => length,
                Err(error) => return Some(one_line(&cut(&error.to_string(), WORDS))),
            };
            tail.bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
            if tail.bytes.len() > most.saturating_mul(2) {
                drop_front(&mut tail, most);
            }
        }
    };
    let broke = tokio::time::timeout(limit, read).await;
    tail.broke = broke.unwrap_or_else(|_| Some(format!("it took longer than {}s", limit.as_secs())));
    drop_front(&mut tail, most);
    if tail.before > 0
        && let Some(end) = tail.bytes.iter().position(|byte| *byte == b'\n')
    {
        let kept = tail.bytes.len() - end - 1;
        drop_front(&mut tail, kept);
    }
    tail
}

fn drop_front(tail: &mut Tail, most: usize) {
    let surplus = tail.bytes.len().saturating_sub(most);
    tail.bytes.drain(..surplus);
    tail.before = tail.before.saturating_add(u64::try_from(surplus).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_text_begins_with_a_line() {
        let lines: Vec<String> = (0..100_000).map(|number| format!("line {number}\n")).collect();
        let text = lines.concat();
        let end = tail(Cursor::new(text.as_bytes()), 100, Duration::from_secs(5)).await;
        let kept = String::from_utf8(end.bytes).unwrap();
        assert!(kept.starts_with("line ") && kept.ends_with("line 99999\n") && kept.len() <= 100, "{kept}");
        assert_eq!(end.before + kept.len() as u64, text.len() as u64);
        let whole = tail(Cursor::new(b"a\nb"), 100, Duration::from_secs(5)).await;
        assert_eq!(whole, Tail { bytes: b"a\nb".to_vec(), before: 0, broke: None });
    }
}
