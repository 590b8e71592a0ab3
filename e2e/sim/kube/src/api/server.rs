//! The server: one store behind a lock, the waiters for its changes, and the record of its calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::clock::Clock;
use super::delete::{DeleteOptions, Propagation};
use super::intercept::{Call, Verb};
use super::log::Change;
use super::patch::Patch;
use super::store::Store;
use super::write::Target;
use super::{Kind, Refusal, fields};

/// Delay of garbage collection, which is not immediate on a real server either.
const COLLECTOR_LAG: Duration = Duration::from_millis(200);

/// A write of a client, with the HTTP status of the answer.
#[derive(Clone, Debug)]
pub struct Write {
    /// The request.
    pub call: Call,
    /// HTTP status.
    pub code: u16,
    /// Time of the write.
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
    call_log: Mutex<CallLog>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct CallLog {
    calls: u64,
    counts: BTreeMap<(String, Verb, Kind), u64>,
    writes: Vec<Arc<Write>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The collector wakes, finds that the server was dropped, and ends.
        self.changed.notify_waiters();
    }
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiServer {
    /// A server with the namespaces that every cluster has. Inside a tokio runtime it also collects
    /// garbage; outside, call [`Self::collect_garbage`].
    pub fn new() -> Self {
        let clock = Clock::start();
        let inner = Inner {
            clock,
            store: Mutex::new(Store::new(clock)),
            call_log: Mutex::default(),
            changed: Arc::new(Notify::new()),
        };
        let server = Self { inner: Arc::new(inner) };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = json!({"metadata": {"name": name}});
            // The store is empty, so nothing can conflict.
            let _ = server.create(&Kind::NAMESPACE, namespace);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (weak, changed) = (Arc::downgrade(&server.inner), server.inner.changed.clone());
            runtime.spawn(collector(weak, changed));
        }
        server
    }

    /// Time of day of this server.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Works on the store; waiters are woken if its version increased.
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

    /// Resolves when the version increases after this future was first polled or enabled.
    pub(super) fn notified(&self) -> Notified<'_> {
        self.inner.changed.notified()
    }

    /// The present resource version.
    pub fn version(&self) -> u64 {
        self.with(|store| store.version)
    }

    /// Waits until the resource version is greater than this one, and returns it.
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

    /// Replaces an object except its status. If a resource version is given, it must be the present one.
    pub fn replace(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let (namespace, name) = (fields::namespace(&object).to_owned(), fields::name(&object).to_owned());
        let target = Target::direct(kind, &namespace, &name);
        self.with(|store| store.replace(&target, object)).map(|(object, _)| object)
    }

    /// Replaces the status of an object, under the same condition.
    pub fn replace_status(&self, kind: &Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        let (namespace, name) = (fields::namespace(&object).to_owned(), fields::name(&object).to_owned());
        let target = Target::direct(kind, &namespace, &name).of_status();
        self.with(|store| store.replace(&target, object)).map(|(object, _)| object)
    }

    /// Applies a merge patch to an object.
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

    /// Applies a merge patch to the status of an object: `{"status": {..}}`.
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

    /// Deletes in the background, with the grace period and the finalizers that the object has.
    pub fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        self.end(kind, namespace, name, None)
    }

    /// Deletes without grace period, as the kubelet does when the containers have ended. Finalizers still
    /// block it.
    pub fn remove(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Refusal> {
        self.end(kind, namespace, name, Some(0))
    }

    fn end(&self, kind: &Kind, namespace: &str, name: &str, grace: Option<u64>) -> Result<(), Refusal> {
        let options =
            DeleteOptions { grace, propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        let target = Target::direct(kind, namespace, name);
        self.with(|store| store.delete(&target, &options)).map(|_| ())
    }

    /// Drops all but the latest `keep` changes of each kind: watches and pages from before get 410 Gone.
    pub fn compact(&self, keep: usize) {
        self.with(|store| store.compact(keep));
    }

    /// Runs garbage collection once. Returns whether it changed something, so that another pass may find
    /// more.
    pub fn collect_garbage(&self) -> bool {
        self.with(Store::collect_garbage)
    }

    /// Registers a kind, as installing its `CustomResourceDefinition` does. All are registered at the
    /// start.
    pub fn install(&self, kind: &Kind) {
        self.with(|store| store.install(kind));
    }

    /// Unregisters a kind; its objects are deleted, and so are their dependents.
    pub fn uninstall(&self, kind: &Kind) {
        self.with(|store| store.uninstall(kind));
    }

    /// Replaces Rayfleet's CRD by AIBrix's.
    pub fn replace_fleet_crd(&self) {
        self.with(Store::replace_fleet_crd);
    }

    /// Applies Rayfleet's CRD again.
    pub fn restore_fleet_crd(&self) {
        self.with(Store::restore_fleet_crd);
    }

    /// All changes after a version, by any writer, as far as they are not compacted.
    pub fn changes(&self, version: u64) -> Vec<Arc<Change>> {
        self.with(|store| store.changes(version))
    }

    /// Whether an object of one of these kinds changed after a version. True if the changes were compacted.
    pub fn may_have_changed(&self, kinds: &[Kind], version: u64) -> bool {
        self.with(|store| !kinds.iter().all(|kind| matches!(store.next(kind, version), Ok(None))))
    }

    /// Writes of clients from this index on, in the order of execution. Writes that a fault prevented are
    /// not included.
    pub fn writes(&self, from: usize) -> Vec<Arc<Write>> {
        self.call_log(|call_log| call_log.writes.get(from..).map(<[_]>::to_vec).unwrap_or_default())
    }

    /// Number of calls by client, verb and kind, executed or not.
    pub fn counts(&self) -> BTreeMap<(String, Verb, Kind), u64> {
        self.call_log(|call_log| call_log.counts.clone())
    }

    fn call_log<T>(&self, work: impl FnOnce(&mut CallLog) -> T) -> T {
        work(&mut self.inner.call_log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Assigns the number of an arriving call.
    pub(super) fn number(&self, who: &str, verb: Verb, kind: Kind) -> u64 {
        self.call_log(|call_log| {
            call_log.calls += 1;
            *call_log.counts.entry((who.to_owned(), verb, kind)).or_default() += 1;
            call_log.calls
        })
    }

    /// Records an executed call.
    pub(super) fn done(&self, call: &Call, code: u16) {
        if call.verb.is_write() {
            let write = Write { call: call.clone(), code, at: self.now() };
            self.call_log(|call_log| call_log.writes.push(Arc::new(write)));
        }
    }
}

async fn collector(server: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let woken = changed.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let Some(inner) = server.upgrade() else { return };
        let gc_pending = ApiServer { inner }.with(|store| store.gc_pending);
        if gc_pending {
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
    async fn a_change_wakes_its_waiters() {
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
    async fn garbage_is_collected_in_the_background() {
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
    async fn changes_and_writes_are_recorded() {
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
