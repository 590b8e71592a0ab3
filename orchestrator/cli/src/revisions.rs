//! The revisions of a fleet from its `ControllerRevision`s, and the target of an undo. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::names::ANNOTATION_CHANGE_CAUSE;
use rayfleet_api::revision::{Revision as Hash, revision};
use rayfleet_api::spec::{Model, RayClusterTemplate};
use rayfleet_cli_kit::CliError;
use serde_json::Value;

/// Field of a bundle's fleets, and of the data of their `ControllerRevision`s: the hash of template and model before something of
/// them was redacted. No API server keeps a field of this name in a fleet, and without the fleet's the others are not read.
pub(crate) const RECORDED: &str = "recordedRevision";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) cause: Option<String>,
    /// Template as written by the user.
    pub(crate) template: Value,
    /// Model as written by the user; null without one.
    pub(crate) model: Value,
    /// Its hash, if a bundle says it.
    pub(crate) recorded: Option<Hash>,
}

impl Revision {
    /// Reads a `ControllerRevision`.
    pub(crate) fn read(stored: &ControllerRevision) -> Self {
        let spec = stored.data.as_ref().map_or(&Value::Null, |data| &data.0["spec"]);
        Self {
            number: stored.revision,
            name: stored.name_any(),
            created: stored.metadata.creation_timestamp.as_ref().map(|time| time.0),
            cause: stored.annotations().get(ANNOTATION_CHANGE_CAUSE).cloned(),
            template: spec["template"].clone(),
            model: spec["model"].clone(),
            recorded: None,
        }
    }

    /// Hash of template and model. An error if the revision cannot be parsed: it cannot be the target of an
    /// undo then.
    pub(crate) fn hash(&self) -> Result<Hash, CliError> {
        if let Some(recorded) = &self.recorded {
            return Ok(recorded.clone());
        }
        hash(&self.template, &self.model).map_err(|problem| {
            CliError::plain(format!(
                "controllerrevisions.apps \"{}\" (revision {}): {problem}",
                self.name, self.number
            ))
        })
    }
}

/// The revisions that a fleet owns, oldest first.
pub(crate) fn owned(stored: &[ControllerRevision], fleet: &DynamicObject) -> Vec<Revision> {
    let uid = fleet.uid().unwrap_or_default();
    let mut revisions: Vec<Revision> = stored
        .iter()
        .filter(|revision| revision.owner_references().iter().any(|owner| owner.uid == uid))
        .map(|stored| Revision {
            recorded: recorded(fleet).and_then(|_| said(&stored.data.as_ref()?.0)),
            ..Revision::read(stored)
        })
        .collect();
    revisions.sort_by_key(|revision| revision.number);
    revisions
}

/// The revision that the fleet's spec asks for.
pub(crate) fn current(fleet: &DynamicObject) -> Result<Hash, CliError> {
    if let Some(recorded) = recorded(fleet) {
        return Ok(recorded);
    }
    let spec = &fleet.data["spec"];
    hash(&spec["template"], &spec["model"]).map_err(|problem| {
        CliError::plain(format!("{} \"{}\": {problem}", crate::error::RESOURCE, fleet.name_any()))
    })
}

/// The hash that a bundle says of a fleet.
pub(crate) fn recorded(fleet: &DynamicObject) -> Option<Hash> {
    said(&fleet.data)
}

fn said(data: &Value) -> Option<Hash> {
    data[RECORDED].as_str().filter(|hash| !hash.is_empty()).map(Hash::from)
}

/// The hash of a template and a model as a user writes them, or what cannot be read of them.
pub(crate) fn hash(template: &Value, model: &Value) -> Result<Hash, String> {
    let template: RayClusterTemplate = serde_json::from_value(template.clone())
        .map_err(|error| format!("spec.template cannot be read: {error}"))?;
    let model: Option<Model> = serde_json::from_value(model.clone())
        .map_err(|error| format!("spec.model cannot be read: {error}"))?;
    Ok(revision(&template, model.as_ref()))
}

/// The result of choosing an undo's target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target<'a> {
    /// The fleet has this revision already.
    Already(i64),
    /// Write this one.
    To(&'a Revision),
}

