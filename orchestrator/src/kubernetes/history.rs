//! Revisions of a fleet as ControllerRevisions: what `undo` goes back to, and where an engine of an
//! older revision finds its model block. Pure; the executor writes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::RayClusterFleet;
use rayfleet_api::valid::ValidModel;
use rayfleet_api::{EngineRevision, FieldError, PodRevision, ValidFleet, names};
use serde_json::{Value, json};

use super::build::metadata;
use super::index::Owned;

/// Label with the engine revision on ControllerRevisions.
const LABEL_ENGINE_REVISION: &str = "rayfleet.io/engine-revision";

/// The model of an engine revision.
pub(crate) type Model = Arc<ValidModel>;

/// The records of one fleet, whatever its spec says now.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    fleet: &'a str,
    revisions: Vec<&'a ControllerRevision>,
}

/// The revisions of one fleet that is valid.
#[derive(Debug)]
pub(crate) struct History<'a> {
    fleet: &'a ValidFleet,
    records: Records<'a>,
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

impl<'a> Records<'a> {
    /// The records of a fleet among all.
    pub(crate) fn of(fleet: &'a RayClusterFleet, all: &'a Owned<ControllerRevision>) -> Self {
        let metadata = &fleet.metadata;
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self::new(text(&metadata.namespace), text(&metadata.name), text(&metadata.uid), all)
    }

    fn new(namespace: &'a str, fleet: &'a str, uid: &str, all: &'a Owned<ControllerRevision>) -> Self {
        let mut revisions: Vec<&ControllerRevision> =
            all.controlled_by(namespace, uid).map(|revision| &**revision).collect();
        revisions.sort_by_key(|revision| revision.revision);
        Self { fleet, revisions }
    }

    /// Whether a template of this pod revision is on record.
    pub(crate) fn has_pods(&self, pod_revision: &PodRevision) -> bool {
        let of = |revision: &&ControllerRevision| {
            revision.labels().get(names::LABEL_POD_REVISION).is_some_and(|label| *pod_revision == *label)
        };
        self.revisions.iter().any(of)
    }

    /// Version of the record of a revision; `None` when there is no record.
    pub(crate) fn version(&self, wanted: &Revision) -> Option<String> {
        self.find(wanted).map(|record| record.resource_version().unwrap_or_default())
    }

    /// The fleet as it would be at an earlier revision: template and model of then, everything else of now. What breaks a rule now
    /// is left to its default. `None` when its record is gone or does not hold what its name says.
    pub(crate) fn fleet_at(&self, raw: &RayClusterFleet, wanted: &Revision) -> Option<ValidFleet> {
        let mut then = with_record(raw, self.find(wanted)?)?;
        let fleet = ValidFleet::recorded(&then).or_else(|problems| {
            leave_out(&mut then, &problems);
            ValidFleet::recorded(&then)
        });
        fleet.ok().filter(|fleet| fleet.revision == *wanted)
    }

    /// The fleet as it was when its newest revision was written: template and model of then, everything else of now. Unchecked.
    /// `None` without a record that can be read.
    pub(crate) fn newest(&self, raw: &RayClusterFleet) -> Option<RayClusterFleet> {
        with_record(raw, self.revisions.last()?)
    }

    fn find(&self, wanted: &Revision) -> Option<&'a ControllerRevision> {
        let name = object_name(self.fleet, wanted);
        self.revisions.iter().copied().find(|revision| revision.name_any() == name)
    }
}

/// A fleet with the template and the model of a record, if that can be read.
fn with_record(raw: &RayClusterFleet, record: &ControllerRevision) -> Option<RayClusterFleet> {
    let data = content(record)?;
    let spec = &data["spec"];
    let mut then = raw.clone();
    then.spec.template = serde_json::from_value(spec["template"].clone()).ok()?;
    then.spec.model = serde_json::from_value(spec["model"].clone()).ok()?;
    Some(then)
}

/// Leaves out what breaks a rule, beside template and model. A number of groups that is none stays as it is.
fn leave_out(fleet: &mut RayClusterFleet, problems: &[FieldError]) {
    let groups = fleet.status.as_ref().map_or(0, |status| status.groups.len());
    let spec = &mut fleet.spec;
    for problem in problems {
        match problem.field.split('.').nth(1).unwrap_or_default() {
            "replicas" => spec.replicas = i32::try_from(groups).ok(),
            "selector" => {
                let labels = spec.template.metadata.as_ref().map(|metadata| metadata.labels.clone());
                spec.selector = LabelSelector { match_labels: labels, ..LabelSelector::default() };
            }
            "strategy" => spec.strategy = None,
            "drain" => spec.drain = None,
            "failurePolicy" => spec.failure_policy = None,
            "minReadySeconds" => spec.min_ready_seconds = None,
            "progressDeadlineSeconds" => spec.progress_deadline_seconds = None,
            "revisionHistoryLimit" => spec.revision_history_limit = None,
            _ => {}
        }
    }
    // Each of them is among the problems, and was left out above or comes from the record.
    spec.unreadable.clear();
}

