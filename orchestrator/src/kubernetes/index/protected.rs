//! The groups whose pods may not be evicted, as the passes over their fleets said last, for the controller that holds them. A fleet of
//! which nothing is said keeps what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::{GroupName, ValidFleet};

use super::{Index, Kind};
use crate::kubernetes::Key;

/// The groups of one fleet that are to be held.
#[derive(Clone, Debug)]
pub(crate) struct Protected {
    /// The fleet.
    pub(crate) fleet: Arc<ValidFleet>,
    /// How many pods each has, by its name.
    pub(crate) groups: BTreeMap<GroupName, usize>,
}

impl Index {
    /// These groups of a fleet are to be held, and no others.
    pub(crate) fn protect(&self, key: &Key, wanted: Protected) {
        let changed = self.write(|store| {
            let same = |before: &Protected| {
                (&before.fleet.uid, &before.groups) == (&wanted.fleet.uid, &wanted.groups)
            };
            let changed = !store.protected.get(key).is_some_and(same);
            store.protected.insert(key.clone(), wanted);
            changed
        });
        if changed {
            self.mark_for(Kind::Budget, vec![key.clone()]);
        }
    }

    /// Nothing is known of what is to be held of a fleet.
    pub(crate) fn unprotect(&self, key: &Key) {
        self.write(|store| store.protected.remove(key));
    }

    /// Of no fleet anything is known: another replica has led meanwhile.
    pub(crate) fn unprotect_all(&self) {
        self.write(|store| store.protected.clear());
    }

    /// Has all fleets of which something is known looked at.
    pub(crate) fn mark_protected(&self) {
        self.mark_for(Kind::Budget, self.read(|store| store.protected.keys().cloned().collect()));
    }
}
