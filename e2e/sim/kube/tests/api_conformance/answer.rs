//! An answer, normalized by removing what differs between clusters.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::step::Step;

/// Values kept from earlier answers.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<String, String>);

impl Kept {
    pub(crate) fn keep(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Replaces names by their values.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }

    pub(crate) fn fill_all(&self, value: &Value) -> Value {
        let text = self.fill(&value.to_string());
        serde_json::from_str(&text).unwrap()
    }

    /// Replaces values by their names: whole values, and within a text those that are long enough not to
    /// match by chance.
    fn hide(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                if let Some((name, _)) = self.0.iter().find(|(_, value)| *value == text) {
                    return json!(format!("${{{name}}}"));
                }
                let long = self.0.iter().filter(|(_, value)| value.len() >= 10);
                json!(
                    long.fold(text.clone(), |text, (name, value)| text
                        .replace(value, &format!("${{{name}}}")))
                )
            }
            Value::Array(items) => items.iter().map(|item| self.hide(item)).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), self.hide(value))).collect())
            }
            other => other.clone(),
        }
    }
}

/// The normalized answer to a request.
pub(crate) fn of(step: &Step, code: u16, text: &str, kept: &mut Kept) -> Value {
    let Ok(body) = serde_json::from_str::<Value>(text) else { return json!({"code": code, "text": text}) };
    for (name, pointer) in &step.kept {
        if let Some(value) = body.pointer(pointer).and_then(Value::as_str) {
            // The first name of a value stays its name, so that an unchanged version is recognizable.
            if !kept.0.values().any(|known| known == value) {
                kept.keep(name, value);
            }
        }
    }
    let mut answer = Map::new();
    answer.insert("code".to_owned(), json!(code));
    if code >= 400 {
        failure(&body, &mut answer);
    }
    for pointer in &step.shown {
        answer.insert((*pointer).to_owned(), show(&body, pointer));
    }
    kept.hide(&Value::Object(answer))
}

fn failure(body: &Value, answer: &mut Map<String, Value>) {
    if let Some(reason) = body.get("reason") {
        answer.insert("reason".to_owned(), reason.clone());
    }
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(details) = body.get("details") {
        let about = [text(details, "kind"), text(details, "group"), text(details, "name")];
        let about: Vec<String> = about.into_iter().filter(|word| !word.is_empty()).collect();
        if !about.is_empty() {
            answer.insert("about".to_owned(), json!(about.join(" ")));
        }
        if let Some(causes) = details.get("causes").and_then(Value::as_array) {
            let mut causes: Vec<String> = causes
                .iter()
                .map(|cause| format!("{} {}", text(cause, "field"), text(cause, "reason")))
                .collect();
            causes.sort();
            causes.dedup();
            answer.insert("causes".to_owned(), json!(causes));
        }
    }
}

/// The events of a watch: type, name, and the fields to show. Bookmarks are ignored, except the one that
/// ends the initial list, because a server sends them at any time.
pub(crate) fn of_watch(step: &Step, code: u16, text: &str, kept: &mut Kept) -> Value {
    if code != 200 {
        return of(step, code, text, kept);
    }
    let mut events = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let (kind, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
        let said = match kind {
            "ERROR" => json!(["ERROR", object["code"], object["reason"]]),
            "BOOKMARK" if object.pointer("/metadata/annotations/k8s.io~1initial-events-end").is_some() => {
                json!(["BOOKMARK"])
            }
            "BOOKMARK" => continue,
            _ => {
                let mut said = vec![json!(kind), object["metadata"]["name"].clone()];
                said.extend(step.shown.iter().map(|pointer| show(object, pointer)));
                json!(said)
            }
        };
        events.push(kept.hide(&said));
    }
    json!({"code": code, "events": events})
}

fn show(body: &Value, pointer: &str) -> Value {
    if let Some(pointer) = pointer.strip_suffix('?') {
        return json!(body.pointer(pointer).is_some_and(|value| !value.is_null()));
    }
    if let Some((list, inner)) = pointer.split_once("/*") {
        let items = body.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
        return items.iter().map(|item| show(item, inner)).collect();
    }
    body.pointer(pointer).cloned().unwrap_or_else(|| json!("absent"))
}
