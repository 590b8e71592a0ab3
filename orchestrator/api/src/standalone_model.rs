//! A `model` block outside of a fleet, as the tool of the bridge reads it from a file: held to the schema that the
//! API server holds fleets to, then to the rules of [`crate::valid`]. What depends on a template is left out.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;

use crate::schema;
use crate::spec::Model;
use crate::valid::{FieldError, ValidModel, invalid, valid_model};

/// Checks a model block and fills in defaults. All problems are reported; their fields are paths from the block on.
pub fn model(block: &Value) -> Result<ValidModel, Vec<FieldError>> {
    let mut problems = Vec::new();
    match model_schema() {
        Some(schema) => hold(block, &schema, "", &mut problems),
        None => problems.push(invalid("", "the CRD has no schema of a model")),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let model: Model =
        serde_json::from_value(block.clone()).map_err(|error| vec![invalid("", error.to_string())])?;
    let valid = valid_model(&model, &mut problems);
    if problems.is_empty() {
        return Ok(valid);
    }
    for problem in &mut problems {
        if let Some(field) = problem.field.strip_prefix("spec.model.") {
            problem.field = field.to_owned();
        }
    }
    Err(problems)
}

fn model_schema() -> Option<JSONSchemaProps> {
    let version = schema::crd().spec.versions.into_iter().next()?;
    let mut schema = version.schema?.open_api_v3_schema?;
    for field in ["spec", "model"] {
        schema = schema.properties?.remove(field)?;
    }
    Some(schema)
}

fn hold(value: &Value, schema: &JSONSchemaProps, path: &str, problems: &mut Vec<FieldError>) {
    if value.is_null() && schema.nullable == Some(true) {
        return;
    }
    let wanted = schema.type_.as_deref().unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    if !fits {
        let hint = if wanted == "string" && (value.is_number() || value.is_boolean()) {
            ": put it in quotes"
        } else {
            ""
        };
        problems
            .push(invalid(path, format!("must be {} {wanted}, is {}{hint}", article(wanted), kind(value))));
        return;
    }
    match value {
        Value::Object(fields) => hold_fields(fields, schema, path, problems),
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(of_items)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    hold(item, of_items, &format!("{path}[{index}]"), problems);
                }
            }
        }
        Value::String(text) => hold_text(text, schema, path, problems),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let (least, most) =
                (schema.minimum.unwrap_or(f64::NEG_INFINITY), schema.maximum.unwrap_or(f64::INFINITY));
            if !(least..=most).contains(&number) {
                problems.push(invalid(path, format!("must be {least} to {most}, is {number}")));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn hold_fields(
    fields: &serde_json::Map<String, Value>,
    schema: &JSONSchemaProps,
    path: &str,
    problems: &mut Vec<FieldError>,
) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let known = schema.properties.as_ref();
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        problems.push(invalid(&below(name), "is required"));
    }
    for (name, value) in fields {
        if let Some(schema) = known.and_then(|known| known.get(name)) {
            hold(value, schema, &below(name), problems);
        } else {
            let names: Vec<&str> = known.into_iter().flat_map(|k| k.keys()).map(String::as_str).collect();
            let problem = format!("there is no such field; there are: {}", names.join(", "));
            problems.push(invalid(&below(name), problem));
        }
    }
}

