//! Label and field selectors.

use serde_json::Value;

use super::{Kind, Refusal};

#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selector {
    pub(super) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self { labels: parse_labels(labels)?, fields: parse_fields(kind, fields)? })
    }

    pub(super) fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a stored object is selected.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_str());
        let labels_match = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|v| v != value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
        });
        labels_match
            && self.fields.iter().all(|(field, equal, wanted)| (field_of(object, field) == *wanted) == *equal)
    }
}

/// The value of a selectable field; a missing flag is `false`.
fn field_of(object: &Value, field: &str) -> String {
    let pointer = format!("/{}", field.replace('.', "/"));
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ if field == "spec.unschedulable" => "false".to_owned(),
        _ => String::new(),
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, Refusal> {
    let wrong = || Refusal::bad_request(format!("unable to parse requirement: {text}"));
    let mut requirements = Vec::new();
    for part in split_outside_brackets(text) {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let requirement = if let Some((head, values)) = part.split_once('(') {
            let values = values.strip_suffix(')').ok_or_else(wrong)?;
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            match head.split_whitespace().collect::<Vec<_>>().as_slice() {
                [key, "in"] => Requirement::In((*key).to_owned(), values),
                [key, "notin"] => Requirement::NotIn((*key).to_owned(), values),
                _ => return Err(wrong()),
            }
        } else if let Some((key, value)) = part.split_once("!=") {
            Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            Requirement::In(key.trim().to_owned(), vec![value.trim().to_owned()])
        } else if let Some(key) = part.strip_prefix('!') {
            Requirement::Missing(key.trim().to_owned())
        } else {
            Requirement::Exists(part.to_owned())
        };
        requirements.push(requirement);
    }
    Ok(requirements)
}

fn split_outside_brackets(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_i32);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    parts
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(String, bool, String)>, Refusal> {
    let mut requirements = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let split = part.split_once("!=").map(|(key, value)| (key, false, value));
        let split = split.or_else(|| part.split_once("==").map(|(key, value)| (key, true, value)));
        let split = split.or_else(|| part.split_once('=').map(|(key, value)| (key, true, value)));
        let Some((key, equal, value)) = split else {
            return Err(Refusal::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        if !selectable(kind, key) {
            let words = format!(
                "Unable to find \"{}, Resource={}\" that match label selector \"\", field selector \"{text}\": field label not supported: {key}",
                kind.api_version(),
                kind.plural
            );
            return Err(Refusal::bad_request(words));
        }
        requirements.push((key.to_owned(), equal, value.to_owned()));
    }
    Ok(requirements)
}

fn selectable(kind: &Kind, field: &str) -> bool {
    let of_kind: &[&str] = match kind.stored() {
        Kind::POD => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
        Kind::NODE => &["spec.unschedulable"],
        Kind::SECRET => &["type"],
        Kind::SERVICE => &["spec.clusterIP", "spec.type"],
        Kind::NAMESPACE => &["status.phase"],
        Kind::EVENT => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "reason",
            "type",
        ],
        _ => &[],
    };
    matches!(field, "metadata.name" | "metadata.namespace") || of_kind.contains(&field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "a", "tier": "b"}},
            "spec": {"nodeName": "n1"}, "status": {"phase": "Running"},
        });
        Selector::parse(&Kind::POD, labels, fields).unwrap().matches(&pod)
    }

    #[test]
    fn label_selectors_match() {
        for yes in ["", "app=a", "app==a,tier=b", "app in (x, a)", "app", "!none", "app!=x", "none notin (a)"]
        {
            assert!(selects(yes, ""), "{yes:?}");
        }
        for no in ["app=b", "app in (x,y)", "!app", "none", "app!=a", "app notin (a,b)", "app=a,tier=c"] {
            assert!(!selects(no, ""), "{no:?}");
        }
    }

    #[test]
    fn field_selectors_match() {
        assert!(selects("", "spec.nodeName=n1,status.phase!=Failed,metadata.name=p"));
        assert!(!selects("", "metadata.namespace=other"));
    }

    #[test]
    fn an_unsupported_field_selector_is_refused() {
        let refusal = Selector::parse(&Kind::POD, "", "spec.hostname=a").unwrap_err();
        assert_eq!(refusal.code, 400);
        assert!(refusal.message.ends_with("field label not supported: spec.hostname"), "{refusal}");
        assert_eq!(Selector::parse(&Kind::POD, "a in (b", "").unwrap_err().code, 400);
    }
}
