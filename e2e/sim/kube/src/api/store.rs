//! All objects, one increasing resource version, and the log of changes. It stores what it is given;
//! validation is elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::clock::Clock;
use super::log::{Change, ChangeType, Compacted, Log};
use super::{Kind, fields};

const OWNERS: &str = "/metadata/ownerReferences";

/// Namespace and name.
pub(super) type Key = (String, String);

/// What etcd has of fleets that were not written since, with the version by which they are read.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    pub(super) whole: BTreeMap<Key, (String, Arc<Value>)>,
}

pub(super) struct Store {
    pub(super) version: u64,
    pub(super) clock: Clock,
    pub(super) random: fastrand::Rng,
    /// Whether something changed since the last garbage collection.
    pub(super) gc_pending: bool,
    /// Whether that collection may find anything. A change of an owned object alone triggers it without
    /// this.
    pub(super) suspicious: bool,
    /// Last applied objects, by UID of the object, manager, and whether the status was applied.
    pub(super) applied: BTreeMap<(String, String, bool), Value>,
    /// Set while AIBrix's CRD is in place of Rayfleet's.
    pub(super) foreign: Option<Foreign>,
    objects: BTreeMap<Kind, BTreeMap<Key, Arc<Value>>>,
    logs: BTreeMap<Kind, Log>,
    missing: BTreeSet<Kind>,
    expired: BTreeMap<(String, Kind), u64>,
}