/// The target of an undo: the given number, or the newest revision that differs from the fleet's spec.
pub(crate) fn target<'a>(
    namespace: &str,
    fleet: &str,
    revisions: &'a [Revision],
    current: &Hash,
    wanted: Option<i64>,
) -> Result<Target<'a>, CliError> {
    if let Some(wanted) = wanted {
        let Some(found) = revisions.iter().find(|revision| revision.number == wanted) else {
            let known: Vec<String> = revisions.iter().map(|revision| revision.number.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(CliError::failed(
                format!("fleet \"{fleet}\" has no revision {wanted}; it has: {known}"),
                format!("see what they are: kubectl rayfleet rollout history {fleet} -n {namespace}"),
            ));
        };
        return Ok(if found.hash()? == *current { Target::Already(wanted) } else { Target::To(found) });
    }
    for revision in revisions.iter().rev() {
        if revision.hash()? != *current {
            return Ok(Target::To(revision));
        }
    }
    Err(CliError::failed(
        format!("fleet \"{fleet}\" has no earlier revision to go back to"),
        format!(
            "spec.revisionHistoryLimit says how many are kept; see: kubectl rayfleet rollout history {fleet} -n {namespace}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn revision(number: i64, image: &str, model: Value) -> Revision {
        Revision {
            number,
            name: format!("llama-{number}"),
            created: None,
            cause: None,
            template: sample::template(image),
            model,
            recorded: None,
        }
    }

    fn history() -> Vec<Revision> {
        vec![
            revision(1, "ray:1", json!(null)),
            revision(2, "ray:1", sample::model(&[])),
            revision(4, "ray:2", sample::model(&[])),
        ]
    }

    fn number(target: &Target<'_>) -> i64 {
        match target {
            Target::To(revision) => revision.number,
            Target::Already(number) => -number,
        }
    }

    fn at(revision: &Revision) -> Hash {
        revision.hash().unwrap()
    }

    #[test]
    fn the_newest_other_revision_is_chosen() {
        let history = history();
        let target =
            |current: &Revision| number(&target("serving", "llama", &history, &at(current), None).unwrap());
        assert_eq!(target(&history[2]), 2);
        assert_eq!(target(&history[1]), 4);
        assert_eq!(target(&revision(9, "ray:9", json!(null))), 4);
    }

    #[test]
    fn a_given_number_is_used() {
        let history = history();
        let target = |wanted| target("serving", "llama", &history, &at(&history[2]), Some(wanted));
        assert_eq!(number(&target(1).unwrap()), 1);
        assert_eq!(target(4).unwrap(), Target::Already(4));
        insta::assert_snapshot!(target(3).unwrap_err(), @r#"
        error: fleet "llama" has no revision 3; it has: 1, 2, 4
        cure:  see what they are: kubectl rayfleet rollout history llama -n serving
        "#);
    }

    #[test]
    fn an_undo_without_a_target_is_refused() {
        let history = &history()[..1];
        let error = target("serving", "llama", history, &at(&history[0]), None).unwrap_err();
        assert!(error.to_string().contains("no earlier revision"), "{error}");
    }

    #[test]
    fn a_revision_that_cannot_be_parsed_is_named() {
        let broken = revision(5, "ray:1", json!({"name": 7}));
        let error = broken.hash().unwrap_err().to_string();
        assert!(error.contains("controllerrevisions.apps \"llama-5\" (revision 5): spec.model"), "{error}");
    }

    #[test]
    fn only_revisions_owned_by_the_fleet_count() {
        let stored = |name: &str, uid: &str, number: i64| -> ControllerRevision {
            serde_json::from_value(json!({
                "metadata": {"name": name, "ownerReferences": [
                    {"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "name": "llama", "uid": uid}
                ]},
                "revision": number,
                "data": {"spec": {"template": {"spec": {}}, "model": null}}
            }))
            .unwrap()
        };
        let all = [stored("b", "fleet-uid", 2), stored("x", "another", 9), stored("a", "fleet-uid", 1)];
        let numbers: Vec<i64> =
            owned(&all, &sample::upgrading()).iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, [1, 2]);
    }
}
