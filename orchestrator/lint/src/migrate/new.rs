//! What a migration gives, and how that is written. What it does is in the modules beside this one.

use serde::Serialize;
use serde_json::Value;

use crate::finding::Finding;
use crate::plain::plain;

/// A manifest after its migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// Its objects, in their order.
    pub objects: Vec<New>,
    /// What was changed, left out or not translated, at its place in the manifest as it was.
    pub findings: Vec<Finding>,
}

/// An object after its migration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct New {
    /// The object.
    pub value: Value,
    /// What was done to it, in lines for people; none if it is as it was.
    pub changes: Vec<String>,
}

impl Migrated {
    /// The objects as YAML documents, each with what was done to it as a comment above it. The comments of the manifest are gone.
    ///
    /// # Errors
    /// If an object cannot be written, which would be a bug.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let documents: Result<Vec<String>, _> = self.objects.iter().map(New::yaml).collect();
        Ok(documents?.join("---\n"))
    }
}

impl New {
    fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let mut text = String::new();
        for change in &self.changes {
            text.extend(["# ", &plain(change), "\n"]);
        }
        text.push_str(&serde_saphyr::to_string(&self.value)?);
        Ok(text)
    }
}