impl<'a> History<'a> {
    /// The revisions of `fleet` among `all` of its namespace.
    pub(crate) fn new(fleet: &'a ValidFleet, all: &'a Owned<ControllerRevision>) -> Self {
        Self { fleet, records: Records::new(&fleet.namespace, &fleet.name, &fleet.uid, all) }
    }

    /// Number of a revision, once it is written.
    pub(crate) fn number(&self, wanted: &Revision) -> Option<i64> {
        self.records.find(wanted).map(|revision| revision.revision)
    }

    /// What is missing, misnumbered or too much. `in_use` are the revisions that groups run.
    pub(crate) fn change(&self, raw: &RayClusterFleet, in_use: &[Revision]) -> HistoryChange {
        let newest = self.records.revisions.last().map_or(0, |revision| revision.revision);
        let mut change = HistoryChange::default();
        match self.records.find(&self.fleet.revision) {
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
            .records
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
    pub(crate) fn model(&self, engine_revision: &EngineRevision) -> Option<Model> {
        if self.fleet.revision.engine.as_ref() == Some(engine_revision) {
            return self.fleet.model.clone().map(Arc::new);
        }
        let record = self.records.revisions.iter().rev().find(|revision| {
            revision.labels().get(LABEL_ENGINE_REVISION).is_some_and(|label| *engine_revision == *label)
        })?;
        let data = content(record)?;
        self.read_model(&data)
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
        ValidFleet::recorded(&fleet).ok()?.model.map(Arc::new)
    }
}

/// What a record holds. One that was read from the API server holds it as text.
fn content(record: &ControllerRevision) -> Option<Cow<'_, Value>> {
    match &record.data.as_ref()?.0 {
        Value::String(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        tree => Some(Cow::Borrowed(tree)),
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
    use crate::kubernetes::Key;

    fn with_args(args: &[&str]) -> RayClusterFleet {
        let mut raw = raw_fleet();
        let model = raw.spec.model.as_mut().unwrap();
        model.engine.get_or_insert_default().args = args.iter().map(ToString::to_string).collect();
        raw
    }

    /// Applies changes as the executor would.
    fn write(all: &mut Owned<ControllerRevision>, raw: &RayClusterFleet) -> HistoryChange {
        let fleet = ValidFleet::new(raw).unwrap();
        let change = History::new(&fleet, all).change(raw, &[]);
        if let Some(record) = &change.create {
            all.insert(Key::of(record), record.clone());
        }
        if let Some((name, number)) = &change.renumber {
            let key = Key::new("n", name);
            let record = ControllerRevision { revision: *number, ..(*all[&key]).clone() };
            all.insert(key, record);
        }
        for name in &change.delete {
            all.remove(&Key::new("n", name));
        }
        change
    }

    #[test]
    fn each_revision_is_recorded_once_and_numbered() {
        let mut all = Owned::default();
        assert!(write(&mut all, &with_args(&["--a"])).create.is_some());
        assert_eq!(write(&mut all, &with_args(&["--a"])), HistoryChange::default());
        write(&mut all, &with_args(&["--b"]));
        let mut numbers: Vec<i64> = all.values().map(|record| record.revision).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn a_revision_that_is_wanted_again_becomes_the_newest() {
        let mut all = Owned::default();
        write(&mut all, &with_args(&["--a"]));
        write(&mut all, &with_args(&["--b"]));
        let change = write(&mut all, &with_args(&["--a"]));
        assert_eq!(change.renumber.unwrap().1, 3);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn old_revisions_beyond_the_limit_go_oldest_first() {
        let mut all = Owned::default();
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
        let mut all = Owned::default();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let mut new = with_args(&["--b"]);
        new.spec.replicas = Some(7);
        let records = Records::of(&new, &all);
        let then = records.fleet_at(&new, &wanted).unwrap();
        assert_eq!(
            (then.replicas, &then.revision, then.model.unwrap().args),
            (7, &wanted, vec!["--a".into()])
        );
        assert_eq!(records.fleet_at(&new, &"no/such".into()), None);
        let other = Records::new("n", "f", "another uid", &all);
        assert_eq!(other.fleet_at(&new, &wanted), None);
        assert!(
            records.has_pods(&wanted.pod) && !records.has_pods(&"no".into()) && !other.has_pods(&wanted.pod)
        );
    }

    /// The fleet as another CRD may have stored it.
    fn stored(raw: &RayClusterFleet, field: &str, value: &Value) -> RayClusterFleet {
        let mut fleet = serde_json::to_value(raw).unwrap();
        fleet["spec"][field] = value.clone();
        serde_json::from_value(fleet).unwrap()
    }

    #[test]
    fn an_earlier_revision_is_found_whatever_is_wrong_with_the_spec_of_now() {
        let mut all = Owned::default();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let wrongs: [fn(&mut RayClusterFleet); 8] = [
            |raw| *raw = stored(raw, "replicas", &json!("two")),
            |raw| *raw = stored(raw, "strategy", &json!({"type": "OnDelete"})),
            |raw| *raw = stored(raw, "template", &json!("none")),
            |raw| raw.spec.template.spec = json!({}).into(),
            |raw| raw.spec.model.as_mut().unwrap().parallelism.tensor = 0,
            |raw| raw.spec.replicas = Some(-1),
            |raw| raw.spec.selector = serde_json::from_value(json!({"matchLabels": {"a": "b"}})).unwrap(),
            |raw| raw.spec.drain = serde_json::from_value(json!({"timeout": "soon"})).unwrap(),
        ];
        for (number, wrong) in wrongs.into_iter().enumerate() {
            let mut raw = with_args(&["--b"]);
            wrong(&mut raw);
            assert!(ValidFleet::new(&raw).is_err(), "{number} is not wrong");
            let then = Records::of(&raw, &all).fleet_at(&raw, &wanted);
            assert_eq!(then.map(|then| then.revision), Some(wanted.clone()), "{number}");
        }
    }

    #[test]
    fn a_record_as_it_is_read_is_as_good_as_it_was_made() {
        let mut all = Owned::default();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let wanted = ValidFleet::new(&old).unwrap().revision;
        let read = |record: &Arc<ControllerRevision>| {
            let text = serde_json::to_string(&**record).unwrap();
            crate::kubernetes::Watched::read(&text).unwrap().unwrap()
        };
        let read: Owned<ControllerRevision> = all.values().map(read).collect();
        assert!(read.values().all(|record| record.data.as_ref().unwrap().0.is_string()));
        let now = with_args(&["--b"]);
        let records = Records::of(&now, &read);
        assert_eq!(records.fleet_at(&now, &wanted).unwrap().revision, wanted);
        assert_eq!(records.newest(&now).unwrap().spec.model, old.spec.model);
        let fleet = ValidFleet::new(&now).unwrap();
        let model = History::new(&fleet, &read).model(wanted.engine.as_ref().unwrap());
        assert_eq!(model.unwrap().args, ["--a"]);
    }

    #[test]
    fn a_revision_with_more_rules_than_are_taken_now_is_looked_after() {
        let mut old = with_args(&["--a"]);
        let tolerations: Vec<Value> = (0..700).map(|n| json!({"key": format!("taint-{n}")})).collect();
        old.spec.template.spec["headGroupSpec"]["template"]["spec"]["tolerations"] = json!(tolerations);
        let fleet = ValidFleet::recorded(&old).unwrap();
        let record = History::new(&fleet, &Owned::default()).change(&old, &[]).create.unwrap();
        let all = Owned::from_iter([record]);
        assert_eq!(ValidFleet::new(&old).unwrap_err().len(), 1, "a change to it would be refused");
        let then = Records::of(&old, &all).fleet_at(&old, &fleet.revision).unwrap();
        assert_eq!(then.revision, fleet.revision);
        let now = ValidFleet::new(&with_args(&["--b"])).unwrap();
        let model = History::new(&now, &all).model(fleet.revision.engine.as_ref().unwrap());
        assert_eq!(model.unwrap().args, ["--a"]);
    }

    #[test]
    fn an_older_engine_finds_its_model() {
        let mut all = Owned::default();
        let old = with_args(&["--a"]);
        write(&mut all, &old);
        let old_engine = ValidFleet::new(&old).unwrap().revision.engine.unwrap();
        let fleet = ValidFleet::new(&with_args(&["--b"])).unwrap();
        let history = History::new(&fleet, &all);
        assert_eq!(history.model(&old_engine).unwrap().args, ["--a"]);
        assert_eq!(history.model(&"none".into()), None);
    }
}
