//! Reading a `config.json`: fields within bounds, or a refusal that names the field and the cure. What a
//! family makes of its fields is in `families`; how weights are quantised, in `quantization`.
//!
//! The text is hostile: every number has a bound, and a model above [`MOST_PARAMETERS`] is refused, so that
//! all later sums fit 64 bits.

use serde_json::{Map, Value};

use crate::families;
use crate::model::Model;
use crate::parameters;
use crate::quantization::Quantization;

/// The largest `config.json` that is read: 4 MiB. The largest known one, of a checkpoint that names the
/// precision of every single matrix, has 2.4 MB.
pub const MOST_BYTES: usize = 4 << 20;

/// The largest model that is reckoned with: 100 million million parameters.
pub const MOST_PARAMETERS: u128 = 100_000_000_000_000;

/// The most layers of a model.
pub const MOST_LAYERS: u64 = 1024;

/// Why a `config.json` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConfigError {
    /// The field, as in `text_config.hidden_size`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What the reader can do.
    pub cure: String,
}

impl ConfigError {
    pub(crate) fn new(field: &str, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into(), cure: cure.into() }
    }
}

/// The fields of one object, with the path that leads to it.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Map<String, Value>, path: &'a str) -> Self {
        Self { map, path }
    }

    /// The field, unless it is missing or null.
    pub(crate) fn get(self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn error(
        self,
        name: &str,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) -> ConfigError {
        let dot = if self.path.is_empty() { "" } else { "." };
        ConfigError::new(&format!("{}{dot}{name}", self.path), problem, cure)
    }

    /// A whole number of 0 to `most`, if the field is there.
    pub(crate) fn optional(self, name: &str, most: u64) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if number <= most => Ok(Some(number)),
            _ => Err(self.error(
                name,
                format!("must be a whole number of at most {most}"),
                "take the config.json of the model's repository as it is",
            )),
        }
    }

    /// A whole number of 1 to `most`.
    pub(crate) fn number(self, name: &str, most: u64) -> Result<u64, ConfigError> {
        match self.optional(name, most)? {
            Some(0) => Err(self.error(name, "must not be 0", "take the config.json as it is published")),
            Some(number) => Ok(number),
            None => {
                Err(self.error(name, "is missing", "take the config.json of the model, not of a tokenizer"))
            }
        }
    }

    /// A whole number, or the value that the family has without the field.
    pub(crate) fn number_or(self, name: &str, default: u64, most: u64) -> Result<u64, ConfigError> {
        Ok(self.optional(name, most)?.unwrap_or(default))
    }

    pub(crate) fn flag(self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(crate) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(crate) fn list(self, name: &str) -> Option<&'a Vec<Value>> {
        self.get(name).and_then(Value::as_array)
    }

    pub(crate) fn object(self, name: &str) -> Option<&'a Map<String, Value>> {
        self.get(name).and_then(Value::as_object)
    }
}

impl Model {
    /// The model of this `config.json`.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        if text.len() > MOST_BYTES {
            return Err(ConfigError::new(
                "config.json",
                format!("has {} bytes, more than {MOST_BYTES}", text.len()),
                "give the config.json of a model, not its weights",
            ));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            ConfigError::new(
                "config.json",
                error.to_string(),
                "give a JSON file, as the model's repository has",
            )
        })?;
        Self::from_config(&value, None)
    }

    /// The model of this parsed `config.json`. `quantization` replaces what the file says of precision: a
    /// `quantization_config`, or the content of a `hf_quant_config.json`.
    pub fn from_config(value: &Value, quantization: Option<&Value>) -> Result<Self, ConfigError> {
        let Some(outer) = value.as_object() else {
            return Err(ConfigError::new("config.json", "is no object", "give the config.json of a model"));
        };
        let (outer, nested) = (Fields::new(outer, ""), outer.get("text_config").and_then(Value::as_object));
        let fields = nested.map_or(outer, |inner| Fields::new(inner, "text_config"));
        let quantization = match quantization.or(outer.get("quantization_config")) {
            Some(found) => Quantization::read(found, fields)?,
            None => match fields.get("quantization_config") {
                Some(found) => Quantization::read(found, fields)?,
                None => Quantization::none(outer, fields)?,
            },
        };
        let family = fields.text("model_type").or(outer.text("model_type")).unwrap_or_default();
        let model = families::model(family, outer, fields, quantization)?;
        let parameters = parameters::total(&model);
        if parameters > MOST_PARAMETERS {
            return Err(ConfigError::new(
                "config.json",
                format!("describes a model of {parameters} parameters, more than {MOST_PARAMETERS}"),
                "check hidden_size, the number of layers and of experts",
            ));
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(config: &Value) -> ConfigError {
        Model::from_config(config, None).unwrap_err()
    }

    #[test]
    fn a_refusal_names_the_field_and_a_cure() {
        let error = refused(&json!({"text_config": {"model_type": "llama", "hidden_size": "large"}}));
        assert_eq!(error.field, "text_config.hidden_size");
        assert!(error.to_string().contains("must be a whole number"), "{error}");
        assert!(!error.cure.is_empty());
        assert_eq!(refused(&json!([])).field, "config.json");
        assert_eq!(refused(&json!({"model_type": "bert"})).field, "model_type");
        assert_eq!(refused(&json!({"model_type": "llama"})).problem, "is missing");
        assert_eq!(refused(&json!({"model_type": "llama", "hidden_size": 0})).problem, "must not be 0");
        let long = " ".repeat(MOST_BYTES + 1);
        assert!(Model::from_json(&long).unwrap_err().problem.contains("bytes"));
        assert!(Model::from_json("{").unwrap_err().problem.contains("EOF"));
    }

    #[test]
    fn a_model_beyond_all_bounds_is_refused_before_its_bytes_are_summed() {
        let error = refused(&json!({
            "model_type": "qwen3_moe", "hidden_size": 1 << 20, "num_hidden_layers": 1024, "vocab_size": 1 << 20,
            "num_attention_heads": 64, "num_key_value_heads": 4, "num_experts": 1 << 16,
            "num_experts_per_tok": 8, "moe_intermediate_size": 1 << 22, "max_position_embeddings": 1024,
        }));
        assert!(error.problem.contains("parameters, more than"), "{error}");
    }
}
