//! Validation of names and labels.

use serde_json::{Value, json};

use super::error::FieldError;
use super::{Kind, fields};

const LABEL_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Invalid names and labels of an object.
pub(super) fn faults(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let name = fields::name(object);
    if name.is_empty() {
        faults.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if let Some(rule) = wrong_name(kind, name) {
        faults.push(FieldError::invalid("metadata.name", &json!(name), rule));
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    for value in labels.into_iter().flat_map(serde_json::Map::values) {
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            faults.push(FieldError::invalid("metadata.labels", value, "must be no more than 63 characters"));
        } else if !is_label_value(text) {
            faults.push(FieldError::invalid("metadata.labels", value, LABEL_RULE));
        }
    }
    faults
}

fn wrong_name(kind: &Kind, name: &str) -> Option<&'static str> {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |part: &str| {
        part.starts_with(lower) && part.ends_with(lower) && part.chars().all(|c| lower(c) || c == '-')
    };
    match *kind {
        Kind::SERVICE if name.len() > 63 => Some("must be no more than 63 characters"),
        Kind::SERVICE => {
            (!label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase())).then_some(SERVICE_RULE)
        }
        _ if name.len() > 253 => Some("must be no more than 253 characters"),
        _ => (!name.split('.').all(label)).then_some(SUBDOMAIN_RULE),
    }
}

fn is_label_value(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
            && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(kind: &Kind, object: &Value) -> Vec<String> {
        faults(kind, object).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn valid_names_and_labels_pass() {
        let object = json!({"metadata": {"name": "a-1.b", "labels": {"a": "B_c.1", "empty": ""}}});
        assert!(faults(&Kind::POD, &object).is_empty());
    }

    #[test]
    fn invalid_names_and_labels_are_refused_by_field() {
        let object = json!({"metadata": {"name": "A", "labels": {"a": "-"}}});
        assert_eq!(fields_of(&Kind::POD, &object), ["metadata.name", "metadata.labels"]);
        assert_eq!(fields_of(&Kind::SERVICE, &json!({"metadata": {"name": "1a"}})), ["metadata.name"]);
        let long = json!({"metadata": {"name": "a", "labels": {"a": "x".repeat(64)}}});
        assert_eq!(fields_of(&Kind::POD, &long), ["metadata.labels"]);
    }
}
