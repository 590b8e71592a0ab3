//! Deserializers for values as Ray writes them: times as milliseconds that may be 0, null, a string or
//! `u64::MAX`; null for an absent value.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::NodeId;
use crate::lean::{Pick, Picked};

/// An integer that may come as a string.
#[derive(Default)]
struct Integer(Option<i64>);

impl Pick for Integer {
    fn text(&mut self, text: &str) {
        self.0 = text.parse().ok();
    }

    fn integer(&mut self, number: i64) {
        self.0 = Some(number);
    }
}

fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Picked::<Integer>::deserialize(deserializer).map(|Picked(Integer(number))| number)
}

/// Milliseconds since 1970; `None` for a value that is not a time.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let ms = integer(deserializer)?.filter(|ms| *ms > 0);
    Ok(ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
}

/// A count that may come as a string.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(integer(deserializer)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
}

/// A port; Ray writes -1 for an agent that could not listen.
pub(crate) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Ok(integer(deserializer)?.and_then(|n| u16::try_from(n).ok()).filter(|port| *port > 0))
}

/// An id; null and an empty string are `None`.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeId>, D::Error> {
    Ok(Option::<NodeId>::deserialize(deserializer)?.filter(|id| !id.as_str().is_empty()))
}

/// Whole units of an amount. Ray keeps four decimals, so a sum of fractions of 7.9999 counts as 8, as it does
/// in Ray.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of the type"
)]
pub(crate) fn floor(amount: f64) -> u32 {
    (amount + 1e-4).clamp(0.0, f64::from(u32::MAX)) as u32
}

/// A number of bytes; `None` if it is negative, not a number, or 9e18 and more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
pub(crate) fn bytes(amount: f64) -> Option<u64> {
    (amount.is_finite() && (0.0..9e18).contains(&amount)).then_some(amount as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Times {
        #[serde(default, deserialize_with = "time")]
        at: Option<Timestamp>,
    }

    fn read(json: &str) -> Option<Timestamp> {
        serde_json::from_str::<Times>(json).unwrap().at
    }

    #[test]
    fn launch_times_of_u64_max_are_none() {
        assert_eq!(read(r#"{"at": 18446744073709551615}"#), None);
        assert_eq!(read(r#"{"at": 9223372036854775807}"#), None);
    }

    #[test]
    fn a_time_may_be_a_string_and_zero_or_null_is_none() {
        for json in [r#"{"at": 0}"#, r#"{"at": null}"#, "{}", r#"{"at": "x"}"#, r#"{"at": [1]}"#] {
            assert_eq!(read(json), None, "{json}");
        }
        assert_eq!(read(r#"{"at": 1795337323066}"#), Timestamp::from_millisecond(1_795_337_323_066).ok());
        assert_eq!(read(r#"{"at": "1795337323066"}"#), read(r#"{"at": 1795337323066}"#));
    }

    #[test]
    fn amounts_are_floored_to_whole_units() {
        for (amount, units) in [(8.0, 8), (0.5, 0), (7.9999, 8), (-1.0, 0), (f64::NAN, 0), (1e300, u32::MAX)]
        {
            assert_eq!(floor(amount), units, "{amount}");
        }
    }
}