impl Store {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            version: 1,
            clock,
            random: fastrand::Rng::with_seed(0x5eed),
            gc_pending: false,
            suspicious: false,
            applied: BTreeMap::new(),
            foreign: None,
            objects: BTreeMap::new(),
            logs: BTreeMap::new(),
            missing: BTreeSet::new(),
            expired: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        // Namespace and name are one key, so a look-up needs both as owned text.
        self.objects.get(&kind.stored())?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Objects of a kind by namespace and name.
    pub(super) fn all(&self, kind: &Kind) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.get(&kind.stored()).into_iter().flat_map(BTreeMap::values)
    }

    /// Stores an object under a new version.
    pub(super) fn put(&mut self, kind: &Kind, mut object: Value) -> Arc<Value> {
        let kind = kind.stored();
        self.version += 1;
        fields::metadata(&mut object).insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let key = (fields::namespace(&object).to_owned(), fields::name(&object).to_owned());
        let object = Arc::new(object);
        let before = self.objects.entry(kind).or_default().insert(key, object.clone());
        let owners = fields::list(&object, OWNERS);
        let owners_before = before.as_deref().map(|before| fields::list(before, OWNERS)).unwrap_or_default();
        self.gc_pending |= fields::deleting(&object) || !owners.is_empty();
        self.suspicious |= fields::deleting(&object) || owners != owners_before;
        let change = if before.is_some() { ChangeType::Modified } else { ChangeType::Added };
        self.note(Change { version: self.version, kind, change, before, object: object.clone() });
        object
    }

    /// Removes an object. Returns its last state, with the version of the deletion.
    pub(super) fn drop(&mut self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let kind = kind.stored();
        let before = self.objects.get_mut(&kind)?.remove(&(namespace.to_owned(), name.to_owned()))?;
        self.version += 1;
        self.gc_pending = true;
        self.suspicious = true;
        let mut last = Value::clone(&before);
        fields::metadata(&mut last).insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let object = Arc::new(last);
        let change = ChangeType::Deleted;
        self.note(Change {
            version: self.version,
            kind,
            change,
            before: Some(before),
            object: object.clone(),
        });
        Some(object)
    }

    fn note(&mut self, change: Change) {
        self.logs.entry(change.kind).or_default().push(change);
    }

    /// The first change of a kind after a version.
    pub(super) fn next(&self, kind: &Kind, version: u64) -> Result<Option<Arc<Change>>, Compacted> {
        match self.logs.get(&kind.stored()) {
            Some(log) => Ok(log.after(version)?.next().cloned()),
            None => Ok(None),
        }
    }

    /// Whether a watch of a kind can begin after a version.
    pub(super) fn knows(&self, kind: &Kind, version: u64) -> Result<(), Compacted> {
        self.next(kind, version).map(|_| ())
    }

    /// All changes of all kinds after a version that are not compacted, in order.
    pub(super) fn changes(&self, version: u64) -> Vec<Arc<Change>> {
        let mut changes: Vec<_> = self
            .logs
            .values()
            .flat_map(|log| {
                let known = log.after(version).or_else(|compacted| log.after(compacted.oldest));
                known.into_iter().flatten().cloned()
            })
            .collect();
        changes.sort_by_key(|change| change.version);
        changes
    }

    /// Objects of a kind as they were at a version.
    pub(super) fn at(&self, kind: &Kind, version: u64) -> Result<BTreeMap<Key, Arc<Value>>, Compacted> {
        let kind = kind.stored();
        let mut then = self.objects.get(&kind).cloned().unwrap_or_default();
        let Some(log) = self.logs.get(&kind) else { return Ok(then) };
        for change in log.after(version)?.rev() {
            let object = &change.object;
            let key = (fields::namespace(object).to_owned(), fields::name(object).to_owned());
            match &change.before {
                Some(before) => then.insert(key, before.clone()),
                None => then.remove(&key),
            };
        }
        Ok(then)
    }

    pub(super) fn compact(&mut self, keep: usize) {
        for log in self.logs.values_mut() {
            log.compact(keep);
        }
    }

    /// The version `behind` versions ago, or the oldest that is known.
    pub(super) fn ago(&self, kind: &Kind, behind: u64) -> u64 {
        let then = self.version.saturating_sub(behind);
        match self.knows(kind, then) {
            Ok(()) => then,
            Err(compacted) => compacted.oldest,
        }
    }

    pub(super) fn installed(&self, kind: &Kind) -> bool {
        !self.missing.contains(&kind.stored())
    }

    pub(super) fn install(&mut self, kind: &Kind) {
        self.missing.remove(&kind.stored());
        self.suspicious = true;
        self.version += 1;
    }

    /// Removes a kind with all its objects.
    pub(super) fn uninstall(&mut self, kind: &Kind) {
        let keys: Vec<Key> =
            self.objects.get(&kind.stored()).map(|all| all.keys().cloned().collect()).unwrap_or_default();
        for (namespace, name) in keys {
            self.drop(kind, &namespace, &name);
        }
        // A CustomResourceDefinition is removed after its objects, so their dependents are still collected.
        while self.collect_garbage() {}
        self.missing.insert(kind.stored());
        self.version += 1;
    }

    /// From now on, watches of this client for this kind must start at this version or later.
    pub(super) fn expire(&mut self, who: &str, kind: &Kind, version: u64) {
        let oldest = self.expired.entry((who.to_owned(), kind.stored())).or_default();
        *oldest = version.max(*oldest);
    }

    pub(super) fn expired(&self, who: &str, kind: &Kind) -> u64 {
        self.expired.get(&(who.to_owned(), kind.stored())).copied().unwrap_or_default()
    }

    /// Random suffix for a generated name, as a real server makes it.
    pub(super) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(*self.random.choice(LETTERS).unwrap_or(&b'x'))).collect()
    }

    /// A UID from a fixed seed, so that a run is reproducible.
    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.random.u64(..), self.random.u64(..));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, color: &str) -> Value {
        json!({"metadata": {"namespace": "n", "name": name, "labels": {"color": color}}})
    }

    fn colors(store: &Store, version: u64) -> Vec<String> {
        let then = store.at(&Kind::POD, version).unwrap();
        then.values().map(|pod| fields::text(pod, "/metadata/labels/color").to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn past_versions_can_be_read_until_compaction() {
        let mut store = Store::new(Clock::start());
        store.put(&Kind::POD, pod("a", "red"));
        let red = store.version;
        store.put(&Kind::POD, pod("a", "blue"));
        store.put(&Kind::POD, pod("b", "green"));
        store.drop(&Kind::POD, "n", "a");
        assert_eq!(colors(&store, red), ["red"]);
        assert_eq!(colors(&store, red + 2), ["blue", "green"]);
        assert_eq!(colors(&store, store.version), ["green"]);
        store.compact(1);
        assert_eq!(store.at(&Kind::POD, red).unwrap_err(), Compacted { oldest: red + 2 });
        assert_eq!(store.ago(&Kind::POD, 100), red + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_gets_a_new_version() {
        let mut store = Store::new(Clock::start());
        let made = store.put(&Kind::POD, pod("a", "red"));
        let gone = store.drop(&Kind::POD, "n", "a").unwrap();
        assert_ne!(made["metadata"]["resourceVersion"], gone["metadata"]["resourceVersion"]);
        assert_eq!(gone["metadata"]["resourceVersion"], store.version.to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn names_and_uids_are_the_same_in_every_run() {
        let (mut one, mut other) = (Store::new(Clock::start()), Store::new(Clock::start()));
        assert_eq!((one.uid(), one.suffix()), (other.uid(), other.suffix()));
        assert_ne!(one.uid(), one.uid());
    }
}
