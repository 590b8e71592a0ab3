//! A scenario's expectations about the run as a whole.

use super::Extremes;
use crate::run::report::Tally;
use crate::run::scenario::Scenario;

/// Unmet expectations of a scenario, except for its final state. `lost` is the number of requests that
/// drain deadlines cut off.
pub fn expected(scenario: &Scenario, extremes: Extremes, tally: Tally, lost: i64) -> Vec<String> {
    let expect = &scenario.expect;
    let mut found = Vec::new();
    if lost > expect.lost {
        found.push(format!("drain deadlines cut off {lost} requests, at most {} allowed", expect.lost));
    }
    let failed = tally.cut_off + tally.refused;
    let allowed = i64::from(expect.failed) + expect.lost;
    if i64::from(failed) > allowed {
        let Tally { cut_off, refused, .. } = tally;
        found.push(format!(
            "{cut_off} requests were cut off and {refused} refused, at most {allowed} allowed"
        ));
    }
    if let Some(most) = expect.died
        && tally.died > most
    {
        found.push(format!("{} requests died with their engine, at most {most} allowed", tally.died));
    }
    if scenario.load.fresh + scenario.load.kept > 0 && tally.answered == 0 {
        found.push("no request was answered".to_owned());
    }
    if let Some(floor) = expect.min_ready
        && extremes.fewest.is_some_and(|fewest| fewest < floor)
    {
        let fewest = extremes.fewest.unwrap_or_default();
        found.push(format!("only {fewest} groups took traffic at some time, at least {floor} required"));
    }
    if let Some(most) = expect.max_groups
        && extremes.most > most
    {
        found.push(format!("{} RayClusters existed at one time, at most {most} allowed", extremes.most));
    }
    found
}
