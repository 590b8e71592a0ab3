//! Durations as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration: `300ms`, `20s`, `5m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub Duration);

impl Length {
    /// A duration in minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_mins(minutes))
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let length =
            text.parse::<jiff::SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
        length
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no length of time such as 20s or 5m")))
    }
}
