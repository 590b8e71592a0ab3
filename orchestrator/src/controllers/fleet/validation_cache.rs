//! A fleet as it was checked, kept until its spec changes: it is looked at far more often than it is changed. What the rules
//! are is the API's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use rayfleet_api::names;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::{RayClusterFleet, RayClusterFleetSpec};
use rayfleet_api::valid::{FieldError, ValidFleet};

use crate::kubernetes::Records;

/// What a check says.
pub(super) type Verdict = Result<Arc<ValidFleet>, Arc<[FieldError]>>;

/// The last check of one fleet.
#[derive(Debug, Default)]
pub(super) struct ValidationCache {
    last: Option<(Validated, Verdict)>,
    /// The last one that broke no rule.
    valid: Option<Arc<ValidFleet>>,
    /// The fleet at an earlier revision, and the version of the record that it was read from.
    then: Option<(Revision, String, Arc<ValidFleet>)>,
}

/// All that a check goes by.
#[derive(Debug)]
struct Validated {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    labels: BTreeMap<String, String>,
    engine_port: Option<String>,
    /// The template in it is kept once, with the fleet. A generation that was set back with a backup of the cluster says nothing of it.
    spec: RayClusterFleetSpec,
}

impl Validated {
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

    fn is_of(&self, raw: &RayClusterFleet) -> bool {
        let metadata = &raw.metadata;
        self.uid == metadata.uid
            && self.generation == metadata.generation
            && self.deleting == metadata.deletion_timestamp.is_some()
            && self.labels == *raw.labels()
            && self.engine_port.as_ref() == raw.annotations().get(names::ANNOTATION_ENGINE_PORT)
            && self.spec == raw.spec
    }
}

impl ValidationCache {
    /// The fleet, checked.
    pub(super) fn fleet(&mut self, raw: &RayClusterFleet) -> Verdict {
        if let Some((_, verdict)) = self.last.as_ref().filter(|(of, _)| of.is_of(raw)) {
            return verdict.clone();
        }
        let verdict: Verdict = ValidFleet::new(raw).map(Arc::new).map_err(Arc::from);
        if let Ok(fleet) = &verdict {
            self.valid = Some(fleet.clone());
        } else if self.valid.as_ref().is_some_and(|valid| Some(&valid.uid) != raw.metadata.uid.as_ref()) {
            self.valid = None;
        }
        self.then = None;
        self.last = Some((Validated::new(raw), verdict.clone()));
        verdict
    }

    /// The fleet as it was when it broke no rule, as far as this replica remembers.
    pub(super) fn last_valid(&self) -> Option<&Arc<ValidFleet>> {
        self.valid.as_ref()
    }

    /// A fleet that was checked, as it would be at an earlier revision.
    pub(super) fn at(
        &mut self,
        records: &Records<'_>,
        raw: &RayClusterFleet,
        wanted: &Revision,
    ) -> Option<Arc<ValidFleet>> {
        if let Ok(fleet) = self.fleet(raw)
            && fleet.revision == *wanted
        {
            return Some(fleet);
        }
        let version = records.version(wanted)?;
        if let Some((_, _, then)) =
            self.then.as_ref().filter(|(of, read, _)| of == wanted && *read == version)
        {
            return Some(then.clone());
        }
        let then = Arc::new(records.fleet_at(raw, wanted)?);
        self.then = Some((wanted.clone(), version, then.clone()));
        Some(then)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ControllerRevision;
    use serde_json::json;

    use super::*;
    use crate::fixtures::raw_fleet;
    use crate::kubernetes::{History, Owned};

    #[test]
    fn a_fleet_is_checked_again_when_anything_that_counts_has_changed() {
        let mut checked = ValidationCache::default();
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
            let again = checked.fleet(&other).unwrap();
            assert_eq!(*again, ValidFleet::new(&other).unwrap(), "change {number}");
        }
        let mut written = raw_fleet();
        let before = checked.fleet(&written).unwrap();
        written.status = Some(rayfleet_api::RayClusterFleetStatus::default());
        written.metadata.resource_version = Some("99".into());
        assert!(Arc::ptr_eq(&before, &checked.fleet(&written).unwrap()));
    }

    #[test]
    fn the_last_valid_spec_is_remembered_until_the_fleet_is_another() {
        let mut checked = ValidationCache::default();
        let valid = checked.fleet(&raw_fleet()).unwrap();
        let mut wrong = raw_fleet();
        wrong.spec.replicas = Some(-1);
        for _ in 0..2 {
            assert_eq!(checked.fleet(&wrong).unwrap_err()[0].field, "spec.replicas");
            assert!(Arc::ptr_eq(checked.last_valid().unwrap(), &valid));
        }
        wrong.metadata.uid = Some("another".into());
        assert!(checked.fleet(&wrong).is_err());
        assert!(checked.last_valid().is_none());
    }

    #[test]
    fn an_earlier_revision_is_read_again_only_when_its_record_has_changed() {
        let mut checked = ValidationCache::default();
        let old = raw_fleet();
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let mut raw = raw_fleet();
        raw.spec.template.spec["headGroupSpec"]["template"]["metadata"]["annotations"] =
            json!({"release": "2"});
        let fleet = checked.fleet(&raw).unwrap();
        assert_ne!(fleet.revision, wanted);
        let nothing = Owned::default();
        let none = Records::of(&raw, &nothing);
        assert!(checked.at(&none, &raw, &wanted).is_none());
        let of_old = ValidFleet::new(&old).unwrap();
        let record = History::new(&of_old, &nothing).change(&old, &[]).create.unwrap();
        let known = |record: ControllerRevision| Owned::from_iter([record]);
        let there = known(record.clone());
        let records = Records::of(&raw, &there);
        let then = checked.at(&records, &raw, &wanted).unwrap();
        assert_eq!(then.revision, wanted);
        assert!(Arc::ptr_eq(&then, &checked.at(&records, &raw, &wanted).unwrap()));
        assert!(checked.at(&none, &raw, &wanted).is_none());
        let mut record = record;
        record.metadata.resource_version = Some("2".into());
        let again = known(record);
        let records = Records::of(&raw, &again);
        assert!(!Arc::ptr_eq(&then, &checked.at(&records, &raw, &wanted).unwrap()));
        assert!(Arc::ptr_eq(&fleet, &checked.at(&none, &raw, &fleet.revision).unwrap()));
    }
}
