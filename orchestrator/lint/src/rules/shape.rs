//! What is wrong with a document before anybody asks what it is about: keys twice, no kind, no name.

use crate::finding::Findings;
use crate::read::{Kind, Node, Object};
use crate::rule::Rule;

pub(super) fn check(object: &Object, findings: &mut Findings) {
    duplicates(object, &object.node, "", findings);
    let named = !object.name().is_empty() || !object.value["metadata"]["generateName"].is_null();
    let missing = [
        ("apiVersion", !object.api_version().is_empty()),
        ("kind", !object.kind().is_empty()),
        ("metadata.name", named),
    ];
    // A Kustomization has no name.
    let local = object.api_version().starts_with("kustomize.config.k8s.io/");
    for (field, _) in missing.into_iter().filter(|(_, there)| !there && !local) {
        let what = format!("has no {field}");
        findings.push(Rule::NotAnObject, (object, field), what, format!("write {field}"));
    }
}

fn duplicates(object: &Object, node: &Node, path: &str, findings: &mut Findings) {
    match &node.kind {
        Kind::Scalar(_) => {}
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
