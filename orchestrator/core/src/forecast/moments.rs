//! The events of a pass for people: groups are created, serve, drain, are gone.

use rayfleet_api::revision::Revision;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{GroupName, RayClusterFleetStatus};

use crate::decide::Decision;
use crate::effect::Effect;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds from now.
    pub seconds: i64,
    /// The event.
    pub what: What,
    /// The group.
    pub group: GroupName,
    /// The group's revision from then on.
    pub revision: Revision,
    /// Groups that take traffic after it.
    pub ready: u32,
    /// Groups that exist after it.
    pub groups: u32,
    /// GPUs that the fleet's pods hold after it.
    pub gpus: u32,
}

/// What happened to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It takes traffic.
    Serve,
    /// Its requests have ended; its RayCluster is deleted and its pods terminate.
    Delete,
    /// Its RayCluster is created.
    Create,
    /// The next engine is launched on its pods.
    Swap,
    /// It takes no new requests, and its last ones end.
    Drain,
}

impl What {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Drain => "drain",
            Self::Swap => "swap engine",
            Self::Serve => "serves",
            Self::Delete => "delete",
        }
    }
}

/// The events of a pass. The caller fills in the numbers.
pub(super) fn of(before: &RayClusterFleetStatus, decision: &Decision) -> Vec<Moment> {
    let after = &decision.status.groups;
    let old = |group: &GroupStatus| before.groups.iter().find(|old| old.name == group.name);
    let deleted = |effect: &Effect| match effect {
        Effect::DeleteCluster { name, .. } => after.iter().find(|group| group.name == *name),
        _ => None,
    };
    let gone = decision.effects.iter().filter_map(deleted).map(|group| moment(What::Delete, group));
    let changed = after.iter().filter_map(|group| Some(moment(change(old(group), group)?, group)));
    let mut moments: Vec<Moment> = gone.chain(changed).collect();
    // An event that enables another one in the same pass comes first.
    moments.sort_by_key(|moment| moment.what);
    moments
}

fn change(old: Option<&GroupStatus>, new: &GroupStatus) -> Option<What> {
    let Some(old) = old else { return Some(What::Create) };
    if old.ready_since.is_none() && new.ready_since.is_some() {
        Some(What::Serve)
    } else if old.goal == Goal::Serve && new.goal != Goal::Serve && old.phase == Phase::Ready {
        Some(What::Drain)
    } else if old.goal == Goal::SwapEngine && new.goal == Goal::Serve && new.launch > old.launch {
        Some(What::Swap)
    } else {
        None
    }
}

fn moment(what: What, group: &GroupStatus) -> Moment {
    Moment {
        seconds: 0,
        what,
        group: group.name.clone(),
        revision: group.revisions(),
        ready: 0,
        groups: 0,
        gpus: 0,
    }
}
