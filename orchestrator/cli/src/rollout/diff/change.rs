//! The fields in which two contents differ, and what each does to groups, by the function that the orchestrator goes by. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use rayfleet_api::revision::{Revision as Hash, RevisionMatch};
use serde_json::Value;

use super::side::Side;
use crate::revisions;

/// Fields that are judged, each with a hash over everything: a revision may have 20,000 values.
const MOST: usize = 64;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As `template.spec.workerGroupSpecs[0].replicas`.
    pub(super) path: String,
    pub(super) effect: RevisionMatch,
}

/// The changes of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) all: Vec<Change>,
    /// There are more.
    pub(super) more: bool,
    /// What they do together.
    pub(super) effect: RevisionMatch,
}

/// A step into a value.
#[derive(Clone, Debug)]
enum Step<'v> {
    Field(&'v str),
    Item(usize),
}

/// A field that differs, and its value on the other side.
struct Difference<'v> {
    path: Vec<Step<'v>>,
    to: Option<&'v Value>,
}

/// All that differs.
pub(super) fn changes(from: &Side, to: &Side) -> Changes {
    let effect = effect(&from.hash, &to.hash);
    let mut found = Vec::new();
    walk(&mut Vec::new(), &from.content, &to.content, &mut found);
    let more = found.len() > MOST;
    found.truncate(MOST);
    // As the content is here: of a bundle the hash is that of what was redacted.
    let before = revisions::hash(&from.content["template"], &from.content["model"]);
    let before = before.as_ref().unwrap_or(&from.hash);
    let judge = |difference: &Difference<'_>| {
        let alone = with(&from.content, difference);
        let hash = revisions::hash(&alone["template"], &alone["model"]);
        // A field that makes sense only with others does what all do.
        let effect = hash.map_or(effect, |hash| self::effect(before, &hash));
        Change { path: spelled(&difference.path), effect }
    };
    Changes { all: found.iter().map(judge).collect(), more, effect }
}

/// What a group of one revision needs to be of another one.
fn effect(from: &Hash, to: &Hash) -> RevisionMatch {
    RevisionMatch::of(&from.pod, from.engine.as_ref(), to)
}

/// Collects the deepest values that differ. Lists of different lengths differ as a whole.
fn walk<'v>(path: &mut Vec<Step<'v>>, from: &'v Value, to: &'v Value, found: &mut Vec<Difference<'v>>) {
    if found.len() > MOST || from == to {
        return;
    }
    match (from, to) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                path.push(Step::Field(key));
                match (old.get(key), new.get(key)) {
                    (Some(from), Some(to)) => walk(path, from, to, found),
                    (_, to) => found.push(Difference { path: path.clone(), to }),
                }
                path.pop();
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (at, (from, to)) in old.iter().zip(new).enumerate() {
                path.push(Step::Item(at));
                walk(path, from, to, found);
                path.pop();
            }
        }
        _ => found.push(Difference { path: path.clone(), to: Some(to) }),
    }
}

/// The content with this one field as on the other side.
fn with(from: &Value, difference: &Difference<'_>) -> Value {
    let mut content = from.clone();
    let Some((last, parents)) = difference.path.split_last() else { return content };
    let mut at = Some(&mut content);
    for step in parents {
        at = at.and_then(|value| match step {
            Step::Field(name) => value.get_mut(*name),
            Step::Item(index) => value.get_mut(*index),
        });
    }
    match (at, last, difference.to) {
        (Some(Value::Object(fields)), Step::Field(name), Some(to)) => {
            fields.insert((*name).to_owned(), to.clone());
        }
        (Some(Value::Object(fields)), Step::Field(name), None) => {
            fields.remove(*name);
        }
        (Some(Value::Array(items)), Step::Item(index), Some(to)) => {
            if let Some(item) = items.get_mut(*index) {
                item.clone_from(to);
            }
        }
        _ => {}
    }
    content
}

fn spelled(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Field(name) => drop(write!(text, "[{}]", Value::from(*name))),
            Step::Item(index) => drop(write!(text, "[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    pub(super) fn side(content: Value) -> Side {
        let hash = revisions::hash(&content["template"], &content["model"]).unwrap();
        Side { label: String::new(), content, hash }
    }

    /// The sample's content after a change, against the sample's.
    fn changed(edit: impl FnOnce(&mut Value)) -> Vec<(String, RevisionMatch)> {
        let before = json!({"template": sample::template("ray:1"), "model": sample::model(&["--x"])});
        let mut after = before.clone();
        edit(&mut after);
        let changes = changes(&side(before), &side(after));
        changes.all.into_iter().map(|change| (change.path, change.effect)).collect()
    }

    #[test]
    fn a_field_does_what_its_hash_says() {
        use RevisionMatch::{EngineOutdated, PodsOutdated, UpToDate};
        let image = "template.spec.workerGroupSpecs[0].template.spec.containers[0].image";
        let all = changed(|content| {
            content["template"]["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["image"] =
                json!("ray:2");
            // A default, written out.
            content["template"]["spec"]["workerGroupSpecs"][0]["numOfHosts"] = json!(1);
            content["model"]["engine"]["args"] = json!(["--y"]);
            content["model"]["startTimeout"] = json!("1h");
            content["model"]["port"] = json!(9000);
        });
        assert_eq!(
            all,
            [
                ("model.engine.args[0]".to_owned(), EngineOutdated),
                ("model.port".to_owned(), PodsOutdated),
                ("model.startTimeout".to_owned(), UpToDate),
                ("template.spec.workerGroupSpecs[0].numOfHosts".to_owned(), UpToDate),
                (image.to_owned(), PodsOutdated),
            ]
        );
    }

    #[test]
    fn a_model_that_comes_or_goes_replaces_groups() {
        let gone = changed(|content| drop(content.as_object_mut().unwrap().remove("model")));
        assert_eq!(gone, [("model".to_owned(), RevisionMatch::PodsOutdated)]);
        let with = json!({"template": sample::template("ray:1"), "model": sample::model(&[])});
        let without = json!({"template": sample::template("ray:1")});
        let changes = changes(&side(without), &side(with));
        assert_eq!(changes.all[0].effect, RevisionMatch::PodsOutdated);
    }

    #[test]
    fn keys_of_any_text_are_spelled_so_that_they_can_be_told_apart() {
        let all = changed(|content| {
            content["template"]["metadata"]["labels"]["a.b/c\n"] = json!("x");
            content["model"]["engine"]["args"] = json!([]);
        });
        assert_eq!(all[0].0, "model.engine.args");
        assert_eq!(all[1].0, r#"template.metadata.labels["a.b/c\n"]"#);
    }

    #[test]
    fn many_changes_are_judged_up_to_a_bound() {
        let label = |number: usize| (format!("l{number}"), json!("x"));
        let before = json!({"template": sample::template("ray:1")});
        let mut after = before.clone();
        after["template"]["metadata"]["labels"].as_object_mut().unwrap().extend((0..1000).map(label));
        let changes = changes(&side(before), &side(after));
        assert_eq!(
            (changes.all.len(), changes.more, changes.effect),
            (MOST, true, RevisionMatch::PodsOutdated)
        );
    }
}
