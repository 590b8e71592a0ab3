//! From facts to steps: the links in their order, first those of the cluster, then those of each fleet. A link
//! without which nothing after it means anything ends the chain. What each link asks is in `chain`.

use super::answer::items;
use super::case::Case;
use super::chain::{api, control, groups, kuberay, orchestrator, rollout, spec};
use super::facts::Facts;
use super::finding::{Finding, Link, State, Step, Verdict};

/// What was found, link by link. The first step that is wrong explains those after it.
pub(super) fn judge(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    for (link, check) in [
        (Link::ApiServer, api::server as fn(&Facts) -> Verdict),
        (Link::FleetCrd, api::fleets),
        (Link::KubeRay, kuberay::installed),
        (Link::Orchestrator, orchestrator::leads),
    ] {
        steps.push(check(facts).step(link, None));
        if is_wrong(&steps) {
            return steps;
        }
    }
    for of in items(&facts.fleets) {
        steps.extend(fleet(&Case { facts, of }));
    }
    for key in &facts.unreadable {
        steps.push(control::unreadable(key).step(Link::Control, Some(key.as_str())));
    }
    steps
}

fn fleet(case: &Case<'_>) -> Vec<Step> {
    let key = case.key();
    let mut steps = vec![control::own(case).step(Link::Control, Some(&key))];
    if is_wrong(&steps) {
        return steps;
    }
    steps.push(spec::accepted(case).step(Link::Spec, Some(&key)));
    // What a refusal holds is said by it.
    let refused = is_wrong(&steps);
    steps.extend(groups::steps(case));
    if !refused {
        steps.push(rollout::moves(case).step(Link::Rollout, Some(&key)));
    }
    if !is_wrong(&steps) {
        let whole = steps.iter().all(|step| step.state != State::Unknown);
        steps.push(rollout::now(case, whole).step(Link::Now, Some(&key)));
    }
    steps
}

fn is_wrong(steps: &[Step]) -> bool {
    steps.iter().any(|step| step.state == State::Wrong)
}

/// The first finding of each fleet, or the one of the cluster.
pub(super) fn first(steps: &[Step]) -> Vec<(Option<&str>, &Finding)> {
    let mut first: Vec<(Option<&str>, &Finding)> = Vec::new();
    for step in steps {
        let fleet = step.fleet.as_deref();
        if let Some(finding) = &step.finding
            && !first.iter().any(|(of, _)| *of == fleet)
        {
            first.push((fleet, finding));
        }
    }
    first
}
