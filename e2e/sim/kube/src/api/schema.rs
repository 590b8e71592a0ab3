//! The structural schema of `manifests/crd.yaml`: defaulting, pruning and validation as on a real server.
//! The CRD's CEL rules are in `rules`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::error::FieldError;

const CRD: &str = include_str!("../../../../../manifests/crd.yaml");

/// A schema with its patterns compiled.
pub(super) struct Schema {
    root: Value,
    patterns: BTreeMap<String, Regex>,
}

/// The schema of a `RayClusterFleet`.
pub(super) fn fleet() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
        // A test reads the file too; an unreadable schema would validate nothing.
        let crd: Value = serde_saphyr::from_str(CRD).unwrap_or_default();
        let root = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default();
        Schema::new(root)
    });
    &SCHEMA
}

impl Schema {
    fn new(root: Value) -> Self {
        let mut patterns = BTreeMap::new();
        gather(&root, &mut patterns);
        Self { root, patterns }
    }

    /// The schema itself.
    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// Prunes unknown fields and fills in defaults.
    pub(super) fn fill(&self, object: &mut Value) {
        let Some(members) = object.as_object_mut() else { return };
        let kept: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), members.remove(name)?)))
            .collect();
        shape(&self.root, object);
        if let Some(members) = object.as_object_mut() {
            members.extend(kept);
        }
    }

    /// Schema violations of an object.
    pub(super) fn faults(&self, object: &Value) -> Vec<FieldError> {
        let mut faults = Vec::new();
        self.value(&self.root, object, "", &mut faults);
        faults
    }

    fn value(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<FieldError>) {
        if value.is_null() {
            return;
        }
        if let Some(wanted) = wrong_type(schema, value) {
            let actual = type_of(value);
            let message = format!(
                "Invalid value: \"{actual}\": {place} in body must be of type {wanted}: \"{actual}\""
            );
            faults.push(FieldError { field: place.to_owned(), reason: "FieldValueTypeInvalid", message });
            return;
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let words: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", words.join(", "));
            faults.push(FieldError { field: place.to_owned(), reason: "FieldValueNotSupported", message });
        }
        match value {
            Value::Object(members) => self.members(schema, members, place, faults),
            Value::Array(items) => {
                bound(schema, "maxItems", items.len(), place, faults);
                if short(schema, "minItems", items.len()) {
                    let why = format!("{place} in body should have at least {} items", schema["minItems"]);
                    faults.push(FieldError::invalid(place, &json!(items.len()), &why));
                }
                for (index, item) in items.iter().enumerate() {
                    self.value(&schema["items"], item, &format!("{place}[{index}]"), faults);
                }
            }
            Value::String(text) => self.text(schema, text, place, faults),
            Value::Number(number) => {
                numbers(schema, number.as_f64().unwrap_or_default(), value, place, faults);
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn members(
        &self,
        schema: &Value,
        members: &Map<String, Value>,
        place: &str,
        faults: &mut Vec<FieldError>,
    ) {
        let under = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        bound(schema, "maxProperties", members.len(), place, faults);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if members.get(name).is_none_or(Value::is_null) {
                faults.push(FieldError::required(under(name), ""));
            }
        }
        for (name, value) in members {
            let of_name = schema.get("properties").and_then(|properties| properties.get(name));
            if let Some(inner) = of_name.or_else(|| schema.get("additionalProperties")) {
                self.value(inner, value, &under(name), faults);
            }
        }
    }

    fn text(&self, schema: &Value, text: &str, place: &str, faults: &mut Vec<FieldError>) {
        let length = text.chars().count();
        if long(schema, "maxLength", length) {
            let message = format!("Too long: may not be more than {} bytes", schema["maxLength"]);
            faults.push(FieldError { field: place.to_owned(), reason: "FieldValueTooLong", message });
        }
        if short(schema, "minLength", length) {
            let why = format!("{place} in body should be at least {} chars long", schema["minLength"]);
            faults.push(FieldError::invalid(place, &json!(text), &why));
        }
        let pattern = schema.get("pattern").and_then(Value::as_str);
        if let Some(regex) = pattern.and_then(|pattern| self.patterns.get(pattern))
            && !regex.is_match(text)
        {
            let why = format!("{place} in body should match '{}'", regex.as_str());
            faults.push(FieldError::invalid(place, &json!(text), &why));
        }
    }
}

fn numbers(schema: &Value, number: f64, value: &Value, place: &str, faults: &mut Vec<FieldError>) {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(least) = limit("minimum").filter(|least| number < *least) {
        let why = format!("{place} in body should be greater than or equal to {least}");
        faults.push(FieldError::invalid(place, value, &why));
    }
    if let Some(most) = limit("maximum").filter(|most| number > *most) {
        let why = format!("{place} in body should be less than or equal to {most}");
        faults.push(FieldError::invalid(place, value, &why));
    }
}

fn limit_of(schema: &Value, name: &str) -> Option<usize> {
    schema.get(name)?.as_u64().and_then(|limit| usize::try_from(limit).ok())
}

fn long(schema: &Value, name: &str, length: usize) -> bool {
    limit_of(schema, name).is_some_and(|most| length > most)
}

fn short(schema: &Value, name: &str, length: usize) -> bool {
    limit_of(schema, name).is_some_and(|least| length < least)
}

fn bound(schema: &Value, name: &str, length: usize, place: &str, faults: &mut Vec<FieldError>) {
    if long(schema, name, length) {
        let message = format!("Too many: {length}: must have at most {} items", schema[name]);
        faults.push(FieldError { field: place.to_owned(), reason: "FieldValueTooMany", message });
    }
}

/// The type that the schema requires, if the value has another.
fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    if flag(schema, "x-kubernetes-int-or-string") {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then_some("integer,string");
    }
    let wanted = schema.get("type")?.as_str()?;
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    (!fits).then_some(wanted)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn shape(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(members) => {
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            let others = schema.get("additionalProperties");
            if !flag(schema, "x-kubernetes-preserve-unknown-fields") && others.is_none() {
                members.retain(|name, _| properties.contains_key(name));
            }
            for (name, inner) in properties {
                let missing =
                    members.get(name).is_none_or(|value| value.is_null() && !flag(inner, "nullable"));
                if missing {
                    match inner.get("default") {
                        Some(default) => members.insert(name.clone(), default.clone()),
                        None => members.remove(name),
                    };
                }
            }
            for (name, value) in members {
                if let Some(inner) = properties.get(name).or(others) {
                    shape(inner, value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                shape(&schema["items"], item);
            }
        }
        _ => {}
    }
}

fn gather(schema: &Value, patterns: &mut BTreeMap<String, Regex>) {
    match schema {
        Value::Object(members) => {
            let pattern = members.get("pattern").and_then(Value::as_str);
            if let Some((pattern, Ok(regex))) = pattern.map(|pattern| (pattern, Regex::new(pattern))) {
                patterns.insert(pattern.to_owned(), regex);
            }
            members.values().for_each(|inner| gather(inner, patterns));
        }
        Value::Array(items) => items.iter().for_each(|inner| gather(inner, patterns)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(object: &Value) -> Vec<String> {
        fleet().faults(object).into_iter().map(|fault| fault.field).collect()
    }

    fn good() -> Value {
        let head = json!({"template": {"spec": {"containers": [{"name": "h"}]}}});
        json!({
            "metadata": {"name": "f"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"headGroupSpec": head}}},
        })
    }

    #[test]
    fn the_crd_can_be_parsed() {
        assert_eq!(fleet().root()["title"], "RayClusterFleet");
        assert!(fleet().patterns.len() > 1);
    }

    #[test]
    fn defaults_are_filled_in_and_unknown_fields_pruned() {
        let mut object = good();
        object["spec"]["nonsense"] = json!(1);
        object["spec"]["model"] = json!({"name": "m", "source": "s", "parallelism": {}});
        object["spec"]["template"]["spec"]["rayVersion"] = json!("2.60");
        fleet().fill(&mut object);
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(object["spec"]["model"]["parallelism"], json!({"tensor": 1, "pipeline": 1}));
        assert_eq!(object["spec"].get("nonsense"), None);
        assert_eq!(object["spec"]["template"]["spec"]["rayVersion"], "2.60");
        assert_eq!(object["metadata"]["name"], "f");
        assert!(fields(&object).is_empty());
    }

    #[test]
    fn schema_violations_are_reported_by_field() {
        assert_eq!(fields(&json!({"spec": {}})), ["spec.selector", "spec.template"]);
        let mut object = good();
        object["spec"]["replicas"] = json!("many");
        assert_eq!(fields(&object), ["spec.replicas"]);
        object["spec"]["replicas"] = json!(-1);
        object["spec"]["drain"] = json!({"timeout": "soon"});
        object["spec"]["strategy"] = json!({"type": "Sometimes", "rollingUpdate": {"maxSurge": 1.5}});
        let wanted = [
            "spec.drain.timeout",
            "spec.replicas",
            "spec.strategy.rollingUpdate.maxSurge",
            "spec.strategy.type",
        ];
        let mut found = fields(&object);
        found.sort();
        assert_eq!(found, wanted);
    }
}
