//! Keys that wait, each once, in an order in which tenants take turns. Nothing here knows passes or time.
//!
//! Start-time fair queueing with a weight of one: a key is placed one behind the last of its tenant, or at the place that was served last if
//! the tenant has none beyond it (Goyal, Vin and Cheng, "Start-time Fair Queueing", SIGCOMM 1996).

use std::collections::BTreeMap;

use crate::Key;

/// Who is behind a key: what one tenant asks for delays no other.
pub trait Tenant {
    /// Its name.
    fn tenant(&self) -> &str;
}

impl<N> Tenant for Key<N> {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

/// A word without a namespace, as in tests of controllers.
#[cfg(test)]
impl Tenant for &'static str {
    fn tenant(&self) -> &'static str {
        ""
    }
}

/// The line. Its size is bounded by the number of keys.
#[derive(Debug)]
pub(super) struct Line<K> {
    /// By place, then by when they asked.
    order: BTreeMap<(u64, u64), K>,
    place: BTreeMap<K, (u64, u64)>,
    /// The place that each tenant's next key gets at the least. One that was served already says nothing.
    next_place: BTreeMap<String, u64>,
    served: u64,
    asked: u64,
}

// Derived, it would ask for a key without a value.
impl<K> Default for Line<K> {
    fn default() -> Self {
        let (order, place) = (BTreeMap::new(), BTreeMap::new());
        Self { order, place, next_place: BTreeMap::new(), served: 0, asked: 0 }
    }
}

impl<K: Clone + Ord + Tenant> Line<K> {
    /// Puts a key at its place, if it is not there already.
    pub(super) fn insert(&mut self, key: K) {
        if self.place.contains_key(&key) {
            return;
        }
        let next = self.next_place.get(key.tenant()).copied().unwrap_or_default().max(self.served);
        self.next_place.insert(key.tenant().to_owned(), next + 1);
        self.order.insert((next, self.asked), key.clone());
        self.place.insert(key, (next, self.asked));
        self.asked += 1;
    }

    /// Takes a key out, wherever it is, as it was not served.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(place) = self.place.remove(key) {
            self.order.remove(&place);
        }
    }

    /// Takes a key out whose turn has come.
    pub(super) fn serve(&mut self, key: &K) {
        let Some(&(place, _)) = self.place.get(key) else { return };
        self.remove(key);
        self.served = self.served.max(place);
        let served = self.served;
        self.next_place.retain(|_, next| *next > served);
    }

    /// The first that may be served.
    pub(super) fn first(&self, may: impl Fn(&K) -> bool) -> Option<&K> {
        self.order.values().find(|key| may(key))
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.place.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(line: &mut Line<Key>, most: usize) -> Vec<String> {
        let mut order = Vec::new();
        while order.len() < most
            && let Some(key) = line.first(|_| true).cloned()
        {
            line.serve(&key);
            order.push(key.to_string());
        }
        order
    }

    fn line(keys: &[&str]) -> Line<Key> {
        let mut line = Line::default();
        for key in keys {
            insert(&mut line, key);
        }
        line
    }

    fn insert(line: &mut Line<Key>, key: &str) {
        let (namespace, name) = key.split_once('/').unwrap();
        line.insert(Key::new(namespace, name));
    }

    #[test]
    fn tenants_take_turns() {
        let mut line = line(&["a/1", "a/2", "a/3", "a/2", "b/1", "b/2", "c/1"]);
        assert_eq!(line.len(), 6);
        assert_eq!(served(&mut line, 9), ["a/1", "b/1", "c/1", "a/2", "b/2", "a/3"]);
    }

    #[test]
    fn one_that_comes_late_is_next_and_has_no_credit_for_its_absence() {
        let mut line = line(&["a/1", "a/2", "a/3", "a/4", "a/5"]);
        assert_eq!(served(&mut line, 2), ["a/1", "a/2"]);
        for key in ["b/1", "b/2", "b/3"] {
            insert(&mut line, key);
        }
        assert_eq!(served(&mut line, 9), ["b/1", "a/3", "b/2", "a/4", "b/3", "a/5"]);
    }

    #[test]
    fn a_tenant_that_asks_again_and_again_gets_its_turn_and_no_more() {
        let mut line = line(&["a/1", "b/1", "b/2", "b/3"]);
        let mut order = Vec::new();
        for _ in 0..6 {
            order.extend(served(&mut line, 1));
            insert(&mut line, "a/1");
        }
        assert_eq!(order, ["a/1", "b/1", "b/2", "a/1", "b/3", "a/1"]);
    }

    #[test]
    fn what_is_taken_out_unserved_moves_nobody_and_nothing_is_kept_of_who_is_served() {
        let mut line = line(&["a/1", "a/2", "b/1"]);
        line.remove(&Key::new("a", "1"));
        assert!(!line.contains(&Key::new("a", "1")) && line.contains(&Key::new("a", "2")));
        assert_eq!(line.first(|key| key.namespace != "b").unwrap().to_string(), "a/2");
        assert_eq!(served(&mut line, 9), ["b/1", "a/2"]);
        assert_eq!(line.next_place.len(), 1, "{:?}", line.next_place);
        insert(&mut line, "c/1");
        insert(&mut line, "c/2");
        served(&mut line, 9);
        assert_eq!(line.next_place.keys().collect::<Vec<_>>(), ["c"], "one at the most of what was served");
        assert_eq!(line.len(), 0);
    }
}
