//! The index as what watches deliver to.

use std::collections::BTreeSet;

use rayfleet_runtime::{Scope, Sink};

use super::Index;
use crate::kubernetes::Key;
use crate::kubernetes::objects::{self, Watched};

impl<T: Watched> Sink<T> for Index {
    fn read(&self, text: &str) -> Result<Option<T>, serde_json::Error> {
        T::read(text)
    }
    fn knows(&self, key: &Key, version: &str) -> bool {
        let version = objects::version(Some(version));
        version > 0 && self.read(|store| T::known(&key.typed(), store) == Some(version))
    }
    fn key(&self, object: &T) -> Key {
        object.key().untyped()
    }
    fn listing(&self, scope: &Scope) {
        self.listing::<T>(scope);
    }
    fn list(&self, objects: Vec<T>) {
        self.list(objects);
    }
    fn listed(&self, scope: &Scope, listed: &BTreeSet<Key>) {
        self.listed::<T>(scope, listed);
    }
    fn apply(&self, object: T) {
        self.apply(object);
    }
    fn gone(&self, key: &Key) {
        self.gone::<T>(&key.typed());
    }
    fn gone_if_known(&self, key: &Key) {
        let key = key.typed();
        if self.read(|store| T::known(&key, store).is_some()) {
            self.gone::<T>(&key);
        }
    }
}
