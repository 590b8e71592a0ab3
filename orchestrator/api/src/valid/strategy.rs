//! Bounds of rollouts in whole groups.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ray_bridge_model::duration::length;
use ray_bridge_model::field_error::{FieldError, invalid};

use crate::spec::{OnFailure, RayClusterFleetSpec, StrategyType, WhenNoRoom};

/// Most groups that a bound may say.
pub(crate) const MOST: u32 = 9999;
/// Largest percentage that the CRD takes.
const MOST_PERCENT: u64 = 999;

/// Bounds of rollouts in whole groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidStrategy {
    /// Kind.
    pub kind: StrategyType,
    /// Groups above `replicas`.
    pub max_surge: u32,
    /// Groups that may be unavailable.
    pub max_unavailable: u32,
    /// Groups that keep the old revision.
    pub partition: u32,
    /// When no surge group fits.
    pub when_no_room: WhenNoRoom,
    /// How long a surge group may wait for nodes with `Pend`.
    pub pend_timeout: Duration,
    /// When the new revision fails.
    pub on_failure: OnFailure,
}

pub(super) fn valid_strategy(
    spec: &RayClusterFleetSpec,
    replicas: u32,
    problems: &mut Vec<FieldError>,
) -> ValidStrategy {
    let strategy = spec.strategy.clone().unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    let quarter = IntOrString::String("25%".to_owned());
    let mut groups = |value: Option<IntOrString>, default: &IntOrString, up: bool, field: &str| {
        let value = value.unwrap_or_else(|| default.clone());
        scaled(&value, replicas, up).unwrap_or_else(|| {
            problems.push(invalid(
                &format!("spec.strategy.rollingUpdate.{field}"),
                format!(
                    "must be a whole number of groups, 0 to {MOST}, or a percentage such as 25%, at most {MOST_PERCENT}%"
                ),
            ));
            0
        })
    };
    let max_surge = groups(rolling.max_surge, &quarter, true, "maxSurge");
    let max_unavailable = groups(rolling.max_unavailable, &quarter, false, "maxUnavailable");
    let partition = groups(rolling.partition, &IntOrString::Int(0), true, "partition").min(replicas);
    let bounds = (Duration::from_mins(15), Duration::from_secs(1));
    let pend_timeout =
        length(strategy.pend_timeout.as_deref(), "spec.strategy.pendTimeout", bounds, problems);
    ValidStrategy {
        kind: strategy.type_.unwrap_or_default(),
        max_surge,
        // As a Deployment: both 0 would never move.
        max_unavailable: if max_surge == 0 { max_unavailable.max(1) } else { max_unavailable },
        partition,
        when_no_room: strategy.when_no_room.unwrap_or_default(),
        pend_timeout,
        on_failure: strategy.on_failure.unwrap_or_default(),
    }
}

/// A number of groups, or a percentage of `replicas` rounded `up` or down; `None` for anything else.
fn scaled(value: &IntOrString, replicas: u32, up: bool) -> Option<u32> {
    match value {
        IntOrString::Int(number) => u32::try_from(*number).ok().filter(|number| *number <= MOST),
        IntOrString::String(text) => {
            let digits = text.strip_suffix('%')?;
            let percent = digits.parse::<u64>().ok().filter(|percent| *percent <= MOST_PERCENT)?;
            let hundredths = percent.checked_mul(u64::from(replicas))?;
            let groups = if up { hundredths.div_ceil(100) } else { hundredths / 100 };
            (!digits.starts_with('+')).then(|| u32::try_from(groups).ok()).flatten()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &IntOrString) -> Option<u32> {
        scaled(value, 10, true)
    }

    #[test]
    fn groups_and_percentages_are_read_within_bounds() {
        let text = |text: &str| of(&IntOrString::String(text.to_owned()));
        for (value, groups) in [("25%", 3), ("0%", 0), ("100%", 10), ("101%", 11), ("999%", 100), ("025%", 3)]
        {
            assert_eq!(text(value), Some(groups), "{value}");
        }
        for value in
            ["4294967295%", "1000%", "99999999999999999999%", "-1%", "+5%", "abc", "%", "", "3", "2.5%"]
        {
            assert_eq!(text(value), None, "{value}");
        }
        assert_eq!((of(&IntOrString::Int(9999)), of(&IntOrString::Int(0))), (Some(9999), Some(0)));
        for number in [-1, 10_000, i32::MAX, i32::MIN] {
            assert_eq!(of(&IntOrString::Int(number)), None, "{number}");
        }
        assert_eq!(scaled(&IntOrString::String("25%".into()), 10, false), Some(2), "rounded down");
    }
}
