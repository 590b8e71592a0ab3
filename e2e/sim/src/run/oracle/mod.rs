//! The criteria for a run: rules that hold at every moment ([`Watch`]), the final state that a scenario
//! expects, and the picture of the final state, which must equal that of the run without faults.

mod end;
mod picture;
pub mod serving;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

pub use self::end::expected;
pub use self::picture::{Objects, difference, orphans, picture, picture_of};
pub use self::watch::{Extremes, Watch, takes_traffic};
use super::environment::{Environment, condition, words};
use super::report::Report;
use super::scenario::{Expect, Scenario};
use rayfleet_api::RayClusterFleet;

/// Extra writes that faults may cost: some writes are repeated, others report what went wrong.
const EXTRA_WRITES: usize = 40;

/// Waits until a scenario has reached its expected final state.
pub async fn reached<S: Environment>(
    scenario: &Scenario,
    environment: &mut S,
    within: Duration,
) -> Result<(), String> {
    let end = environment.now() + within;
    loop {
        let fleet = environment.fleet().await;
        let left = environment.leftovers().await;
        let Some(missing) = missing(&scenario.expect, fleet.as_ref(), left) else { return Ok(()) };
        let rest = end.saturating_sub(environment.now());
        if rest.is_zero() {
            let is = fleet.as_ref().map_or_else(|| "gone".to_owned(), words);
            return Err(format!("after {} min {missing}; the fleet: {is}", within.as_secs() / 60));
        }
        environment.pass(rest).await;
    }
}

/// The first difference from the expected final state.
fn missing(expect: &Expect, fleet: Option<&RayClusterFleet>, left: bool) -> Option<String> {
    let Some(fleet) = fleet else {
        return (!expect.gone || left)
            .then(|| "objects of the fleet are left, or it is unexpectedly gone".to_owned());
    };
    if expect.gone {
        return Some("the fleet is still there".to_owned());
    }
    let status = fleet.status.clone().unwrap_or_default();
    if status.observed_generation != fleet.metadata.generation {
        return Some("the status is not of the newest spec".to_owned());
    }
    let number = |name: &str, wanted: u32, is: i32| {
        (i64::from(wanted) != i64::from(is)).then(|| format!("{name} should be {wanted} and is {is}"))
    };
    let groups = expect.groups.unwrap_or(usize::try_from(expect.ready).unwrap_or(usize::MAX));
    let wrong_condition = || {
        expect.conditions.iter().find_map(|(type_, wanted)| {
            let found = condition(&status, type_);
            let is =
                found.map_or_else(|| "absent".to_owned(), |(status, reason)| format!("{status}/{reason}"));
            let fits = is == *wanted || found.is_some_and(|(status, _)| status == wanted);
            (!fits).then(|| format!("condition {type_} should be {wanted} and is {is}"))
        })
    };
    number("ready", expect.ready, status.ready_replicas)
        .or_else(|| number("updated", expect.updated.unwrap_or(expect.ready), status.updated_replicas))
        .or_else(|| {
            (status.groups.len() != groups)
                .then(|| format!("groups should be {groups} and are {}", status.groups.len()))
        })
        .or_else(wrong_condition)
}

/// Differences between a run with faults and the one without.
pub fn differences(without: &Report, with: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if without.end != with.end {
        for (path, was, is) in difference("", &without.end, &with.end) {
            found.push(format!(
                "final state differs from the run without faults: {path} was {was} and is {is}"
            ));
        }
    }
    let allowed = without.writes.len() + without.writes.len() / 2 + EXTRA_WRITES * with.plan.0.len().max(1);
    if with.writes.len() > allowed {
        let (is, was) = (with.writes.len(), without.writes.len());
        found.push(format!("{is} writes, {was} without faults, at most {allowed} are allowed"));
    }
    found
}

/// Differences between two runs that reached the same spec in different ways. The number of revisions in
/// between is ignored.
pub fn same_end(short: &Report, long: &Report) -> Vec<String> {
    let core = |report: &Report| {
        let mut end = report.end.clone();
        end["revisions"] = serde_json::Value::Null;
        end["status"]["rollout"]["number"] = serde_json::Value::Null;
        end
    };
    let differences = difference("", &core(short), &core(long));
    differences
        .into_iter()
        .map(|(path, was, is)| {
            format!("final state differs from the direct way: {path} was {was} and is {is}")
        })
        .collect()
}
