//! Names of objects by a key that several of them share.

use std::collections::{BTreeMap, BTreeSet};

use crate::kubernetes::Key;

/// Sets of names; none is empty.
#[derive(Debug)]
pub(super) struct Sets<N>(BTreeMap<Key, BTreeSet<Key<N>>>);

impl<N> Default for Sets<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Ord + Clone> Sets<N> {
    pub(super) fn of<'a>(&'a self, of: &Key) -> impl Iterator<Item = &'a Key<N>> + use<'a, N> {
        self.0.get(of).into_iter().flatten()
    }

    pub(super) fn add(&mut self, of: Key, key: &Key<N>) {
        self.0.entry(of).or_default().insert(key.clone());
    }

    pub(super) fn remove(&mut self, of: &Key, key: &Key<N>) {
        if let Some(set) = self.0.get_mut(of) {
            set.remove(key);
            if set.is_empty() {
                self.0.remove(of);
            }
        }
    }
}
