//! The models that are served now, each with its router. Watches write here, requests read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rayfleet_routing::Router;
use rayfleet_runtime::watch::{Scope, Sink};
use rayfleet_runtime::{Key, clock};

use crate::table::{Fleet, Slice, Table};

/// One model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: Arc<str>,
    router: Mutex<Router>,
    /// All times of a router are since this moment.
    origin: Instant,
}

impl Model {
    /// Works with the router at this moment. What is done must be short: every request of the model waits.
    pub(crate) fn route<T>(&self, work: impl FnOnce(&mut Router, Duration) -> T) -> T {
        let now = clock::monotonic().saturating_duration_since(self.origin);
        work(&mut self.router.lock(), now)
    }
}

/// All models. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Models(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Mutex<(Table, Listed)>,
    models: RwLock<BTreeMap<Arc<str>, Arc<Model>>>,
    origin: Instant,
}

/// What was listed once.
#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    fleets: bool,
    slices: bool,
}

impl Models {
    pub(crate) fn new() -> Self {
        let origin = clock::monotonic();
        Self(Arc::new(Inner { table: Mutex::default(), models: RwLock::default(), origin }))
    }

    /// A model by the name that clients call it.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Model>> {
        self.0.models.read().get(name).cloned()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Model>> {
        self.0.models.read().values().cloned().collect()
    }

    /// Whether everything was listed once: before that a model that is missing may be there.
    pub(crate) fn is_settled(&self) -> bool {
        let listed = self.0.table.lock().1;
        listed.fleets && listed.slices
    }

    /// Changes what is known and who answers by it. The table is locked until both are done, so that no older state overtakes.
    fn change(&self, change: impl FnOnce(&mut Table, &mut Listed)) {
        let mut held = self.0.table.lock();
        let (table, listed) = &mut *held;
        change(table, listed);
        let wanted = table.models();
        let mut models = self.0.models.write();
        models.retain(|name, _| wanted.contains_key(name));
        for (name, heads) in wanted {
            let new = || Model { name: name.clone(), router: Mutex::default(), origin: self.0.origin };
            let model = models.entry(name.clone()).or_insert_with(|| Arc::new(new()));
            let mut router = model.router.lock();
            if !router.endpoints().eq(heads.iter()) {
                router.set_endpoints(heads);
            }
        }
    }
}

impl Sink<Fleet> for Models {
    fn read(&self, text: &str) -> Result<Option<Fleet>, serde_json::Error> {
        Fleet::read(text)
    }

    fn key(&self, fleet: &Fleet) -> Key {
        fleet.key.clone()
    }

    fn listing(&self, _: &Scope) {}

    fn list(&self, fleets: Vec<Fleet>) {
        self.change(|table, _| fleets.into_iter().for_each(|fleet| table.put_fleet(fleet)));
    }

    fn listed(&self, scope: &Scope, there: &BTreeSet<Key>) {
        self.change(|table, listed| {
            let gone: Vec<Key> = gone(table.fleets(), scope, there);
            for key in gone {
                table.remove_fleet(&key);
            }
            listed.fleets = true;
        });
    }

    fn apply(&self, fleet: Fleet) {
        self.change(|table, _| table.put_fleet(fleet));
    }

    fn gone(&self, key: &Key) {
        self.change(|table, _| table.remove_fleet(key));
    }

    fn gone_if_known(&self, key: &Key) {
        self.change(|table, _| table.remove_fleet(key));
    }
}

impl Sink<Slice> for Models {
    fn read(&self, text: &str) -> Result<Option<Slice>, serde_json::Error> {
        Slice::read(text)
    }

    fn key(&self, slice: &Slice) -> Key {
        slice.key.clone()
    }

    fn listing(&self, _: &Scope) {}

    fn list(&self, slices: Vec<Slice>) {
        self.change(|table, _| slices.into_iter().for_each(|slice| table.put_slice(slice)));
    }

    fn listed(&self, scope: &Scope, there: &BTreeSet<Key>) {
        self.change(|table, listed| {
            let gone: Vec<Key> = gone(table.slices(), scope, there);
            for key in gone {
                table.remove_slice(&key);
            }
            listed.slices = true;
        });
    }

    fn apply(&self, slice: Slice) {
        self.change(|table, _| table.put_slice(slice));
    }

    fn gone(&self, key: &Key) {
        self.change(|table, _| table.remove_slice(key));
    }

    fn gone_if_known(&self, key: &Key) {
        self.change(|table, _| table.remove_slice(key));
    }
}

/// Known keys of a scope that a list does not have.
fn gone<'a>(known: impl Iterator<Item = &'a Key>, scope: &Scope, there: &BTreeSet<Key>) -> Vec<Key> {
    known.filter(|key| scope.holds(key) && !there.contains(*key)).cloned().collect()
}
