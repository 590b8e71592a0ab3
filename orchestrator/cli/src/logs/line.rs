//! Lines out of a stream of bytes, each of bounded length; the time in front of one; and which of them were printed before. No call and
//! no clock.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use futures::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Longest line that is kept, in bytes; what is longer is cut and ends with a mark. Kubernetes itself splits lines after 16 KiB.
pub(super) const LONGEST: usize = 16 * 1024;

/// A line of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether its end was there; else the stream ended within it.
    pub(super) whole: bool,
}

/// Splits a stream.
pub(super) struct Lines<R> {
    reader: R,
    open: Vec<u8>,
    cut: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, open: Vec::new(), cut: false }
    }

    /// The next line; `None` at the end. Invalid UTF-8 is replaced. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let rest = !self.open.is_empty() || self.cut;
                return Ok(rest.then(|| self.take(false)));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let kept = part.len().min(LONGEST.saturating_sub(self.open.len()));
            self.open.extend_from_slice(part.get(..kept).unwrap_or_default());
            self.cut |= kept < part.len();
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume_unpin(used);
            if end.is_some() {
                return Ok(Some(self.take(true)));
            }
        }
    }

    fn take(&mut self, whole: bool) -> Line {
        let mut text = String::from_utf8_lossy(&self.open).into_owned();
        self.open.clear();
        if std::mem::take(&mut self.cut) {
            text.push('…');
        }
        Line { text, whole }
    }
}

/// The time that Kubernetes writes in front of a line, and the line.
pub(super) fn stamped(line: &str) -> (Option<Timestamp>, &str) {
    let parsed = line.split_once(' ').and_then(|(time, rest)| Some((time.parse().ok()?, rest)));
    match parsed {
        Some((time, rest)) => (Some(time), rest),
        // A line without a word has no blank either.
        None => line.parse().map_or((None, line), |time| (Some(time), "")),
    }
}

/// The time in a line of vLLM's log, `INFO 11-30 13:45:20 [core.py:12] …`, which has no year and no zone: the one next to `now` is
/// taken, in UTC, the zone of containers. May stand behind the name of a process, `(EngineCore pid=7) `.
pub(super) fn spoken(line: &str, now: Timestamp) -> Option<Timestamp> {
    let mut words = line.split(' ');
    let level = words
        .by_ref()
        .take(8)
        .any(|word| matches!(word, "DEBUG" | "INFO" | "WARNING" | "ERROR" | "CRITICAL"));
    let (date, time) = (words.next().filter(|_| level)?, words.next()?);
    let year = now.to_zoned(TimeZone::UTC).year();
    let in_year = |year: i16| {
        let text = format!("{year:04}-{date}T{time}");
        let civil = (text.len() == 19).then(|| text.parse::<DateTime>().ok())??;
        civil.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
    };
    let near = [year.checked_sub(1), Some(year)].into_iter().flatten().filter_map(in_year);
    near.min_by_key(|time| time.duration_since(now).unsigned_abs())
}

/// Where a log with times goes on after its stream broke: Kubernetes is asked from the second of the last line on, and the lines that
/// were printed before are dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps {
    last: Option<Timestamp>,
    /// Lines that had that time.
    at_last: usize,
    /// While the stream repeats lines: how many of that time have come again.
    repeats: Option<usize>,
}

impl Stamps {
    /// What to ask from; `None`: nothing was printed yet.
    pub(super) fn from(&self) -> Option<Timestamp> {
        self.last
    }

    /// Another stream begins, which may repeat lines.
    pub(super) fn again(&mut self) {
        self.repeats = self.last.map(|_| 0);
    }

    /// Whether a line is new.
    pub(super) fn is_new(&mut self, time: Timestamp) -> bool {
        if let (Some(last), Some(repeats)) = (self.last, self.repeats) {
            if time < last || (time == last && repeats < self.at_last) {
                self.repeats = Some(repeats + usize::from(time == last));
                return false;
            }
            self.repeats = None;
        }
        if self.last == Some(time) {
            self.at_last += 1;
        } else if self.last.is_none_or(|last| last < time) {
            (self.last, self.at_last) = (Some(time), 1);
        }
        true
    }
}

/// Lines that are remembered of a log without times.
const REMEMBERED: usize = 256;

/// Where a log without times goes on: by the last lines that were printed, as hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlap(VecDeque<u64>);

