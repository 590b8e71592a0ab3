//! The server: one store behind a lock, who waits for changes of it, and the books about its calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::clock::Clock;
use super::delete::{DeleteOptions, Propagation};
use super::intercept::{Call, Tamper, Verb};
use super::log::Change;
use super::patch::Patch;
use super::store::Store;
use super::write::Target;
use super::{Kind, Refusal, fields, http};

/// How long garbage collection waits before it looks, as a real one is never there at once.
const COLLECTOR_LAG: Duration = Duration::from_millis(200);

/// A write of a client, and the HTTP status that it was answered with.
#[derive(Clone, Debug)]
pub struct Write {
    /// What was sent.
    pub call: Call,
    /// HTTP status.
    pub code: u16,
    /// When.
    pub at: Timestamp,
}

/// An API server in memory. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    store: Mutex<Store>,
    books: Mutex<Books>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Books {
    calls: u64,
    counts: BTreeMap<(String, Verb, Kind), u64>,
    writes: Vec<Arc<Write>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The collector wakes, finds no server any more, and ends.
        self.changed.notify_waiters();
    }
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiServer {
    /// A server with the namespaces that every cluster has. Within a tokio runtime it also collects garbage; outside,
    /// [`Self::collect_garbage`] has to be called.
    pub fn new() -> Self {
        let clock = Clock::start();
        let inner = Inner {
            clock,
            store: Mutex::new(Store::new(clock)),
            books: Mutex::default(),
            changed: Arc::new(Notify::new()),
        };
        let server = Self { inner: Arc::new(inner) };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = json!({"metadata": {"name": name}});
            // The store is empty: nothing can be in the way.
            let _ = server.create(&Kind::NAMESPACE, namespace);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (weak, changed) = (Arc::downgrade(&server.inner), server.inner.changed.clone());
            runtime.spawn(collector(weak, changed));
        }
        server
    }

    /// Time of day at this server.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// A client of this server, as the product uses it, in process. `who` names it to `tamper` and in the books.
    pub fn client(&self, who: &str, namespace: &str, tamper: Arc<dyn Tamper>) -> kube::Client {
        http::client(self.clone(), who, namespace, tamper)
    }

    /// Works on the store; those who wait for changes are woken if its version rose.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.inner.store.lock().unwrap_or_else(PoisonError::into_inner);
        let before = store.version;
        let outcome = work(&mut store);
        let changed = store.version > before;
        drop(store);
        if changed {
            self.inner.changed.notify_waiters();
        }
        outcome
    }

    /// Resolves when the version rises after it was first polled or enabled.
    pub(super) fn notified(&self) -> Notified<'_> {
        self.inner.changed.notified()
    }

    /// The present resource version.
    pub fn version(&self) -> u64 {
        self.with(|store| store.version)
    }

    /// Waits until the resource version is greater than this one, and gives it.
    pub async fn changed_since(&self, version: u64) -> u64 {
        loop {
            let changed = self.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = self.version();
            if now > version {
                return now;
            }
            changed.await;
        }
    }

    /// One object.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.with(|store| store.get(kind, namespace, name).cloned())
    }

    /// All objects of a kind, by namespace and name.
    pub fn list(&self, kind: &Kind) -> Vec<Arc<Value>> {
        self.with(|store| store.all(kind).cloned().collect())
    }

    /// Creates an object; its namespace is in its metadata.
    pub fn create(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let namespace = fields::namespace(&object).to_owned();
        let target = Target::direct(kind, &namespace, "");
        self.with(|store| store.create(&target, object))
    }

    /// Replaces an object, all but its status. A resource version that it has must be the present one.
    pub fn replace(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let (namespace, name) = (fields::namespace(&object).to_owned(), fields::name(&object).to_owned());
        let target = Target::direct(kind, &namespace, &name);
        self.with(|store| store.replace(&target, object)).map(|(object, _)| object)
    }

    /// Replaces the status of an object, with the same condition.
    pub fn replace_status(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let (namespace, name) = (fields::namespace(&object).to_owned(), fields::name(&object).to_owned());
        let target = Target::direct(kind, &namespace, &name).of_status();
        self.with(|store| store.replace(&target, object)).map(|(object, _)| object)
    }

    /// Merges into an object.
    pub fn merge_patch(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let target = Target::direct(kind, namespace, name);
        self.with(|store| store.patch(&target, &Patch::merge(patch))).map(|(object, _)| object)
    }

    /// Merges into the status of an object: `{"status": {..}}`.
    pub fn merge_patch_status(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        let target = Target::direct(kind, namespace, name).of_status();
        self.with(|store| store.patch(&target, &Patch::merge(patch))).map(|(object, _)| object)
    }

    /// Deletes in the background, with the grace and the finalizers that the object has.
    pub fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        self.end(kind, namespace, name, None)
    }

    /// Deletes without grace, as the kubelet does when the containers have ended. Finalizers hold it still.
    pub fn remove(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        self.end(kind, namespace, name, Some(0))
    }

    fn end(&self, kind: &Kind, namespace: &str, name: &str, grace: Option<u64>) -> Result<(), Refusal> {
        let options =
            DeleteOptions { grace, propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        let target = Target::direct(kind, namespace, name);
        self.with(|store| store.delete(&target, &options)).map(|_| ())
    }

    /// Forgets all but the latest `keep` changes of each kind: watches and pages from before get 410 Gone.
    pub fn compact(&self, keep: usize) {
        self.with(|store| store.compact(keep));
    }

    /// Looks for garbage once; whether something was done, so that another look may find more.
    pub fn collect_garbage(&self) -> bool {
        self.with(Store::collect_garbage)
    }

    /// Makes a kind known, as installing its `CustomResourceDefinition` does. All are known at the beginning.
    pub fn install(&self, kind: &Kind) {
        self.with(|store| store.install(kind));
    }

    /// Makes a kind unknown; its objects go, and so do their dependents.
    pub fn uninstall(&self, kind: &Kind) {
        self.with(|store| store.uninstall(kind));
    }

    /// AIBrix's CRD takes the place of ours.
    pub fn replace_fleet_crd(&self) {
        self.with(Store::replace_fleet_crd);
    }

    /// Ours is applied again.
    pub fn restore_fleet_crd(&self) {
        self.with(Store::restore_fleet_crd);
    }

    /// What happened after a version, by whomever, as far as it is not compacted.
    pub fn changes(&self, version: u64) -> Vec<Arc<Change>> {
        self.with(|store| store.changes(version))
    }

    /// Whether an object of one of these kinds changed after a version. What is compacted may have been anything.
    pub fn may_have_changed(&self, kinds: &[Kind], version: u64) -> bool {
        self.with(|store| !kinds.iter().all(|kind| matches!(store.next(kind, version), Ok(None))))
    }

    /// Writes of clients in the order in which they were done, from the one of this index on. Those that a fault kept
    /// from being done are not among them.
    pub fn writes(&self, from: usize) -> Vec<Arc<Write>> {
        self.books(|books| books.writes.get(from..).map(<[_]>::to_vec).unwrap_or_default())
    }

    /// Number of calls by client, verb and kind, done or not.
    pub fn counts(&self) -> BTreeMap<(String, Verb, Kind), u64> {
        self.books(|books| books.counts.clone())
    }

    fn books<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.inner.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of a call that arrives.
    pub(super) fn number(&self, who: &str, verb: Verb, kind: Kind) -> u64 {
        self.books(|books| {
            books.calls += 1;
            *books.counts.entry((who.to_owned(), verb, kind)).or_default() += 1;
            books.calls
        })
    }

    /// Enters a call that was done.
    pub(super) fn done(&self, call: &Call, code: u16) {
        if call.verb.is_write() {
            let write = Write { call: call.clone(), code, at: self.now() };
            self.books(|books| books.writes.push(Arc::new(write)));
        }
    }
}