fn hold_text(text: &str, schema: &JSONSchemaProps, path: &str, problems: &mut Vec<FieldError>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let (least, most) = (schema.min_length.unwrap_or(0), schema.max_length.unwrap_or(i64::MAX));
    if !(least..=most).contains(&length) {
        problems.push(invalid(path, format!("must be {least} to {most} characters long, is {length}")));
    }
    let one_of: Vec<&str> = schema.enum_.iter().flatten().filter_map(|value| value.0.as_str()).collect();
    if !one_of.is_empty() && !one_of.contains(&text) {
        problems.push(invalid(path, format!("must be one of {}, is `{text}`", one_of.join(", "))));
    }
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a block",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use crate::spec::PlacementStrategy;
    use crate::valid::ValidPlacement;

    use super::*;

    fn problems(block: &Value) -> Vec<String> {
        model(block).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_small_block_gets_the_defaults_of_a_fleet() {
        let valid = model(&json!({"name": "a", "source": "/a", "parallelism": {"pipeline": 2}})).unwrap();
        assert_eq!((valid.parallelism.tensor, valid.parallelism.pipeline, valid.port), (1, 2, 8000));
        assert_eq!(valid.start_timeout, Duration::from_mins(45));
        assert_eq!((valid.probe.prompt.as_str(), valid.probe.max_tokens), ("Hello", 1));
        assert_eq!(valid.placement, ValidPlacement::default());
    }

    #[test]
    fn where_ranks_go_is_checked_without_an_api_server() {
        let placed = |placement: Value| json!({"name": "a", "source": "/a", "parallelism": {"tensor": 16}, "placement": placement});
        let block = placed(json!({
            "strategy": "Spread", "tensorDomain": "nvidia.com/gpu.clique", "topology": ["rack", "topology.kubernetes.io/zone"],
        }));
        let valid = model(&block).unwrap().placement;
        assert_eq!((valid.strategy, valid.topology.len()), (PlacementStrategy::Spread, 2));
        assert_eq!(
            problems(&placed(json!({"strategy": "spread"}))),
            ["placement.strategy: must be one of Pack, Spread, is `spread`"]
        );
        let labels =
            placed(json!({"tensorDomain": "a/b/c", "topology": ["zone", "-x", "Rack.io/x", "x_", "Z/"]}));
        let said = problems(&labels);
        assert_eq!(said.len(), 5, "{said:?}");
        assert_eq!(
            said.first().map(String::as_str),
            Some(
                "placement.tensorDomain: `a/b/c` is no label: write it as topology.kubernetes.io/zone or rack"
            )
        );
        let many = placed(json!({"topology": vec!["zone"; 9]}));
        assert_eq!(problems(&many), ["placement.topology: must be at most 8 labels"]);
    }

    #[test]
    fn data_parallelism_is_refused_with_the_reason() {
        let of = |data: u32| json!({"name": "a", "source": "/a", "parallelism": {"tensor": 8, "data": data}});
        assert!(model(&of(1)).is_ok());
        let said = problems(&of(2));
        assert!(
            said.len() == 1 && said.iter().all(|p| p.starts_with("parallelism.data: must be 1: vLLM on Ray")),
            "{said:?}"
        );
    }

    #[test]
    fn the_schema_s_rules_hold_without_an_api_server() {
        let block = json!({
            "name": "", "parallelism": {"tensor": 0}, "port": 70000, "startTimout": "1m",
            "engine": {"type": "sglang", "args": ["-x", 4]}, "probe": {"maxTokens": "4"},
        });
        let said = problems(&block);
        for wanted in [
            "source: is required",
            "name: must be 1 to 253 characters long, is 0",
            "parallelism.tensor: must be 1 to 1024, is 0",
            "port: must be 1 to 65535, is 70000",
            "engine.type: must be one of vllm, custom, is `sglang`",
            "engine.args[1]: must be a string, is a number: put it in quotes",
            "probe.maxTokens: must be an integer, is a text",
        ] {
            assert!(said.iter().any(|problem| problem == wanted), "{wanted} in {said:?}");
        }
        assert!(said.iter().any(|problem| problem.starts_with("startTimout: there is no such field")));
        assert_eq!(said.len(), 8, "{said:?}");
    }

    #[test]
    fn the_rules_beyond_the_schema_hold_too() {
        let block = json!({
            "name": "a", "source": "/a", "parallelism": {}, "startTimeout": "soon", "engine": {"type": "custom"},
        });
        assert_eq!(
            problems(&block),
            [
                "engine.entrypoint: is required for type custom, as module:function",
                "startTimeout: `soon` is no duration: write it as 90s, 10m or 1h30m",
            ]
        );
    }

    #[test]
    fn something_else_than_a_block_is_refused() {
        assert_eq!(problems(&json!([1])), [": must be an object, is a list"]);
    }
}
