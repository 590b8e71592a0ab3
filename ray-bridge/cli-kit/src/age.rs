//! Formats durations like kubectl: short, and coarser the longer they are.

use std::time::Duration;

use jiff::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// Time between two points in time; zero if they are out of order, as those of two clocks may be.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

/// Time since `moment`; `<unknown>` without one.
pub fn since(moment: Option<Timestamp>, now: Timestamp) -> String {
    moment.map_or_else(|| "<unknown>".to_owned(), |moment| span(between(moment, now)))
}

/// `45s`, `2m30s`, `3h5m`, `4d2h`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    // The unit, and what is left of it in a smaller one.
    let (unit, name, smaller, smaller_name) = match seconds {
        _ if seconds < 2 * MINUTE => (1, "s", 1, ""),
        _ if seconds < 10 * MINUTE => (MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => (MINUTE, "m", MINUTE, ""),
        _ if seconds < 8 * HOUR => (HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => (HOUR, "h", HOUR, ""),
        _ if seconds < 8 * DAY => (DAY, "d", HOUR, "h"),
        _ if seconds < 2 * YEAR => (DAY, "d", DAY, ""),
        _ => (YEAR, "y", DAY, "d"),
    };
    match seconds % unit / smaller {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{smaller_name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_like_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR, "8h"),
            (2 * DAY, "2d"),
            (4 * DAY + 2 * HOUR, "4d2h"),
            (8 * DAY, "8d"),
            (3 * YEAR + 4 * DAY, "3y4d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn a_missing_time_is_unknown() {
        assert_eq!(since(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }

    #[test]
    fn a_clock_that_is_ahead_gives_zero() {
        assert_eq!(between(Timestamp::MAX, Timestamp::UNIX_EPOCH), Duration::ZERO);
        assert_eq!(since(Some(Timestamp::MAX), Timestamp::UNIX_EPOCH), "0s");
    }
}
