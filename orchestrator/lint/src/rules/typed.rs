//! Values of Kubernetes' own types: what is gone once a value was read into its type and written again is a field that the type does not
//! have, and what cannot be read has a value of another type somewhere.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::misfit::{dropped, wrong};
use super::shape::below;
use crate::finding::Findings;
use crate::read::Object;
use crate::rule::Rule;

/// Most fields and entries of a value in which a wrong one is looked for.
const MOST_SEARCHED: usize = 500;

/// Holds a value to a type of Kubernetes.
pub(super) fn typed<T: DeserializeOwned + Serialize>(
    object: &Object,
    path: &str,
    value: &Value,
    findings: &mut Findings,
) {
    if value.is_null() {
        return;
    }
    match T::deserialize(value).and_then(|read| serde_json::to_value(&read)) {
        Ok(kept) => lost(object, path, value, &kept, findings),
        Err(error) => {
            let (field, culprit) = culprit::<T>(path, value, findings);
            wrong(object, &field, &format!("cannot be read: {error}"), culprit.as_ref(), findings);
        }
    }
}

fn lost(object: &Object, path: &str, given: &Value, kept: &Value, findings: &mut Findings) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (name, value) in given {
                let field = below(path, name);
                match kept.get(name) {
                    Some(kept) => lost(object, &field, value, kept, findings),
                    None if is_empty(value) => {}
                    None => dropped(object, &field, "", findings),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) => {
            for (index, (given, kept)) in given.iter().zip(kept).enumerate() {
                lost(object, &format!("{path}[{index}]"), given, kept, findings);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).fold(1, usize::saturating_add),
        Value::Object(fields) => fields.values().map(count).fold(1, usize::saturating_add),
        _ => 1,
    }
}

/// The innermost field without which a value could be read, and its value; without one where it is not looked for any further.
fn culprit<T: DeserializeOwned>(
    path: &str,
    value: &Value,
    findings: &mut Findings,
) -> (String, Option<Value>) {
    let all = count(value);
    if all > MOST_SEARCHED {
        return (path.to_owned(), None);
    }
    let (mut path, mut value, mut around) = (path.to_owned(), value.clone(), Vec::<Step>::new());
    loop {
        // Each step is tried with all that is around it.
        let tries =
            value.as_array().map_or(0, Vec::len).max(value.as_object().map_or(0, serde_json::Map::len));
        if !findings.may_visit(all.saturating_mul(tries), Rule::WrongType) {
            return (path, None);
        }
        let readable = |step: &Step| {
            let whole = around.iter().rev().fold(step.without(), |inner, step| step.with(inner));
            serde_json::from_value::<T>(whole).is_ok()
        };
        let Some(step) = steps(&value).into_iter().find(readable) else { return (path, Some(value)) };
        path = match &step.at {
            At::Field(name) => below(&path, name),
            At::Item(index) => format!("{path}[{index}]"),
        };
        value = step.inner();
        around.push(step);
    }
}

enum At {
    Field(String),
    Item(usize),
}

/// A value, and which part of it is looked at.
struct Step {
    of: Value,
    at: At,
}

fn steps(value: &Value) -> Vec<Step> {
    let step = |at| Step { of: value.clone(), at };
    match value {
        Value::Array(items) => (0..items.len()).map(|index| step(At::Item(index))).collect(),
        Value::Object(fields) => fields.keys().map(|name| step(At::Field(name.clone()))).collect(),
        _ => Vec::new(),
    }
}

impl Step {
    fn with(&self, inner: Value) -> Value {
        let mut of = self.of.clone();
        match &self.at {
            At::Field(name) => of[name] = inner,
            At::Item(index) => of[index] = inner,
        }
        of
    }

    fn inner(&self) -> Value {
        match &self.at {
            At::Field(name) => self.of[name].clone(),
            At::Item(index) => self.of[index].clone(),
        }
    }

    fn without(&self) -> Value {
        match (&self.at, &self.of) {
            (At::Item(index), Value::Array(items)) => {
                let others = items.iter().enumerate().filter(|(at, _)| at != index);
                others.map(|(_, item)| item.clone()).collect()
            }
            _ => self.with(Value::Null),
        }
    }
}
