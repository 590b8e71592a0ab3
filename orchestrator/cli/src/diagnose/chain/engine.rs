//! A group's engine is launched, loads, answers its probe, and its ranks are where the plan has them.

use std::time::Duration;

use rayfleet_api::status::{FailureKind, Phase};
use rayfleet_api::valid::after;

use super::failure;
use super::group::{Group, Stop, Trouble};
use super::words::{at, quoted, said};

/// A launch that Ray refuses is reported at once; one that it takes is there within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn launched(group: &Group<'_>) -> Stop {
    let status = group.status;
    if failure::recovers(status) {
        return Stop::Wrong(failure::trouble(group));
    }
    if !matches!(status.phase, Phase::Placing | Phase::Loading | Phase::Probing) {
        return Stop::No;
    }
    if let Some(trouble) = refused(group) {
        return Stop::Wrong(trouble);
    }
    let now = group.case.facts.now;
    let end = status.start_deadline.as_ref().map(|time| time.0).filter(|end| *end > now);
    let end = end.map_or_else(String::new, |end| format!("; it must be ready {}", at(end, now)));
    Stop::Waits(group.message() + &end)
}

/// Ray does not take the launch, and is asked again until the deadline.
fn refused(group: &Group<'_>) -> Option<Trouble> {
    let since = group.status.phase_since.as_ref()?.0;
    if group.status.phase != Phase::Placing || after(since, PATIENCE) >= group.case.facts.now {
        return None;
    }
    let warnings = group.fleet_warnings("LaunchFailed");
    let event = warnings.into_iter().find(|event| event.at().is_some_and(|at| at >= since))?;
    let end = group.status.start_deadline.as_ref().map(|time| time.0);
    let end = end.map_or_else(String::new, |end| format!(", until {end}"));
    Some(Trouble {
        key: FailureKind::LaunchRefused.to_string(),
        subject: group.subject(),
        about: Some("LaunchFailed".to_owned()),
        what: "Ray does not take the engine's launch".to_owned(),
        evidence: vec![
            format!("event LaunchFailed: {}", quoted(event.message.as_deref().unwrap_or_default())),
            format!("group {} is {}", group.status.name, group.message()),
        ],
        cure: format!(
            "correct what Ray's words name; the launch is tried again{end}{}",
            group.case.or_undo()
        ),
    })
}

/// Ranks are as planned, or nobody can say.
pub(super) fn placed(group: &Group<'_>) -> Stop {
    let status = group.status;
    if !status.misplaced.is_empty() {
        return Stop::Wrong(Trouble {
            key: FailureKind::WrongPlacement.to_string(),
            subject: group.subject(),
            about: Some("status.groups[].misplaced".to_owned()),
            what: "ranks are not where the plan has them".to_owned(),
            evidence: status.misplaced.iter().map(|difference| quoted(difference)).collect(),
            cure: "the engine is launched again by itself; if that repeats, see that nobody else uses these GPUs in Ray"
                .to_owned(),
        });
    }
    let unverified = group.case.condition("PlacementVerified", "Unknown");
    let unverified = unverified.filter(|it| it.reason == FailureKind::DashboardUnreachable.as_str());
    match unverified {
        Some(condition) if status.phase == Phase::Ready && status.message.is_some() => Stop::Wrong(Trouble {
            key: "dashboard".to_owned(),
            subject: group.subject(),
            about: Some("PlacementVerified/DashboardUnreachable".to_owned()),
            what: "it serves, but its Ray dashboard does not answer: its ranks cannot be verified".to_owned(),
            evidence: vec![said(condition), format!("group {} is {}", status.name, group.message())],
            cure: format!(
                "see the head's log and the NetworkPolicies around port 8265: kubectl -n {} logs {}",
                group.namespace(),
                group.head_name()
            ),
        }),
        _ => Stop::No,
    }
}
