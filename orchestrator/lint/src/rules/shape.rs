//! What is wrong with a document before anybody asks what it is about: keys twice, no kind, no name.

use std::collections::BTreeSet;

use rayfleet_api::names;
use serde_json::Value;

use crate::finding::Findings;
use crate::node::{Kind, Node};
use crate::place::Place;
use crate::read::{Manifest, Object};
use crate::rule::Rule;
use crate::workload::{LWS_GROUP, LWS_KIND};

/// Most kinds that are named of those which are not checked.
const MOST_KINDS: usize = 5;

/// API groups of which an object without a name is refused. Files of tools have an `apiVersion` too, and often no name.
const NAMED: [&str; 6] = ["", "apps", "policy", "ray.io", names::GROUP, LWS_GROUP];

/// Whether the rules look at an object.
fn is_checked(object: &Object) -> bool {
    let beside = [("", "Service"), ("policy", "PodDisruptionBudget"), ("", "PersistentVolumeClaim")];
    is_workload(object) || beside.iter().any(|(group, kind)| object.is(group, kind))
}

fn is_workload(object: &Object) -> bool {
    object.is(names::GROUP, names::KIND) || object.is(LWS_GROUP, LWS_KIND)
}

/// Says of a file in which there is nothing for the rules that this is so, and not that all is well.
pub(super) fn looked_at(manifest: &Manifest, findings: &mut Findings) {
    for file in 0..manifest.files {
        let of_file = || manifest.objects.iter().filter(move |object| object.file == file);
        let of_ray = |object: &Object| object.api_version().starts_with("ray.io/");
        if of_file().any(is_workload) || (of_file().any(is_checked) && !of_file().any(of_ray)) {
            continue;
        }
        let kinds: BTreeSet<&str> =
            of_file().filter(|object| !is_checked(object)).map(Object::kind).collect();
        let kinds: Vec<&str> = kinds.into_iter().filter(|kind| !kind.is_empty()).take(MOST_KINDS).collect();
        let end = match kinds.as_slice() {
            [] => String::new(),
            [kind] => format!(": {kind} is not checked"),
            _ => format!(": {} are not checked", kinds.join(", ")),
        };
        let what = format!("no fleet or LeaderWorkerSet in it{end}");
        let cure = "give the manifest of a RayClusterFleet or a LeaderWorkerSet";
        let nothing = Object {
            file,
            document: 1,
            node: Node { at: Place::new(1, 1), kind: Kind::Scalar(Value::Null) },
            value: Value::Null,
        };
        findings.push(Rule::NothingChecked, (&nothing, ""), what, cure);
    }
}

pub(super) fn check(object: &Object, manifest: &Manifest, findings: &mut Findings) {
    duplicates(object, &object.node, "", findings);
    let is_object = !object.api_version().is_empty() || !object.kind().is_empty();
    let beside = || manifest.objects.iter().filter(|other| other.file == object.file);
    // Values of a chart, or a file of another tool.
    if !is_object && !beside().any(is_checked) {
        return;
    }
    let named = !object.name().is_empty() || !object.value["metadata"]["generateName"].is_null();
    let missing = [
        ("apiVersion", !object.api_version().is_empty()),
        ("kind", !object.kind().is_empty()),
        ("metadata.name", named),
    ];
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    let needed = |field: &str| field != "metadata.name" || NAMED.contains(&group);
    for (field, _) in missing.into_iter().filter(|(field, there)| !there && needed(field)) {
        let what = format!("has no {field}");
        findings.push(Rule::NotAnObject, (object, field), what, format!("write {field}"));
    }
}

fn duplicates(object: &Object, node: &Node, path: &str, findings: &mut Findings) {
    match &node.kind {
        Kind::Scalar(_) | Kind::Beyond(_) => {}
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                duplicates(object, item, &format!("{path}[{index}]"), findings);
            }
        }
        Kind::Object(fields) => {
            let mut first = std::collections::BTreeMap::new();
            for field in fields {
                let below = below(path, &field.key);
                if let Some(before) = first.insert(field.key.as_str(), field.at) {
                    let what = format!("{below} is written twice, first in line {}", before.line);
                    let cure = "keep one of the two";
                    findings.push_at(Rule::DuplicateKey, (object, &below, field.at), &what, cure);
                }
                duplicates(object, &field.node, &below, findings);
            }
        }
    }
}

/// A path and a field below it.
pub(super) fn below(path: &str, field: &str) -> String {
    match (path.is_empty(), field.contains(['.', '/'])) {
        (_, true) => format!("{path}[{field}]"),
        (true, false) => field.to_owned(),
        (false, false) => format!("{path}.{field}"),
    }
}
