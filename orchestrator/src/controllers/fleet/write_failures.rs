//! What could not be written for a fleet, why, and when it is tried again: each object by itself, so that one costs nothing but its
//! own. In memory only: whoever leads next meets it again. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rayfleet_api::GroupName;
use rayfleet_core::FailedWrite;
use rayfleet_core::observed::ObservedGroup;
use rayfleet_text::cut;

/// First wait after a failure; doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait: a quota is raised by people.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest words in bytes. They go into the status.
const LONGEST_WORDS: usize = 1024;

/// What could not be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    /// The RayCluster of a group.
    RayCluster(GroupName),
    /// The record of the revision.
    History,
    /// The fleet's Service.
    Service,
}

impl Object {
    /// Type of the condition that tells of it; a RayCluster's is its group's business.
    fn condition(&self) -> Option<&'static str> {
        match self {
            Self::RayCluster(_) => None,
            Self::History => Some("HistoryFailed"),
            Self::Service => Some("ServiceFailed"),
        }
    }
}

#[derive(Debug)]
struct WriteFailure {
    reason: &'static str,
    words: String,
    /// Somebody else has the name.
    taken: bool,
    wait: Duration,
    next: Instant,
}

/// The obstacles of one fleet.
#[derive(Debug, Default)]
pub(super) struct WriteFailures {
    met: BTreeMap<Object, WriteFailure>,
}

impl WriteFailures {
    /// A write has failed; says whether that is something new.
    pub(super) fn met(
        &mut self,
        object: Object,
        reason: &'static str,
        words: &str,
        taken: bool,
        now: Instant,
    ) -> bool {
        let words = cut(words, LONGEST_WORDS);
        let before = self.met.get(&object);
        let wait = before.map_or(FIRST, |before| before.wait.saturating_mul(2).min(LONGEST));
        let is_new = before.is_none_or(|before| before.words != words);
        let next = now.checked_add(wait).unwrap_or(now);
        self.met.insert(object, WriteFailure { reason, words, taken, wait, next });
        is_new
    }

    /// Whether a write is to be tried now.
    pub(super) fn is_due(&self, object: &Object, now: Instant) -> bool {
        self.met.get(object).is_none_or(|obstacle| obstacle.next <= now)
    }

    /// A write has succeeded, or is not wanted any more; says whether it had failed before.
    pub(super) fn over(&mut self, object: &Object) -> bool {
        self.met.remove(object).is_some()
    }

    /// Forgets groups that are not in the ledger any more. A name that somebody else has stays known until then.
    pub(super) fn keep_groups(&mut self, is_there: impl Fn(&GroupName) -> bool) {
        self.met.retain(|object, _| !matches!(object, Object::RayCluster(name) if !is_there(name)));
    }

    /// Why a write failed, while it does.
    pub(super) fn words(&self, object: &Object) -> Option<String> {
        self.met.get(object).map(|obstacle| obstacle.words.clone())
    }

    /// The next moment after `now` at which something is to be tried again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.met.values().map(|obstacle| obstacle.next).filter(|next| *next > now).min()
    }

    /// Enters into what was observed of groups why they could not be created.
    pub(super) fn enter(&self, groups: &mut BTreeMap<GroupName, ObservedGroup>) {
        for (object, obstacle) in &self.met {
            if let Object::RayCluster(name) = object
                && let Some(observed) = groups.get_mut(name).filter(|observed| observed.cluster.is_none())
            {
                let field = if obstacle.taken { &mut observed.taken } else { &mut observed.refused };
                *field = Some(obstacle.words.clone());
            }
        }
    }

    /// What could not be written beside the groups.
    pub(super) fn beside_groups(&self) -> Vec<FailedWrite> {
        let of = self.met.iter();
        of.filter_map(|(object, obstacle)| {
            let condition = object.condition()?;
            Some(FailedWrite { condition, reason: obstacle.reason, message: obstacle.words.clone() })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn each_object_is_tried_again_by_itself_with_growing_waits() {
        let (mut obstacles, start) = (WriteFailures::default(), clock::monotonic());
        let group = Object::RayCluster("g".into());
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(obstacles.is_due(&group, now));
            obstacles.met(group.clone(), "CreateFailed", "exceeded quota", false, now);
            assert!(!obstacles.is_due(&group, now + Duration::from_millis(wait * 1000 - 1)));
            assert!(obstacles.is_due(&Object::Service, now));
            let next = now + Duration::from_secs(wait);
            assert_eq!((obstacles.next(now), obstacles.next(next)), (Some(next), None));
            now = next;
        }
        assert!(obstacles.over(&group) && !obstacles.over(&group));
    }

    #[test]
    fn only_other_words_are_new() {
        let (mut obstacles, now) = (WriteFailures::default(), clock::monotonic());
        let mut met = |words: &str| obstacles.met(Object::Service, "Forbidden", words, false, now);
        assert_eq!((met("a"), met("a"), met("b"), met(&"ß".repeat(9_999))), (true, false, true, true));
        let reported = obstacles.beside_groups();
        assert_eq!((reported[0].condition, reported[0].reason), ("ServiceFailed", "Forbidden"));
        assert!(reported[0].message.len() <= LONGEST_WORDS);
    }

    #[test]
    fn a_group_says_why_it_is_not_there_until_it_is_or_is_not_wanted() {
        let (mut obstacles, now) = (WriteFailures::default(), clock::monotonic());
        obstacles.met(Object::RayCluster("a".into()), "CreateFailed", "quota", false, now);
        obstacles.met(Object::RayCluster("b".into()), "CreateFailed", "another's", true, now);
        let mut observed: BTreeMap<GroupName, ObservedGroup> =
            ["a", "b", "c"].map(|name| (name.into(), ObservedGroup::default())).into();
        obstacles.enter(&mut observed);
        let of = |name: &str| (observed[name].refused.as_deref(), observed[name].taken.as_deref());
        assert_eq!(
            (of("a"), of("b"), of("c")),
            ((Some("quota"), None), (None, Some("another's")), (None, None))
        );
        obstacles.keep_groups(|name| *name == "b");
        assert!(obstacles.is_due(&Object::RayCluster("a".into()), now));
        assert!(!obstacles.is_due(&Object::RayCluster("b".into()), now));
        assert_eq!(obstacles.beside_groups(), []);
    }
}
