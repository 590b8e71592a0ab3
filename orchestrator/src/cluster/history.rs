//! Revisions of a fleet as ControllerRevisions: what `undo` goes back to, and where an engine of an
//! older revision finds its model block. Pure; the executor writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::RayClusterFleet;
use rayfleet_api::valid::ValidModel;
use rayfleet_api::{ValidFleet, names};
use serde_json::{Value, json};

use super::Key;
use super::builds::metadata;

/// Label with the engine revision on ControllerRevisions.
const LABEL_ENGINE_REVISION: &str = "rayfleet.io/engine-revision";

/// The model of an engine revision.
pub(crate) type Model = Arc<ValidModel>;

/// The revisions of one fleet.
#[derive(Debug)]
pub(crate) struct History<'a> {
    fleet: &'a ValidFleet,
    revisions: Vec<&'a ControllerRevision>,
}

/// What has to be written so that the history is right.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct HistoryChange {
    /// Create this one.
    pub create: Option<ControllerRevision>,
    /// Give this one a new number: an old revision is wanted again.
    pub renumber: Option<(String, i64)>,
    /// Delete these: more than are to be kept, and no group runs them.
    pub delete: Vec<String>,
}

impl<'a> History<'a> {
    /// The revisions of `fleet` among `all` of its namespace.
    pub(crate) fn new(fleet: &'a ValidFleet, all: &'a BTreeMap<Key, Arc<ControllerRevision>>) -> Self {
        let owned = all.iter().filter(|(key, revision)| {
            key.namespace == fleet.namespace
                && revision.owner_references().iter().any(|owner| owner.uid == fleet.uid)
        });
        let mut revisions: Vec<&ControllerRevision> = owned.map(|(_, revision)| &**revision).collect();
        revisions.sort_by_key(|revision| revision.revision);
        Self { fleet, revisions }
    }

    /// Number of a revision, once it is written.
    pub(crate) fn number(&self, wanted: &Revision) -> Option<i64> {
        self.find(wanted).map(|revision| revision.revision)
    }

    /// Version of the record of a revision; `None` when there is no record.
    pub(crate) fn version(&self, wanted: &Revision) -> Option<String> {
        self.find(wanted).map(|record| record.resource_version().unwrap_or_default())
    }

    /// The fleet as it would be at an earlier revision: template and model of then, everything else of now.
    /// `None` when its record is gone or does not hold what its name says.
    pub(crate) fn fleet_at(&self, raw: &RayClusterFleet, wanted: &Revision) -> Option<ValidFleet> {
        if self.fleet.revision == *wanted {
            return Some(self.fleet.clone());
        }
        let spec = &self.find(wanted)?.data.as_ref()?.0["spec"];
        let mut then = raw.clone();
        then.spec.template = serde_json::from_value(spec["template"].clone()).ok()?;
        then.spec.model = serde_json::from_value(spec["model"].clone()).ok()?;
        ValidFleet::new(&then).ok().filter(|fleet| fleet.revision == *wanted)
    }

    fn find(&self, wanted: &Revision) -> Option<&'a ControllerRevision> {
        let name = object_name(&self.fleet.name, wanted);
        self.revisions.iter().copied().find(|revision| revision.name_any() == name)
    }

    /// What is missing, misnumbered or too much. `in_use` are the revisions that groups run.
    pub(crate) fn change(&self, raw: &RayClusterFleet, in_use: &[Revision]) -> HistoryChange {
        let newest = self.revisions.last().map_or(0, |revision| revision.revision);
        let mut change = HistoryChange::default();
        match self.find(&self.fleet.revision) {
            None => change.create = Some(self.record(raw, newest + 1)),
            Some(current) if current.revision < newest => {
                change.renumber = Some((current.name_any(), newest + 1));
            }
            Some(_) => {}
        }
        let kept: Vec<String> = std::iter::once(&self.fleet.revision)
            .chain(in_use)
            .map(|revision| object_name(&self.fleet.name, revision))
            .collect();
        let old: Vec<String> = self
            .revisions
            .iter()
            .map(|revision| revision.name_any())
            .filter(|name| !kept.contains(name))
            .collect();
        let surplus = old.len().saturating_sub(self.fleet.history_limit);
        change.delete = old.into_iter().take(surplus).collect();
        change
    }

    fn record(&self, raw: &RayClusterFleet, number: i64) -> ControllerRevision {
        let wanted = &self.fleet.revision;
        let engine = wanted.engine.as_deref().unwrap_or_default();
        let labels = [(names::LABEL_POD_REVISION, wanted.pod.as_str()), (LABEL_ENGINE_REVISION, engine)];
        let mut metadata = metadata(self.fleet, &object_name(&self.fleet.name, wanted), &labels);
        let cause = raw.annotations().get(names::ANNOTATION_CHANGE_CAUSE);
        metadata.annotations =
            cause.map(|cause| BTreeMap::from([(names::ANNOTATION_CHANGE_CAUSE.to_owned(), cause.clone())]));
        let data = json!({"spec": {"template": raw.spec.template, "model": raw.spec.model}});
        ControllerRevision { data: Some(RawExtension(data)), metadata, revision: number }
    }

    /// The model block of an engine revision; `None` when its record is gone.
    pub(crate) fn model(&self, engine_revision: &str) -> Option<Model> {
        if self.fleet.revision.engine.as_deref() == Some(engine_revision) {
            return self.fleet.model.clone().map(Arc::new);
        }
        let record = self.revisions.iter().rev().find(|revision| {
            revision.labels().get(LABEL_ENGINE_REVISION).is_some_and(|label| label == engine_revision)
        })?;
        self.read_model(&record.data.as_ref()?.0)
    }

    /// Reads an old model block with today's rules, against the template that it was written with.
    fn read_model(&self, data: &Value) -> Option<Model> {
        let fleet = json!({
            "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
            "kind": names::KIND,
            "metadata": {"name": self.fleet.name, "namespace": self.fleet.namespace},
            "spec": {
                "selector": {"matchLabels": data["spec"]["template"]["metadata"]["labels"]},
                "template": data["spec"]["template"],
                "model": data["spec"]["model"],
            }
        });
        let fleet: RayClusterFleet = serde_json::from_value(fleet).ok()?;
        ValidFleet::new(&fleet).ok()?.model.map(Arc::new)
    }
}

