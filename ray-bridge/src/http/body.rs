//! Reads a reply with a bound on its length.

use bytes::{Bytes, BytesMut};

use super::budget::Hold;

/// Which part of a reply to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All of it; an error if it is longer than this many bytes.
    Whole(usize),
    /// The last bytes; up to twice as many are in memory while reading. An error if `read` bytes do not reach
    /// the end.
    Tail {
        /// Bytes to keep.
        keep: usize,
        /// The most bytes to read.
        read: usize,
    },
    /// The first bytes; the rest is not read.
    Head(usize),
    /// Nothing. This many bytes are read so that the connection can be reused; the rest is not.
    Nothing(usize),
}

/// The part of a reply that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    /// The beginning was dropped.
    pub(crate) cut: bool,
    /// The memory that the reply holds.
    pub(crate) hold: Hold,
}

/// Collects chunks within a bound.
#[derive(Debug)]
pub(crate) struct Collector {
    keep: Keep,
    held: BytesMut,
    /// Bytes received.
    read: usize,
    cut: bool,
}

impl Collector {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, held: BytesMut::new(), read: 0, cut: false }
    }

    /// Bytes in memory after a chunk of this length was taken.
    pub(crate) fn with(&self, chunk: usize) -> usize {
        match self.keep {
            Keep::Whole(limit) | Keep::Head(limit) => self.held.len().saturating_add(chunk).min(limit),
            Keep::Tail { keep, .. } => self.held.len().saturating_add(chunk).min(keep.saturating_mul(2)),
            Keep::Nothing(_) => 0,
        }
    }

    /// Takes a chunk; `Err(limit)` if the reply is too long.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), usize> {
        self.read = self.read.saturating_add(chunk.len());
        match self.keep {
            Keep::Tail { read, .. } if self.read > read => return Err(read),
            Keep::Nothing(limit) => self.cut = self.read > limit,
            Keep::Whole(limit) if self.held.len().saturating_add(chunk.len()) > limit => return Err(limit),
            Keep::Whole(_) => self.held.extend_from_slice(chunk),
            Keep::Tail { keep: limit, .. } => {
                self.held.extend_from_slice(chunk);
                // Dropping only at twice the limit keeps the copying linear.
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

    /// Nothing more would be kept.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.keep, Keep::Head(_) | Keep::Nothing(_)) && self.cut
    }

    fn trim(&mut self, limit: usize) {
        if let Some(excess) = self.held.len().checked_sub(limit).filter(|n| *n > 0) {
            self.held = BytesMut::from(self.held.get(excess..).unwrap_or_default());
            self.cut = true;
        }
    }

    /// The bytes kept, and whether their beginning was dropped.
    pub(crate) fn finish(mut self) -> (Bytes, bool) {
        if let Keep::Tail { keep, .. } = self.keep {
            self.trim(keep);
        }
        (self.held.freeze(), self.cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_reply_is_refused_above_its_limit() {
        let mut all = Collector::new(Keep::Whole(4));
        assert_eq!(all.push(b"abc"), Ok(()));
        assert_eq!(all.push(b"de"), Err(4));
    }

    const ENOUGH: usize = 1000;

    #[test]
    fn a_tail_is_the_same_for_all_sizes_of_chunks() {
        for size in 1..12 {
            let mut tail = Collector::new(Keep::Tail { keep: 5, read: ENOUGH });
            for chunk in b"0123456789".chunks(size) {
                assert_eq!(tail.push(chunk), Ok(()));
            }
            assert_eq!(tail.finish(), (b"56789".as_slice().into(), true));
        }
    }

    #[test]
    fn a_tail_of_an_endless_reply_is_refused() {
        let mut tail = Collector::new(Keep::Tail { keep: 5, read: ENOUGH });
        let mut longest = 0;
        let end = (0..ENOUGH).find_map(|_| {
            longest = longest.max(tail.held.len());
            tail.push(b"abc").err()
        });
        assert_eq!(end, Some(ENOUGH));
        assert!(longest <= 10, "{longest}");
    }

    #[test]
    fn a_head_is_full_once_something_is_left_out() {
        let mut head = Collector::new(Keep::Head(3));
        assert_eq!((head.push(b"abc"), head.is_full()), (Ok(()), false));
        assert_eq!((head.push(b"d"), head.is_full()), (Ok(()), true));
        assert_eq!(head.finish().0.as_ref(), b"abc");
    }

    #[test]
    fn an_unwanted_reply_is_read_a_little_and_not_kept() {
        let mut nothing = Collector::new(Keep::Nothing(5));
        assert_eq!((nothing.push(b"abc"), nothing.is_full()), (Ok(()), false));
        assert_eq!((nothing.push(b"abc"), nothing.is_full()), (Ok(()), true));
        assert_eq!((nothing.with(1 << 20), nothing.finish().0.len()), (0, 0));
    }

    #[test]
    fn a_short_tail_is_complete() {
        let mut tail = Collector::new(Keep::Tail { keep: 5, read: ENOUGH });
        assert_eq!(tail.push(b"01234"), Ok(()));
        assert!(!tail.finish().1);
    }
}
