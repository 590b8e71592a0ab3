//! Fleets as they were checked, kept until their spec changes: a fleet is looked at far more often than it is changed. What the rules
//! are is the API's business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use rayfleet_api::names;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::{RayClusterFleet, RayClusterFleetSpec};
use rayfleet_api::valid::{Invalid, ValidFleet};

use crate::cluster::{History, Key};

/// The last check of each fleet.
#[derive(Debug, Default)]
pub(super) struct Checked {
    known: Mutex<BTreeMap<Key, Entry>>,
}

#[derive(Debug)]
struct Entry {
    of: Of,
    fleet: Arc<ValidFleet>,
    /// The fleet at an earlier revision, and the version of the record that it was read from.
    then: Option<(Revision, String, Arc<ValidFleet>)>,
}

/// All that a check goes by.
#[derive(Debug, PartialEq)]
struct Of {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    labels: BTreeMap<String, String>,
    engine_port: Option<String>,
    spec: RayClusterFleetSpec,
}

impl Of {
    fn new(raw: &RayClusterFleet) -> Self {
        Self {
            uid: raw.uid(),
            generation: raw.metadata.generation,
            deleting: raw.metadata.deletion_timestamp.is_some(),
            labels: raw.labels().clone(),
            engine_port: raw.annotations().get(names::ANNOTATION_ENGINE_PORT).cloned(),
            spec: raw.spec.clone(),
        }
    }

    fn is(&self, raw: &RayClusterFleet) -> bool {
        self.uid == raw.metadata.uid
            && self.generation == raw.metadata.generation
            && self.deleting == raw.metadata.deletion_timestamp.is_some()
            && self.labels == *raw.labels()
            && self.engine_port.as_ref() == raw.annotations().get(names::ANNOTATION_ENGINE_PORT)
            // A generation that was set back with a backup of the cluster says nothing.
            && self.spec == raw.spec
    }
}

impl Checked {
    /// The fleet, checked.
    pub(super) fn fleet(&self, raw: &RayClusterFleet) -> Result<Arc<ValidFleet>, Vec<Invalid>> {
        let key = Key::of(raw);
        if let Some(entry) = self.lock().get(&key).filter(|entry| entry.of.is(raw)) {
            return Ok(entry.fleet.clone());
        }
        let fleet = Arc::new(ValidFleet::new(raw)?);
        let entry = Entry { of: Of::new(raw), fleet: fleet.clone(), then: None };
        self.lock().insert(key, entry);
        Ok(fleet)
    }

    /// A fleet that was checked, as it would be at an earlier revision.
    pub(super) fn at(
        &self,
        history: &History<'_>,
        raw: &RayClusterFleet,
        fleet: &Arc<ValidFleet>,
        wanted: &Revision,
    ) -> Option<Arc<ValidFleet>> {
        if fleet.revision == *wanted {
            return Some(fleet.clone());
        }
        let version = history.version(wanted)?;
        let key = Key::of(raw);
        let mut known = self.lock();
        let entry = known.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.fleet, fleet));
        let then = entry.as_ref().and_then(|entry| entry.then.as_ref());
        if let Some((_, _, then)) = then.filter(|(of, read, _)| of == wanted && *read == version) {
            return Some(then.clone());
        }
        let then = Arc::new(history.fleet_at(raw, wanted)?);
        if let Some(entry) = entry {
            entry.then = Some((wanted.clone(), version, then.clone()));
        }
        Some(then)
    }

    /// The fleet is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ControllerRevision;
    use serde_json::json;

    use super::*;
    use crate::fixtures::raw_fleet;

    #[test]
    fn a_fleet_is_checked_anew_when_anything_that_counts_has_changed() {
        let checked = Checked::default();
        let raw = raw_fleet();
        let first = checked.fleet(&raw).unwrap();
        assert!(Arc::ptr_eq(&first, &checked.fleet(&raw).unwrap()));
        let changes: [fn(&mut RayClusterFleet); 6] = [
            |raw| raw.metadata.uid = Some("other".into()),
            |raw| raw.metadata.generation = Some(99),
            |raw| {
                raw.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
            },
            |raw| drop(raw.labels_mut().insert("a".into(), "b".into())),
            |raw| drop(raw.annotations_mut().insert("rayfleet.io/engine-port".into(), "none".into())),
            |raw| raw.spec.replicas = Some(7),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            checked.fleet(&raw_fleet()).unwrap();
            let mut other = raw_fleet();
            change(&mut other);
            let anew = checked.fleet(&other).unwrap();
            assert_eq!(*anew, ValidFleet::new(&other).unwrap(), "change {number}");
        }
        let mut other = raw_fleet();
        other.spec.replicas = Some(-1);
        assert!(checked.fleet(&other).is_err());
        let mut written = raw_fleet();
        let before = checked.fleet(&written).unwrap();
        written.status = Some(rayfleet_api::RayClusterFleetStatus::default());
        written.metadata.resource_version = Some("99".into());
        assert!(Arc::ptr_eq(&before, &checked.fleet(&written).unwrap()));
    }

    #[test]
    fn an_earlier_revision_is_read_again_only_when_its_record_has_changed() {
        let checked = Checked::default();
        let old = raw_fleet();
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let mut raw = raw_fleet();
        raw.spec.template.spec["headGroupSpec"]["template"]["metadata"]["annotations"] =
            json!({"release": "2"});
        let fleet = checked.fleet(&raw).unwrap();
        assert_ne!(fleet.revision, wanted);
        let nothing = BTreeMap::new();
        let none = History::new(&fleet, &nothing);
        assert!(checked.at(&none, &raw, &fleet, &wanted).is_none());
        let of_old = ValidFleet::new(&old).unwrap();
        let record = History::new(&of_old, &nothing).change(&old, &[]).create.unwrap();
        let known = |record: ControllerRevision| BTreeMap::from([(Key::of(&record), Arc::new(record))]);
        let there = known(record.clone());
        let history = History::new(&fleet, &there);
        let then = checked.at(&history, &raw, &fleet, &wanted).unwrap();
        assert_eq!(then.revision, wanted);
        assert!(Arc::ptr_eq(&then, &checked.at(&history, &raw, &fleet, &wanted).unwrap()));
        assert!(checked.at(&none, &raw, &fleet, &wanted).is_none());
        let mut record = record;
        record.metadata.resource_version = Some("2".into());
        let again = known(record);
        let history = History::new(&fleet, &again);
        assert!(!Arc::ptr_eq(&then, &checked.at(&history, &raw, &fleet, &wanted).unwrap()));
        assert!(Arc::ptr_eq(&fleet, &checked.at(&none, &raw, &fleet, &fleet.revision).unwrap()));
    }
}