impl Overlap {
    /// A line was printed.
    pub(super) fn printed(&mut self, line: &str) {
        self.0.push_back(hash(line));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// How many of a log's last lines were printed before; `None` if none of them is known, so that some may be missing between. The
    /// longest end of what was printed that stands in the lines counts, the last time that it does.
    pub(super) fn known<T: AsRef<str>>(&self, lines: &[T]) -> Option<usize> {
        if self.0.is_empty() {
            return Some(0);
        }
        let lines: Vec<u64> = lines.iter().map(|line| hash(line.as_ref())).collect();
        let before: Vec<u64> = self.0.iter().copied().collect();
        let mut best = (0, None);
        for end in (1..=lines.len()).rev() {
            let (here, there) = (lines.get(..end)?.iter().rev(), before.iter().rev());
            let alike = here.zip(there).take_while(|(a, b)| a == b).count();
            if alike > best.0 {
                best = (alike, Some(end));
            }
            if alike == before.len() || alike == end {
                break;
            }
        }
        best.1
    }
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use futures::io::{BufReader, Cursor};

    use super::*;

    async fn lines(bytes: &[u8], capacity: usize) -> Vec<Line> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, Cursor::new(bytes.to_vec())));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_whole_whatever_the_chunks() {
        let line = |text: &str, whole| Line { text: text.to_owned(), whole };
        for capacity in [1, 2, 3, 100] {
            assert_eq!(
                lines("a\n\ngröße\r\nrest".as_bytes(), capacity).await,
                [line("a", true), line("", true), line("größe\r", true), line("rest", false)]
            );
            assert_eq!(lines(b"", capacity).await, []);
        }
        assert_eq!(lines(b"\xff\n", 9).await, [line("\u{fffd}", true)]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let mut endless = vec![b'x'; 3 * LONGEST];
        endless.extend(b"\nnext\n");
        let found = lines(&endless, 1000).await;
        assert_eq!(found[0].text.len(), LONGEST + '…'.len_utf8());
        assert_eq!(found[1].text, "next");
        let exact = lines(&[vec![b'x'; LONGEST], b"\n".to_vec()].concat(), 1000).await;
        assert_eq!(exact[0].text.len(), LONGEST, "nothing was cut");
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_time_of_kubernetes_is_taken_off_a_line() {
        let time = "2026-03-01T12:00:00.123456789Z";
        assert_eq!(stamped(&format!("{time} a b")), (Some(at(time)), "a b"));
        assert_eq!(stamped(&format!("{time} ")), (Some(at(time)), ""));
        assert_eq!(stamped(time), (Some(at(time)), ""));
        assert_eq!(stamped("unable to retrieve container logs"), (None, "unable to retrieve container logs"));
        assert_eq!(stamped("9999999-01-01T00:00:00Z x"), (None, "9999999-01-01T00:00:00Z x"));
    }

    #[test]
    fn the_time_of_vllm_is_the_nearest_year_s() {
        let now = at("2026-01-02T00:00:00Z");
        for (line, wanted) in [
            ("INFO 01-01 10:00:00 [api.py:1] x", Some("2026-01-01T10:00:00Z")),
            (
                "(EngineCore pid=7) (Worker pid=8) ERROR 12-31 23:59:59 [core.py:12] x",
                Some("2025-12-31T23:59:59Z"),
            ),
            ("INFO 02-30 10:00:00 [api.py:1]", None),
            ("INFO 01-01", None),
            ("INFO 2026-01-01 10:00:00 x", None),
            ("01-01 10:00:00 x", None),
            ("", None),
        ] {
            assert_eq!(spoken(line, now), wanted.map(at), "{line}");
        }
    }

    #[test]
    fn after_a_break_no_line_comes_twice_and_none_is_lost() {
        let (one, two, three) =
            (at("2026-03-01T12:00:00.1Z"), at("2026-03-01T12:00:00.2Z"), at("2026-03-01T12:00:01Z"));
        let mut stamps = Stamps::default();
        stamps.again();
        for time in [one, two, two] {
            assert!(stamps.is_new(time));
        }
        assert_eq!(stamps.from(), Some(two));
        stamps.again();
        // The whole second comes again, with two lines more, of which the first has the time of the last one printed.
        let new: Vec<bool> =
            [one, two, two, two, three].into_iter().map(|time| stamps.is_new(time)).collect();
        assert_eq!(new, [false, false, false, true, true]);
        // Within one stream nothing is dropped, though its times may go back a little.
        assert!(stamps.is_new(two) && stamps.is_new(three));
        stamps.again();
        assert_eq!([three, three, three].map(|time| stamps.is_new(time)), [false, false, true]);
    }

    fn overlap(lines: &str) -> Overlap {
        let mut overlap = Overlap::default();
        lines.split_whitespace().for_each(|line| overlap.printed(line));
        overlap
    }

    #[test]
    fn a_log_without_times_goes_on_behind_what_was_printed() {
        for (before, now, wanted) in [
            ("", "a b", Some(0)),
            ("a b", "a b c d", Some(2)),
            ("a b", "a b", Some(2)),
            ("a b c", "b c d", Some(2)),
            ("a a a", "a a a a", Some(4)),
            ("a b", "x y", None),
            ("a b", "", None),
            ("x a b", "a b a", Some(2)),
            ("a b a b", "a b a b c a b", Some(4)),
        ] {
            let now: Vec<&str> = now.split_whitespace().collect();
            assert_eq!(overlap(before).known(&now), wanted, "{before} / {now:?}");
        }
    }

    #[test]
    fn what_is_remembered_of_a_log_is_bounded() {
        let mut overlap = Overlap::default();
        (0..10_000).for_each(|number| overlap.printed(&number.to_string()));
        assert_eq!(overlap.0.len(), REMEMBERED);
        let now: Vec<String> = (9_000..10_002).map(|number| number.to_string()).collect();
        assert_eq!(overlap.known(&now), Some(1_000));
    }
}
