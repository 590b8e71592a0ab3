//! The longest context that a `config.json` declares, as vLLM 0.32 derives it (`_get_and_verify_max_len` in
//! `vllm/config/model.py`): `max_position_embeddings`, for some kinds of scaled positions times their factor.

use serde_json::{Map, Value};

use crate::config::{ConfigError, Fields};

/// The longest context that is reckoned with, in tokens.
const MOST_TOKENS: u64 = 1 << 40;

/// Kinds whose `max_position_embeddings` is scaled already. `YaRN` is one of them: what
/// `original_max_position_embeddings` × `factor` comes to has no part in it.
const SCALED_ALREADY: [&str; 6] =
    ["su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"];

/// Tokens that a sequence may have.
pub(crate) fn context(fields: Fields<'_>) -> Result<u64, ConfigError> {
    let declared = fields.number("max_position_embeddings", MOST_TOKENS)?;
    // An empty `rope_scaling` leaves it to `rope_parameters` (transformers 5.19 modeling_rope_utils.py).
    let named = |name| Some((name, fields.object(name).filter(|map| !map.is_empty())?));
    let Some((name, map)) = named("rope_scaling").or_else(|| named("rope_parameters")) else {
        return Ok(declared);
    };
    let mut factor = None;
    // Of several kinds of layers the last one's factor counts, as there.
    for parameters in layers(map) {
        let kind = ["rope_type", "type"].into_iter().find_map(|key| parameters.get(key)?.as_str());
        if !kind.is_some_and(|kind| SCALED_ALREADY.contains(&kind)) {
            factor = parameters.get("factor").or(factor);
        }
    }
    match factor {
        None | Some(Value::Null) => Ok(declared),
        Some(factor) => scaled(declared, factor).ok_or_else(|| {
            let problem =
                format!("its factor must be a number that makes 1 to {MOST_TOKENS} tokens of {declared}");
            fields.error(name, problem, "take the config.json of the model's repository as it is")
        }),
    }
}

/// One object, or one for each kind of layer.
fn layers(map: &Map<String, Value>) -> Vec<&Map<String, Value>> {
    let nested: Vec<_> = map.values().filter_map(Value::as_object).collect();
    if nested.is_empty() || map.values().any(|value| !value.is_object() && !value.is_null()) {
        return vec![map];
    }
    nested
}

/// Rounded down, as Python's `int`.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(declared: u64, factor: &Value) -> Option<u64> {
    // Below 2^40, so that a float holds every whole number of them.
    let tokens = declared as f64 * factor.as_f64()?;
    (1.0..=MOST_TOKENS as f64).contains(&tokens).then_some(tokens as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(more: &Value) -> Result<u64, ConfigError> {
        let mut config = json!({"max_position_embeddings": 40_960});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        context(Fields::new(config.as_object().unwrap(), ""))
    }

    #[test]
    fn positions_that_are_scaled_already_are_not_scaled_again() {
        for kind in SCALED_ALREADY {
            let scaling =
                json!({"rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 32_768});
            assert_eq!(of(&json!({"rope_scaling": scaling})), Ok(40_960), "{kind}");
        }
        assert_eq!(of(&json!({"rope_scaling": {"type": "yarn", "factor": 4.0}})), Ok(40_960));
        for more in [
            json!({}),
            json!({"rope_scaling": null}),
            json!({"rope_scaling": {"type": "linear"}}),
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 10_000}}),
            json!({"rope_parameters": {"rope_type": "linear", "factor": null}}),
        ] {
            assert_eq!(of(&more), Ok(40_960), "{more}");
        }
    }

    #[test]
    fn other_kinds_have_their_factor() {
        assert_eq!(of(&json!({"rope_scaling": {"type": "dynamic", "factor": 2}})), Ok(81_920));
        assert_eq!(of(&json!({"rope_parameters": {"rope_type": "linear", "factor": 1.5}})), Ok(61_440));
        let both = json!({"rope_scaling": {"type": "linear", "factor": 3}, "rope_parameters": {"factor": 2}});
        assert_eq!(of(&both), Ok(122_880));
        let empty = json!({"rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 2}});
        assert_eq!(of(&empty), Ok(81_920));
        let nested = json!({"rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8}, "sliding_attention": {"rope_type": "default"},
        }});
        assert_eq!(of(&nested), Ok(327_680));
    }

    #[test]
    fn a_factor_that_makes_no_length_is_refused() {
        for factor in [json!(0), json!(-1), json!(1e300), json!("2"), json!([2]), json!(1e-9)] {
            let error = of(&json!({"rope_scaling": {"type": "linear", "factor": factor}})).unwrap_err();
            assert_eq!(error.field, "rope_scaling", "{factor}");
        }
    }
}
