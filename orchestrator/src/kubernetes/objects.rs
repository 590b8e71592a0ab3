//! Objects as they are read from what the API server sends: lists, watches, answers to writes. Only what is used is named; the rest is
//! skipped while it is read. So nothing that somebody puts into an object keeps it, or the others of its page, from being read, and
//! nothing that is not used is ever in memory. Times are texts until somebody asks for them: a tenant may write any into `managedFields`,
//! events and the like, also such that no library reads. Pure; which objects are asked for is said in `watches`.

mod kinds;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use rayfleet_api::names;
use rayfleet_text::cut;
use serde::Deserialize;

pub(super) use self::kinds::{Event, Object, any};
use super::Key;
use super::index::Indexed;

/// Longest text of an object (a message, a reason) that is kept, in bytes.
const LONGEST_TEXT: usize = 512;

/// A kind that is read from the API server.
pub(crate) trait Watched: Indexed {
    /// Reads one object. `None`: it is none that is kept.
    ///
    /// # Errors
    /// It is not what an object of this kind looks like. The error may quote the object: it is not to be logged.
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error>;
}

/// The metadata that is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) generation: Option<i64>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) owner_references: Option<Vec<OwnerReference>>,
    pub(crate) finalizers: Option<Vec<String>>,
    pub(crate) creation_timestamp: Option<String>,
    pub(crate) deletion_timestamp: Option<String>,
    pub(crate) deletion_grace_period_seconds: Option<i64>,
}

impl Meta {
    pub(super) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    pub(super) fn version(&self) -> u64 {
        version(Some(&self.resource_version))
    }

    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// The owner that controls it.
    pub(super) fn controller(&self) -> Option<&OwnerReference> {
        controller(self.owner_references.as_deref().unwrap_or_default())
    }

    /// Whether a fleet made it, as far as it says itself.
    fn is_of_a_fleet(&self) -> bool {
        self.controller().is_some_and(is_fleet)
    }

    /// In Kubernetes' own form.
    fn into_object_meta(self) -> ObjectMeta {
        let text = |text: String| (!text.is_empty()).then_some(text);
        ObjectMeta {
            name: text(self.name),
            namespace: text(self.namespace),
            uid: text(self.uid),
            resource_version: text(self.resource_version),
            generation: self.generation,
            labels: self.labels,
            annotations: self.annotations,
            owner_references: self.owner_references,
            finalizers: self.finalizers,
            creation_timestamp: self.creation_timestamp.as_deref().and_then(time).map(Time),
            // That it ends counts, even where nobody can tell since when.
            deletion_timestamp: self.deletion_timestamp.map(|text| Time(time(&text).unwrap_or_default())),
            deletion_grace_period_seconds: self.deletion_grace_period_seconds,
            ..ObjectMeta::default()
        }
    }
}

/// The owner that controls an object, of those that it names.
pub(super) fn controller(owners: &[OwnerReference]) -> Option<&OwnerReference> {
    owners.iter().find(|owner| owner.controller == Some(true))
}

/// Whether an owner is a fleet.
pub(super) fn is_fleet(owner: &OwnerReference) -> bool {
    owner.kind == names::KIND && owner.api_version.split('/').next() == Some(names::GROUP)
}

/// A resource version as a number: they rise within one kind. 0: there is none, or none that can be compared.
pub(super) fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A time as Kubernetes writes it; `None` for what is none, or none that can be computed with.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// As much of a text as is kept.
pub(super) fn bounded(text: &str) -> String {
    cut(text, LONGEST_TEXT)
}
