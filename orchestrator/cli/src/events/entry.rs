//! One thing that happened, whatever said so; entries that repeat each other as one; what was printed before. No call and no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::Serialize;

/// Most entries that are kept of a time line: the newest.
pub(super) const MOST: usize = 5_000;

/// What something happened to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct Object {
    /// In lower case, as kubectl names it: `pod`, `raycluster`, `group`.
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// One thing that happened, or that did again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
    #[serde(rename = "type", serialize_with = "kind")]
    pub(super) warning: bool,
    pub(super) reason: String,
    pub(super) object: Object,
    pub(super) message: String,
    /// Who says so: a component, or `status`.
    pub(super) source: String,
    /// Fleet that it belongs to.
    pub(super) fleet: String,
    /// Groups that it belongs to: one, none for the fleet as a whole, or several for a node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn kind<S: serde::Serializer>(warning: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(type_of(*warning))
}

/// The type as Kubernetes writes it.
pub(super) fn type_of(warning: bool) -> &'static str {
    if warning { "Warning" } else { "Normal" }
}

/// Entries by time, the last time that something happened, oldest first; those that say the same of the same object as one, with their
/// count. At most [`MOST`], the newest; how many are left out.
pub(super) fn timeline(entries: impl IntoIterator<Item = Entry>) -> (Vec<Entry>, usize) {
    let mut merged: BTreeMap<(Object, String, String, bool, String), Entry> = BTreeMap::new();
    for entry in entries {
        let key = (
            entry.object.clone(),
            entry.reason.clone(),
            entry.message.clone(),
            entry.warning,
            entry.fleet.clone(),
        );
        match merged.get_mut(&key) {
            None => {
                merged.insert(key, entry);
            }
            Some(known) => {
                known.first = known.first.min(entry.first);
                known.last = known.last.max(entry.last);
                known.count = known.count.saturating_add(entry.count);
            }
        }
    }
    let mut all: Vec<Entry> = merged.into_values().collect();
    let left = all.len().saturating_sub(MOST);
    all.sort_by_key(|entry| Reverse(entry.last));
    all.truncate(MOST);
    all.sort_by(|a, b| (a.last, a.first, &a.object, &a.reason).cmp(&(b.last, b.first, &b.object, &b.reason)));
    (all, left)
}

/// Entries that were printed, so that none is printed twice when a watch begins anew. Of bounded size: what is older than the oldest
/// that was forgotten counts as printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    known: HashSet<u64>,
    order: VecDeque<(u64, Timestamp)>,
    floor: Option<Timestamp>,
}

impl Printed {
    /// Remembers an entry; whether it is new.
    pub(super) fn is_new(&mut self, entry: &Entry) -> bool {
        if self.floor.is_some_and(|floor| entry.last <= floor) {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        (&entry.object, &entry.reason, &entry.message, entry.last, entry.count, &entry.fleet)
            .hash(&mut hasher);
        let hash = hasher.finish();
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back((hash, entry.last));
        if self.order.len() > 2 * MOST
            && let Some((oldest, last)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.floor = self.floor.max(Some(last));
        }
        true
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An entry of a pod, at a second after noon.
    pub(in crate::events) fn entry(second: i64, name: &str, message: &str) -> Entry {
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let at = Timestamp::from_second(noon.as_second() + second).unwrap();
        Entry {
            first: at,
            last: at,
            count: 1,
            warning: false,
            reason: "Pulled".into(),
            object: Object { kind: "pod".into(), namespace: "serving".into(), name: name.into() },
            message: message.into(),
            source: "kubelet".into(),
            fleet: "llama".into(),
            groups: vec!["llama-bcdfgh-0".into()],
        }
    }

    #[test]
    fn a_time_line_is_sorted_and_repeats_are_counted() {
        let repeated = Entry { count: 3, ..entry(40, "a", "x") };
        let warning = Entry { warning: true, ..entry(5, "a", "x") };
        let (line, left) =
            timeline([entry(30, "b", "x"), entry(10, "a", "x"), repeated, entry(20, "a", "y"), warning]);
        let shown: Vec<(i64, u64, &str, &str)> = line
            .iter()
            .map(|it| (it.last.as_second() - it.first.as_second(), it.count, &*it.object.name, &*it.message))
            .collect();
        assert_eq!(shown, [(0, 1, "a", "x"), (0, 1, "a", "y"), (0, 1, "b", "x"), (30, 4, "a", "x")]);
        assert_eq!(left, 0);
    }

    #[test]
    fn of_very_many_the_newest_are_kept() {
        let many = (0..).map(|second| entry(second, "a", &second.to_string())).take(MOST + 3);
        let (line, left) = timeline(many);
        assert_eq!((line.len(), left, line[0].message.as_str()), (MOST, 3, "3"));
    }

    #[test]
    fn what_was_printed_is_not_printed_again_and_memory_is_bounded() {
        let mut printed = Printed::default();
        assert!(printed.is_new(&entry(0, "a", "x")));
        assert!(!printed.is_new(&entry(0, "a", "x")));
        assert!(printed.is_new(&Entry { count: 2, ..entry(0, "a", "x") }), "it happened again");
        for second in 1..i64::try_from(3 * MOST).unwrap() {
            assert!(printed.is_new(&entry(second, "a", "x")));
        }
        assert_eq!((printed.known.len(), printed.order.len()), (2 * MOST, 2 * MOST));
        assert!(!printed.is_new(&entry(0, "a", "x")), "forgotten, and older than what is remembered");
        assert!(!printed.is_new(&entry(i64::try_from(3 * MOST).unwrap() - 1, "a", "x")));
    }
}
