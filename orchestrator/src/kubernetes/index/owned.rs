//! Objects that fleets own, found without a look at those of all other fleets. What makes an object a fleet's is for its readers to judge:
//! here is who may be meant.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use kube::ResourceExt;
use rayfleet_api::names;

use super::sets::Sets;
use crate::kubernetes::Key;
use crate::kubernetes::objects::controller;

/// Objects of one kind by name, by the UID of their controller and by the fleet that their label names.
#[derive(Debug)]
pub(crate) struct Owned<T, N = String> {
    all: BTreeMap<Key<N>, Arc<T>>,
    controlled: Sets<N>,
    labelled: Sets<N>,
}

impl<T, N> Default for Owned<T, N> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), controlled: Sets::default(), labelled: Sets::default() }
    }
}

impl<T, N> Deref for Owned<T, N> {
    type Target = BTreeMap<Key<N>, Arc<T>>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<T: ResourceExt, N: Ord + Clone> Owned<T, N> {
    /// Puts an object in the place of the one of its name.
    pub(crate) fn insert(&mut self, key: Key<N>, object: T) {
        self.remove(&key);
        if let Some(owner) = controller(object.owner_references()) {
            self.controlled.add(key.sibling(owner.uid.clone()), &key);
        }
        if let Some(fleet) = object.labels().get(names::LABEL_FLEET) {
            self.labelled.add(key.sibling(fleet.clone()), &key);
        }
        self.all.insert(key, Arc::new(object));
    }

    pub(crate) fn remove(&mut self, key: &Key<N>) -> Option<Arc<T>> {
        let gone = self.all.remove(key)?;
        if let Some(owner) = controller(gone.owner_references()) {
            self.controlled.remove(&key.sibling(owner.uid.clone()), key);
        }
        if let Some(fleet) = gone.labels().get(names::LABEL_FLEET) {
            self.labelled.remove(&key.sibling(fleet.clone()), key);
        }
        Some(gone)
    }

    /// Objects of this namespace whose controller has this UID.
    pub(crate) fn controlled_by<'a>(
        &'a self,
        namespace: &str,
        uid: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T, N> {
        self.controlled.of(&Key::new(namespace, uid)).filter_map(|key| self.all.get(key))
    }

    /// Objects whose controller is the fleet or whose label names it, in the order of their names.
    pub(crate) fn concerning<'a>(
        &'a self,
        fleet: &Key,
        uid: &str,
    ) -> impl Iterator<Item = (&'a Key<N>, &'a Arc<T>)> + use<'a, T, N> {
        let keys: BTreeSet<&Key<N>> =
            self.controlled.of(&fleet.sibling(uid)).chain(self.labelled.of(fleet)).collect();
        keys.into_iter().filter_map(|key| self.all.get_key_value(key))
    }
}

#[cfg(test)]
impl<T: ResourceExt<DynamicType: Default>> FromIterator<T> for Owned<T> {
    fn from_iter<I: IntoIterator<Item = T>>(objects: I) -> Self {
        let mut owned = Self::default();
        for object in objects {
            owned.insert(Key::new(object.namespace().unwrap_or_default(), object.name_any()), object);
        }
        owned
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, label: &str, owners: &Value) -> Service {
        let labels = json!({ names::LABEL_FLEET: label });
        serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": name, "labels": labels, "ownerReferences": owners},
        }))
        .unwrap()
    }

    fn controlled(uid: &str, controls: bool) -> Value {
        json!([{"apiVersion": "v1", "kind": "Thing", "name": "x", "uid": uid, "controller": controls}])
    }

    fn concerning(owned: &Owned<Service>, namespace: &str) -> Vec<String> {
        owned.concerning(&Key::new(namespace, "f"), "u").map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn what_a_fleet_controls_or_a_label_names_is_found_once_and_by_name() {
        let owned = Owned::from_iter([
            object("d", "f", &controlled("u", true)),
            object("a", "other", &controlled("u", true)),
            object("c", "f", &json!([])),
            object("b", "other", &controlled("u", false)),
        ]);
        assert_eq!(concerning(&owned, "n"), ["a", "c", "d"]);
        assert_eq!(concerning(&owned, "m"), [] as [&str; 0], "another namespace");
        let by_uid: Vec<_> = owned.controlled_by("n", "u").map(|object| object.name_any()).collect();
        assert_eq!(by_uid, ["a", "d"]);
        assert_eq!(owned.controlled_by("m", "u").count(), 0);
    }

    #[test]
    fn nothing_is_left_of_an_object_that_changed_hands_or_went() {
        let both = [object("a", "f", &controlled("u", true)), object("a", "other", &controlled("v", true))];
        let mut owned = Owned::from_iter(both);
        assert_eq!(concerning(&owned, "n"), [] as [&str; 0]);
        assert_eq!(owned.controlled_by("n", "v").count(), 1);
        assert!(owned.remove(&Key::new("n", "a")).is_some());
        assert!(owned.remove(&Key::new("n", "a")).is_none());
        assert_eq!(owned.controlled_by("n", "v").count(), 0);
        assert!(owned.is_empty());
    }
}
