//! Moments as the status keeps them: Kubernetes writes whole seconds. A moment that something began
//! is rounded down, a moment that must be waited for is rounded up, so no wait is ever cut short.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::valid::after;

/// When something began.
pub(crate) fn began(moment: Timestamp) -> Time {
    Time(whole_seconds(moment.as_second()))
}

/// When something may happen at the earliest.
pub(crate) fn not_before(moment: Timestamp) -> Time {
    let up = i64::from(moment.subsec_nanosecond() > 0);
    Time(whole_seconds(moment.as_second().saturating_add(up)))
}

fn whole_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// A wait that starts at a moment of the status.
pub(crate) fn end_of(start: Option<&Time>, wait: Duration) -> Option<Timestamp> {
    start.map(|time| after(time.0, wait))
}

/// The earlier of two moments, if there is any.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_never_cut_short_by_rounding() {
        let moment: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        assert!(began(moment).0 <= moment);
        assert!(not_before(moment).0 >= moment);
        let whole: Timestamp = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(not_before(whole).0, whole);
        assert_eq!(not_before(moment).0, whole);
    }
}
