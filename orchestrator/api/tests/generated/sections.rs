//! A schema as sections of rows, one section for each object, as people read it. Only what a schema says;
//! how it is laid out as a file is in [`crate::markdown`].

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use ray_bridge_model::schema::DURATION;

/// One object of the API.
pub(crate) struct Section {
    /// Where it is: `spec.model`, `status.groups[]`.
    pub(crate) path: String,
    /// What it is.
    pub(crate) description: String,
    /// Its fields.
    pub(crate) rows: Vec<Row>,
}

/// One field. All texts are Markdown for the cell of a table.
pub(crate) struct Row {
    pub(crate) field: String,
    pub(crate) kind: String,
    pub(crate) default: String,
    pub(crate) constraints: String,
    pub(crate) description: String,
}

/// All objects below a schema, each followed by those in it. What is kept as it is, is not looked into.
pub(crate) fn sections(schema: &JSONSchemaProps) -> Vec<Section> {
    let mut all = Vec::new();
    for (name, child) in schema.properties.iter().flatten() {
        add(name, child, &mut all);
    }
    all
}

fn add(path: &str, schema: &JSONSchemaProps, all: &mut Vec<Section>) {
    let required = |name: &String| schema.required.iter().flatten().any(|required| required == name);
    let rows = schema.properties.iter().flatten().map(|(name, field)| row(path, name, field, required(name)));
    let description = escape(schema.description.as_deref().unwrap_or_default());
    all.push(Section { path: path.to_owned(), description, rows: rows.collect() });
    for (name, field) in schema.properties.iter().flatten() {
        if let Some((path, object)) = object(&format!("{path}.{name}"), field) {
            add(&path, object, all);
        }
    }
}

fn row(path: &str, name: &str, field: &JSONSchemaProps, required: bool) -> Row {
    let (description, said) = split_default(field.description.as_deref().unwrap_or_default());
    let stated = field.default.as_ref().map(|default| format!("`{}`", plain(&default.0)));
    let mut constraints = if is_duration(field) { Vec::new() } else { constraints(field) };
    if required {
        constraints.insert(0, "required".to_owned());
    }
    Row {
        field: name.to_owned(),
        kind: kind(&format!("{path}.{name}"), field),
        default: stated.or(said).unwrap_or_default(),
        constraints: constraints.join("; "),
        description,
    }
}

/// The object that a field holds or lists, if it has fields of its own, and its path.
fn object<'a>(path: &str, field: &'a JSONSchemaProps) -> Option<(String, &'a JSONSchemaProps)> {
    if field.x_kubernetes_preserve_unknown_fields == Some(true) {
        None
    } else if field.properties.is_some() {
        Some((path.to_owned(), field))
    } else {
        items(field).and_then(|items| object(&format!("{path}[]"), items))
    }
}

fn items(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match field.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn kind(path: &str, field: &JSONSchemaProps) -> String {
    if let Some((path, _)) = object(path, field) {
        let what = if path.ends_with("[]") { "list of objects" } else { "object" };
        return format!("[{what}](#{})", anchor(&path));
    }
    if field.x_kubernetes_int_or_string == Some(true) {
        return "integer or percent".to_owned();
    }
    if is_duration(field) {
        return "duration".to_owned();
    }
    match (field.type_.as_deref().unwrap_or("any"), field.format.as_deref()) {
        ("string", Some("date-time")) => "time".to_owned(),
        ("array", _) => {
            let inner = items(field).and_then(|items| items.type_.as_deref()).unwrap_or("any");
            format!("list of {inner}s")
        }
        ("object", _) if field.x_kubernetes_preserve_unknown_fields == Some(true) => {
            "object, kept as it is".to_owned()
        }
        ("object", _) => match &field.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(inner)) => {
                format!("map to {}", inner.type_.as_deref().unwrap_or("any"))
            }
            _ => "object".to_owned(),
        },
        (other, _) => other.to_owned(),
    }
}

/// The anchor that Git forges give to a heading.
fn anchor(path: &str) -> String {
    path.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

fn is_duration(field: &JSONSchemaProps) -> bool {
    field.pattern.as_deref() == Some(DURATION)
}

fn constraints(field: &JSONSchemaProps) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(values) = &field.enum_ {
        let values = values.iter().filter(|value| !value.0.is_null());
        let named: Vec<String> = values.map(|value| format!("`{}`", plain(&value.0))).collect();
        all.push(format!("one of {}", named.join(", ")));
    }
    all.extend(range(field.minimum, field.maximum, ""));
    let whole = |bound: Option<i64>| bound.map(|bound| bound.to_string());
    all.extend(range(whole(field.min_length), whole(field.max_length), " characters"));
    all.extend(range(whole(field.min_items), whole(field.max_items), " entries"));
    all.extend(range(whole(field.min_properties), whole(field.max_properties), " entries"));
    all.extend(field.pattern.as_ref().map(|pattern| format!("matches `{}`", escape(pattern))));
    all.extend(
        field.x_kubernetes_list_map_keys.as_ref().map(|keys| format!("keyed by `{}`", keys.join(", "))),
    );
    all
}

fn range<T: ToString>(least: Option<T>, most: Option<T>, unit: &str) -> Option<String> {
    match (least.map(|least| least.to_string()), most.map(|most| most.to_string())) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// A description and the default that it tells.
///
/// Most defaults are no part of the schema, so that an object does not pretend that somebody set them. Descriptions
/// tell them in a last sentence that begins with `Default`, or with `(default)` behind one of several values.
fn split_default(text: &str) -> (String, Option<String>) {
    let text = escape(text);
    if let Some((before, after)) = text.rsplit_once("Default")
        && before.ends_with(". ")
        && let Some(default) = after.trim_start_matches(':').trim().strip_suffix('.')
    {
        let quoted = !default.contains([' ', '`']);
        let default = if quoted { format!("`{default}`") } else { default.to_owned() };
        return (before.trim().to_owned(), Some(default));
    }
    let value = text.split_once(" (default)").and_then(|(before, _)| before.rsplit('`').nth(1));
    let value = value.map(|value| format!("`{value}`"));
    (text, value)
}

/// A value as people write it in YAML.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned)
}

/// One line that is safe in the cell of a table.
pub(crate) fn escape(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn defaults_are_taken_out_of_descriptions() {
    let split = |text| split_default(text);
    assert_eq!(split("Groups.\nDefault 25%."), ("Groups.".into(), Some("`25%`".into())));
    assert_eq!(
        split("Wait. Default: as long as it takes."),
        ("Wait.".into(), Some("as long as it takes".into()))
    );
    assert_eq!(split("`A` (default) or `B`."), ("`A` (default) or `B`.".into(), Some("`A`".into())));
    assert_eq!(split("Default values are shown."), ("Default values are shown.".into(), None));
}

#[test]
fn every_field_is_described() {
    let crd = rayfleet_api::crd();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    for section in sections(schema) {
        for row in section.rows {
            let described = !row.description.is_empty() || !row.default.is_empty();
            assert!(described, "{}.{} has no description", section.path, row.field);
        }
    }
}
