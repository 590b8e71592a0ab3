//! The steps of a rollout, derived from two states of a fleet: what a plan predicts, as observed from
//! outside. Pure functions.

use std::fmt;

use rayfleet_api::status::{Goal, GroupStatus, Phase};

/// A step, in the words of `kubectl rayfleet plan`. Ordered: a step that makes another one possible in the
/// same status write comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A group starts to take traffic.
    Serves,
    /// The requests of a group have ended: its engine is stopped, and its RayCluster deleted.
    Delete,
    /// A group is added.
    Create,
    /// The next engine starts on a group's existing pods.
    Swap,
    /// A serving group, or its engine, is being removed.
    Drain,
}

impl What {
    /// The plan's word for the step.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Swap => "swap engine",
            Self::Drain => "drain",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange {
    /// The kind of step.
    pub what: What,
    /// The group.
    pub group: String,
    /// The group's revision after the step: `<pod>/<engine>`.
    pub revision: String,
}

impl fmt::Display for GroupChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.what.as_str(), self.group, self.revision)
    }
}

/// The steps between two states of a fleet's groups.
pub fn between(before: &[GroupStatus], after: &[GroupStatus]) -> Vec<GroupChange> {
    let find = |groups: &[GroupStatus], name: &str| groups.iter().find(|group| group.name == name).cloned();
    // Nothing else shows the deletion of one that is gone by the next write.
    let gone = before.iter().filter(|old| old.phase != Phase::Stopping && find(after, &old.name).is_none());
    let gone = gone.map(|old| step(What::Delete, old));
    let changed =
        after.iter().filter_map(|new| Some(step(change(find(before, &new.name).as_ref(), new)?, new)));
    let mut steps: Vec<GroupChange> = gone.chain(changed).collect();
    steps.sort_by_key(|step| step.what);
    steps
}

fn change(old: Option<&GroupStatus>, new: &GroupStatus) -> Option<What> {
    let Some(old) = old else { return Some(What::Create) };
    let swapped = old.goal == Goal::SwapEngine && new.goal == Goal::Serve && new.launch > old.launch;
    let leaves = |group: &GroupStatus| group.goal == Goal::Retire && group.phase == Phase::Stopping;
    if old.ready_since.is_none() && new.ready_since.is_some() {
        Some(What::Serves)
    } else if leaves(new) && !leaves(old) {
        Some(What::Delete)
    } else if old.goal == Goal::Serve && new.goal != Goal::Serve && old.phase == Phase::Ready {
        Some(What::Drain)
    } else if swapped {
        Some(What::Swap)
    } else {
        None
    }
}

fn step(what: What, group: &GroupStatus) -> GroupChange {
    GroupChange { what, group: group.name.to_string(), revision: group.revisions().to_string() }
}

/// One line for each step.
pub fn lines(steps: &[GroupChange]) -> String {
    steps.iter().fold(String::new(), |text, step| text + "  " + &step.to_string() + "\n")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn group(name: &str, ready: bool, goal: Goal, launch: u32) -> GroupStatus {
        let phase = if ready { Phase::Ready } else { Phase::Loading };
        let ready_since = ready.then_some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
        let (revision, engine_revision) = ("a".into(), Some("b".into()));
        GroupStatus {
            name: name.into(),
            revision,
            engine_revision,
            phase,
            ready_since,
            goal,
            launch,
            ..GroupStatus::default()
        }
    }

    fn words(before: &[GroupStatus], after: &[GroupStatus]) -> Vec<String> {
        between(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_group_has_steps_from_its_creation_to_its_deletion() {
        let new = [group("g", false, Goal::Serve, 1)];
        let ready = [group("g", true, Goal::Serve, 1)];
        let leaving = [group("g", false, Goal::Retire, 1)];
        let stopping = [GroupStatus { phase: Phase::Stopping, ..leaving[0].clone() }];
        assert_eq!(words(&[], &new), ["create g (a/b)"]);
        assert_eq!(words(&new, &ready), ["serves g (a/b)"]);
        assert_eq!(words(&ready, &leaving), ["drain g (a/b)"]);
        assert_eq!(words(&leaving, &stopping), ["delete g (a/b)"]);
        assert_eq!(words(&stopping, &[]), Vec::<String>::new());
        assert_eq!(words(&leaving, &[]), ["delete g (a/b)"], "of which no write told");
        assert_eq!(words(&new, &leaving), Vec::<String>::new());
    }

    #[test]
    fn a_swap_is_the_next_launch_and_a_restart_is_no_swap() {
        let leaving = [group("g", false, Goal::SwapEngine, 1)];
        assert_eq!(words(&leaving, &[group("g", false, Goal::Serve, 2)]), ["swap engine g (a/b)"]);
        let failed = [group("g", false, Goal::Serve, 1)];
        assert_eq!(words(&failed, &[group("g", false, Goal::Serve, 2)]), Vec::<String>::new());
    }

    #[test]
    fn steps_that_make_room_come_first_within_a_write() {
        let before = [group("old", false, Goal::Retire, 1)];
        let after = [group("new", false, Goal::Serve, 0)];
        assert_eq!(words(&before, &after), ["delete old (a/b)", "create new (a/b)"]);
    }
}
