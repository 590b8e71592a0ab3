//! A model block outside of a fleet, as the tool of the bridge reads it from a file: held to the schema that the API server holds fleets
//! to, then to the block's rules, then to those of the bridge. What depends on a template is left out.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::block::Model;
use crate::field_error::{FieldError, invalid};
use crate::valid::{ValidModel, valid_model};

/// Checks a model block and fills in defaults. All problems are reported; their fields are paths from the block on.
pub fn model(block: &Value) -> Result<ValidModel, Vec<FieldError>> {
    let mut problems = Vec::new();
    hold(block, &model_schema(), "", &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let model: Model =
        serde_json::from_value(block.clone()).map_err(|error| vec![invalid("", error.to_string())])?;
    let valid = valid_model(&model, &mut problems);
    if problems.is_empty() {
        problems = valid.launch_problems();
    }
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

/// The schema as the CRD has it, but that alternatives still stand side by side.
fn model_schema() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Model>().to_value()
}

/// A schema and all its alternatives: an optional field is one of two, an enumeration one of its values.
fn alternatives(schema: &Value) -> Vec<&Value> {
    let below = ["anyOf", "oneOf"].into_iter().filter_map(|of| schema[of].as_array()).flatten();
    std::iter::once(schema).chain(below.flat_map(alternatives)).collect()
}

fn hold(value: &Value, schema: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let all = alternatives(schema);
    if value.is_null() && all.iter().any(|schema| schema["nullable"] == true) {
        return;
    }
    let wanted = all.iter().find_map(|schema| schema["type"].as_str()).unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        _ => true,
    };
    if !fits {
        let cure = if wanted == "string" && (value.is_number() || value.is_boolean()) {
            ": put it in quotes"
        } else {
            ""
        };
        problems
            .push(invalid(path, format!("must be {} {wanted}, is {}{cure}", article(wanted), kind(value))));
        return;
    }
    match value {
        Value::Object(fields) => hold_fields(fields, schema, path, problems),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                hold(item, &schema["items"], &format!("{path}[{index}]"), problems);
            }
        }
        Value::String(text) => hold_text(text, schema, path, problems),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            let least = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
            let most = schema["maximum"].as_f64().unwrap_or(f64::INFINITY);
            if !(least..=most).contains(&number) {
                problems.push(invalid(path, format!("must be {least} to {most}, is {number}")));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn hold_fields(fields: &Map<String, Value>, schema: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !fields.contains_key(*name)) {
        problems.push(invalid(&below(name), "is required"));
    }
    let known = schema["properties"].as_object();
    for (name, value) in fields {
        if let Some(schema) = known.and_then(|known| known.get(name)) {
            hold(value, schema, &below(name), problems);
        } else {
            let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let problem = format!("there is no such field; there are: {}", names.join(", "));
            problems.push(invalid(&below(name), problem));
        }
    }
}

fn hold_text(text: &str, schema: &Value, path: &str, problems: &mut Vec<FieldError>) {
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    let least = schema["minLength"].as_u64().unwrap_or(0);
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    if !(least..=most).contains(&length) {
        problems.push(invalid(path, format!("must be {least} to {most} characters long, is {length}")));
    }
    let values = alternatives(schema).into_iter().filter_map(|schema| schema["enum"].as_array()).flatten();
    let one_of: Vec<&str> = values.filter_map(Value::as_str).collect();
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

    use crate::{PlacementStrategy, ValidPlacement};

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
    fn a_placement_policy_is_checked_without_an_api_server() {
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
    fn a_data_parallel_size_is_at_least_one() {
        let of = |data: u32| json!({"name": "a", "source": "/a", "parallelism": {"tensor": 8, "data": data}});
        assert_eq!(model(&of(2)).unwrap().parallelism.ranks(), 16);
        assert_eq!(problems(&of(0)), ["parallelism.data: must be 1 to 1024, is 0"]);
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
        assert_eq!(problems(&json!([1])), ["must be an object, is a list"]);
    }
}
