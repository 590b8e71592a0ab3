//! Lengths of time as users write them: `90s`, `10m`, `1h30m`. A parser of our own, in which nothing that somebody
//! writes overflows; and bounds, since a wait of nothing is a hot loop and one of centuries is a mistake.

use std::time::Duration;

use rayfleet_text::cut;

use crate::field_error::{FieldError, invalid};

/// The longest time that anybody may ask for: 30 days. [`crate::schema`] says the same.
pub const LONGEST: Duration = Duration::from_hours(720);
/// The shortest of those that something is tried again after.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// Bytes of a text that are worth repeating.
const SHOWN: usize = 40;

const UNITS: [(&str, u128); 4] =
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// A length of at least `least`; `default` when it is missing or wrong.
pub fn length(
    text: Option<&str>,
    field: &str,
    (default, least): (Duration, Duration),
    problems: &mut Vec<FieldError>,
) -> Duration {
    let Some(text) = text else { return default };
    let shown = cut(text, SHOWN);
    let problem = match parse(text) {
        Some(length) if (least..=LONGEST).contains(&length) => return length,
        Some(_) => format!("must be {}s to 720h, is `{shown}`", least.as_secs()),
        None => format!("`{shown}` is no duration: write it as 90s, 10m or 1h30m"),
    };
    problems.push(invalid(field, problem));
    default
}

/// A length such as `90s` or `1h30m`: the sum of all parts, the longest time there is if that cannot be represented; `None` for what is no length.
pub fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut sum) = (text, 0_u128);
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.')?;
        let (unit, after) = split(after, |c| c.is_ascii_lowercase())?;
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.saturating_add(amount(number, *nanos)?);
        rest = after;
    }
    let seconds = u64::try_from(sum / 1_000_000_000).ok();
    let nanos = u32::try_from(sum % 1_000_000_000).ok()?;
    (!text.is_empty()).then(|| seconds.map_or(Duration::MAX, |seconds| Duration::new(seconds, nanos)))
}

/// So many units in nanoseconds.
fn amount(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) {
        return None;
    }
    // More digits than fit are a very long time.
    let whole = whole.parse().unwrap_or(u128::MAX);
    // Nanoseconds have no use for more digits.
    let fraction: String = fraction.unwrap_or("0").chars().take(15).collect();
    let parts = fraction.parse::<u128>().ok()?.saturating_mul(unit);
    let parts = parts / 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(whole.saturating_mul(unit).saturating_add(parts))
}

/// The beginning that consists of such characters, which must not be empty, and the rest.
fn split(text: &str, such: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !such(c)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(start, _)| !start.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_go_reads_them() {
        let cases = [
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("0.25s", 250),
            ("250ms", 250),
            ("1h1m1s1ms", 3_661_001),
            ("30s1m", 90_000),
            ("0s", 0),
            ("720h", 2_592_000_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_refused_without_panic() {
        for text in [
            "", "soon", "5", "s", "5x", "-5s", "+5s", "5 s", "1.s", ".5s", "1..5s", "1.2.3s", "5S", "5é",
            "é", "1h5",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_length_beyond_all_bounds_is_long_and_nothing_else() {
        let digits = "9".repeat(60);
        for text in [
            "99999999999999999999h",
            &format!("{digits}h"),
            &format!("{digits}.{digits}h"),
            "9999999999999999h9999999h",
        ] {
            assert!(parse(text).is_some_and(|length| length > LONGEST), "{text}");
            let mut problems = Vec::new();
            let fallback =
                length(Some(text), "spec.drain.timeout", (SHORTEST, Duration::ZERO), &mut problems);
            assert_eq!(fallback, SHORTEST);
            assert!(problems[0].problem.starts_with("must be 0s to 720h, is `99"), "{problems:?}");
            assert!(problems[0].problem.len() < 100, "{problems:?}");
        }
    }

    #[test]
    fn bounds_are_allowed_and_what_is_beyond_is_not() {
        let reported = |text: &str, least: Duration| {
            let mut problems = Vec::new();
            length(Some(text), "f", (SHORTEST, least), &mut problems);
            problems.first().map(ToString::to_string)
        };
        for fine in ["1s", "1000ms", "720h"] {
            assert_eq!(reported(fine, SHORTEST), None, "{fine}");
        }
        assert_eq!(reported("0s", Duration::ZERO), None);
        for bad in ["0s", "999ms", "720h1ms"] {
            assert_eq!(reported(bad, SHORTEST), Some(format!("f: must be 1s to 720h, is `{bad}`")));
        }
    }
}
