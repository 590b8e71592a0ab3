//! What is said of a field that its type does not have, and of a value of another type. Who finds it is [`super::fields`] and
//! [`super::typed`].

use serde_json::Value;

use crate::finding::Findings;
use crate::read::Object;
use crate::rule::Rule;

/// Says that a field is dropped; `known`: the names of those that there are.
pub(super) fn dropped(object: &Object, field: &str, known: &str, findings: &mut Findings) {
    let cure = if known.is_empty() {
        "correct its name or its place, or take it out".to_owned()
    } else {
        format!("correct its name or its place, or take it out; there are: {known}")
    };
    findings.push(Rule::DroppedField, (object, field), format!("{field}: there is no such field"), cure);
}

/// Says that a value has another type than its field; which value, if that is known.
pub(super) fn wrong(
    object: &Object,
    path: &str,
    problem: &str,
    value: Option<&Value>,
    findings: &mut Findings,
) {
    let text = value.is_some_and(|value| value.is_number() || value.is_boolean());
    let cure =
        if text && problem.contains("string") { "put the value in quotes" } else { "correct the value" };
    let is = value.map(|value| format!(", is `{value}`")).unwrap_or_default();
    findings.push(Rule::WrongType, (object, path), format!("{path}: {problem}{is}"), cure);
}
