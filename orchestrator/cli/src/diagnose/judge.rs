//! From facts to steps: the links in their order, first those of the cluster, then those of each fleet. A link
//! without which nothing after it means anything ends the chain. What each link asks is in `chain`.

use kube::ResourceExt;

use super::chain::{api, control, groups, kuberay, orchestrator, rollout, spec};
use super::facts::{Facts, FleetFacts};
use super::finding::{Finding, Link, State, Step, Verdict};

/// A fleet with what was read beside it.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pub(super) of: &'a FleetFacts,
}

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
    for of in facts.fleets.iter().flatten() {
        steps.extend(fleet(&Case { facts, of }));
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
        steps.push(rollout::now(case).step(Link::Now, Some(&key)));
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

impl<'a> Case<'a> {
    pub(super) fn name(&self) -> String {
        self.of.fleet.name_any()
    }

    pub(super) fn namespace(&self) -> String {
        self.of.fleet.namespace().unwrap_or_default()
    }

    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace(), self.name())
    }

    /// A condition of the fleet that says `status`.
    pub(super) fn condition(
        &self,
        kind: &str,
        status: &str,
    ) -> Option<&'a rayfleet_api::status::FleetCondition> {
        let mut all = self.of.fleet.status.iter().flat_map(|status| &status.conditions);
        all.find(|condition| condition.type_ == kind && condition.status == status)
    }

    pub(super) fn rollout(&self) -> Option<&'a rayfleet_api::status::RolloutStatus> {
        self.of.fleet.status.as_ref()?.rollout.as_ref()
    }

    /// What goes back to the revision before, if the present one has never been complete.
    pub(super) fn or_undo(&self) -> String {
        let unproven = self
            .rollout()
            .is_some_and(|rollout| rollout.stable.as_ref().is_some_and(|stable| *stable != rollout.to));
        if !unproven {
            return String::new();
        }
        let (name, namespace) = (self.name(), self.namespace());
        format!("; if the revision is at fault: kubectl rayfleet rollout undo {name} -n {namespace}")
    }
}
