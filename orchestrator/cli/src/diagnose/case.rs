//! A fleet as the links see it: its object, what was read beside it, and its name in words. No conclusions here.

use kube::ResourceExt;

use super::facts::{Facts, FleetFacts};

/// A fleet with what was read beside it.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    pub(super) of: &'a FleetFacts,
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
