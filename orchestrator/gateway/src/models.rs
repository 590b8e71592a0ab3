//! The models that are served now, each with its router. Watches write here, requests read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rayfleet_routing::Router;
use rayfleet_runtime::watch::{Scope, Sink};
use rayfleet_runtime::{Key, clock};

use crate::table::{Table, Watched};

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
    table: Mutex<Table>,
    models: RwLock<BTreeMap<Arc<str>, Arc<Model>>>,
    origin: Instant,
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
        self.0.table.lock().is_settled()
    }

    /// Changes what is known and who answers by it. The table is locked until both are done, so that no older state overtakes.
    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.0.table.lock();
        change(&mut table);
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

impl<T: Watched> Sink<T> for Models {
    fn read(&self, text: &str) -> Result<Option<T>, serde_json::Error> {
        T::read(text)
    }

    fn key(&self, object: &T) -> Key {
        object.key().clone()
    }

    fn listing(&self, _: &Scope) {}

    fn list(&self, objects: Vec<T>) {
        self.change(|table| {
            let known = T::known(table);
            known.objects.extend(objects.into_iter().map(|object| (object.key().clone(), object)));
        });
    }

    fn listed(&self, scope: &Scope, there: &BTreeSet<Key>) {
        self.change(|table| {
            let known = T::known(table);
            known.objects.retain(|key, _| !scope.holds(key) || there.contains(key));
            known.listed = true;
        });
    }

    fn apply(&self, object: T) {
        self.list(vec![object]);
    }

    fn gone(&self, key: &Key) {
        self.change(|table| {
            T::known(table).objects.remove(key);
        });
    }

    fn gone_if_known(&self, key: &Key) {
        <Self as Sink<T>>::gone(self, key);
    }
}
