//! The complete state of a watched list: a value for each object, by name.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// A value for each object.
pub(super) struct WatchCache<T> {
    known: BTreeMap<String, T>,
    listing: BTreeMap<String, T>,
}

impl<T> Default for WatchCache<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), listing: BTreeMap::new() }
    }
}

impl<T> WatchCache<T> {
    /// Applies a watch event; returns the values of all objects if the state is complete.
    pub(super) fn apply<K: ResourceExt>(
        &mut self,
        event: Event<K>,
        of: impl Fn(K) -> T,
    ) -> Option<impl Iterator<Item = &T>> {
        match event {
            Event::Init => {
                self.listing.clear();
                return None;
            }
            Event::InitApply(object) => {
                self.listing.insert(object.name_any(), of(object));
                return None;
            }
            Event::InitDone => self.known = std::mem::take(&mut self.listing),
            Event::Apply(object) => drop(self.known.insert(object.name_any(), of(object))),
            Event::Delete(object) => drop(self.known.remove(&object.name_any())),
        }
        Some(self.known.values())
    }
}