async fn collector(server: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let woken = changed.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let Some(inner) = server.upgrade() else { return };
        let littered = ApiServer { inner }.with(|store| store.littered);
        if littered {
            tokio::time::sleep(COLLECTOR_LAG).await;
            let Some(inner) = server.upgrade() else { return };
            ApiServer { inner }.collect_garbage();
        } else {
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Value {
        json!({"metadata": {"namespace": "default", "name": name}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_wakes_those_who_wait_for_it() {
        let server = ApiServer::new();
        let version = server.version();
        let waiting = tokio::spawn({
            let server = server.clone();
            async move { server.changed_since(version).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        server.create(&Kind::RAY_CLUSTER, cluster("a")).unwrap();
        assert_eq!(waiting.await.unwrap(), version + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_is_collected_by_itself() {
        let server = ApiServer::new();
        let owner = server.create(&Kind::RAY_CLUSTER, cluster("a")).unwrap();
        let reference = json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "a", "uid": owner["metadata"]["uid"]});
        let mut secret = json!({"metadata": {"namespace": "default", "name": "s"}});
        secret["metadata"]["ownerReferences"] = json!([reference]);
        server.create(&Kind::SECRET, secret).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(server.list(&Kind::SECRET).len(), 1);
        server.delete(&Kind::RAY_CLUSTER, "default", "a").unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(server.list(&Kind::SECRET).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happened_can_be_read() {
        let server = ApiServer::new();
        let before = server.version();
        server.create(&Kind::RAY_CLUSTER, cluster("a")).unwrap();
        server
            .merge_patch_status(&Kind::RAY_CLUSTER, "default", "a", &json!({"status": {"state": "ready"}}))
            .unwrap();
        server.remove(&Kind::RAY_CLUSTER, "default", "a").unwrap();
        let reported: Vec<_> = server.changes(before).iter().map(|change| change.change.as_str()).collect();
        assert_eq!(reported, ["ADDED", "MODIFIED", "DELETED"]);
    }
}