fn object_name(fleet: &str, revision: &Revision) -> String {
    match &revision.engine {
        Some(engine) => format!("{fleet}-{}-{engine}", revision.pod),
        None => format!("{fleet}-{}", revision.pod),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::raw_fleet;

    fn with_args(args: &[&str]) -> RayClusterFleet {
        let mut raw = raw_fleet();
        let model = raw.spec.model.as_mut().unwrap();
        model.engine.get_or_insert_default().args = args.iter().map(ToString::to_string).collect();
        raw
    }

    /// Applies changes as the executor would.
    fn write(all: &mut BTreeMap<Key, Arc<ControllerRevision>>, raw: &RayClusterFleet) -> HistoryChange {
        let fleet = ValidFleet::new(raw).unwrap();
        let change = History::new(&fleet, all).change(raw, &[]);
        if let Some(record) = &change.create {
            all.insert(Key::of(record), Arc::new(record.clone()));
        }
        if let Some((name, number)) = &change.renumber {
            let key = Key::new("n", name);
            let record = ControllerRevision { revision: *number, ..(*all[&key]).clone() };
            all.insert(key, Arc::new(record));
        }
        for name in &change.delete {
            all.remove(&Key::new("n", name));
        }
        change
    }

    #[test]
    fn each_revision_is_recorded_once_and_numbered() {
        let mut all = BTreeMap::new();
        assert!(write(&mut all, &with_args(&["--a"])).create.is_some());
        assert_eq!(write(&mut all, &with_args(&["--a"])), HistoryChange::default());
        write(&mut all, &with_args(&["--b"]));
        let mut numbers: Vec<i64> = all.values().map(|record| record.revision).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn a_revision_that_is_wanted_again_becomes_the_newest() {
        let mut all = BTreeMap::new();
        write(&mut all, &with_args(&["--a"]));
        write(&mut all, &with_args(&["--b"]));
        let change = write(&mut all, &with_args(&["--a"]));
        assert_eq!(change.renumber.unwrap().1, 3);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn old_revisions_beyond_the_limit_go_oldest_first() {
        let mut all = BTreeMap::new();
        let limited = |args: &str| {
            let mut raw = with_args(&[args]);
            raw.spec.revision_history_limit = Some(1);
            raw
        };
        let first = write(&mut all, &limited("--a")).create.unwrap().name_any();
        write(&mut all, &limited("--b"));
        let change = write(&mut all, &limited("--c"));
        // Two old ones would be kept beside the new one: the older goes.
        assert_eq!(change.delete, [first]);
    }

    #[test]
    fn the_fleet_at_an_earlier_revision_has_the_scale_of_now() {
        let mut all = BTreeMap::new();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let mut new = with_args(&["--b"]);
        new.spec.replicas = Some(7);
        let fleet = ValidFleet::new(&new).unwrap();
        let history = History::new(&fleet, &all);
        let then = history.fleet_at(&new, &wanted).unwrap();
        assert_eq!(
            (then.replicas, &then.revision, then.model.unwrap().args),
            (7, &wanted, vec!["--a".into()])
        );
        assert_eq!(history.fleet_at(&new, &"no/such".parse().unwrap()), None);
    }

    #[test]
    fn an_older_engine_finds_its_model() {
        let mut all = BTreeMap::new();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let old_engine = ValidFleet::new(&old).unwrap().revision.engine.unwrap();
        let fleet = ValidFleet::new(&with_args(&["--b"])).unwrap();
        let history = History::new(&fleet, &all);
        assert_eq!(history.model(&old_engine).unwrap().args, ["--a"]);
        assert_eq!(history.model("none"), None);
    }
}
