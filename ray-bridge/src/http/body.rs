//! Reading a reply without trusting its length.

use bytes::{Bytes, BytesMut};

/// What of a reply to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All, and an error if it is longer than this.
    Whole(usize),
    /// The last bytes, at most twice this many while reading.
    Tail(usize),
    /// The first bytes; the rest is not read.
    Head(usize),
}

/// The kept part of a reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    /// The beginning was dropped.
    pub(crate) cut: bool,
}

/// Collects chunks under a bound.
#[derive(Debug)]
pub(crate) struct Collector {
    keep: Keep,
    held: BytesMut,
    cut: bool,
}

impl Collector {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, held: BytesMut::new(), cut: false }
    }

    /// Takes a chunk; `Err(limit)` if the reply is too long.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), usize> {
        match self.keep {
            Keep::Whole(limit) if self.held.len().saturating_add(chunk.len()) > limit => return Err(limit),
            Keep::Whole(_) => self.held.extend_from_slice(chunk),
            Keep::Tail(limit) => {
                self.held.extend_from_slice(chunk);
                // Dropping only beyond twice the limit keeps the copying linear.
                if self.held.len() > limit.saturating_mul(2) {
                    self.trim(limit);
                }
            }
            Keep::Head(limit) => {
                let room = limit.saturating_sub(self.held.len()).min(chunk.len());
                self.held.extend_from_slice(chunk.get(..room).unwrap_or_default());
                self.cut |= room < chunk.len();
            }
        }
        Ok(())
    }

    /// Nothing that follows would be kept.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.keep, Keep::Head(_)) && self.cut
    }

    fn trim(&mut self, limit: usize) {
        if let Some(excess) = self.held.len().checked_sub(limit).filter(|n| *n > 0) {
            self.held = BytesMut::from(self.held.get(excess..).unwrap_or_default());
            self.cut = true;
        }
    }

    pub(crate) fn finish(mut self) -> Kept {
        if let Keep::Tail(limit) = self.keep {
            self.trim(limit);
        }
        Kept { bytes: self.held.freeze(), cut: self.cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_reply_stops_at_its_limit() {
        let mut all = Collector::new(Keep::Whole(4));
        assert_eq!(all.push(b"abc"), Ok(()));
        assert_eq!(all.push(b"de"), Err(4));
    }

    #[test]
    fn a_tail_keeps_the_end_whatever_the_chunks() {
        for size in 1..12 {
            let mut tail = Collector::new(Keep::Tail(5));
            for chunk in b"0123456789".chunks(size) {
                assert_eq!(tail.push(chunk), Ok(()));
            }
            let kept = tail.finish();
            assert_eq!((kept.bytes.as_ref(), kept.cut), (b"56789".as_slice(), true));
        }
    }

    #[test]
    fn a_head_is_full_once_something_is_left_out() {
        let mut head = Collector::new(Keep::Head(3));
        assert_eq!((head.push(b"abc"), head.is_full()), (Ok(()), false));
        assert_eq!((head.push(b"d"), head.is_full()), (Ok(()), true));
        assert_eq!(head.finish().bytes.as_ref(), b"abc");
    }

    #[test]
    fn a_short_tail_is_whole() {
        let mut tail = Collector::new(Keep::Tail(5));
        assert_eq!(tail.push(b"01234"), Ok(()));
        assert!(!tail.finish().cut);
    }
}
