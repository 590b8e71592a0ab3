//! Which matrix has which precision: `quantization_config` of a `config.json`, and `hf_quant_config.json`.
//! Only linear layers are quantised; embedding, head, norms and routers never are, as in vLLM.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use crate::config::{ConfigError, Fields};
use crate::precision::Precision;

/// The most patterns that are more than a name or the beginning of one: each is tried with each matrix.
const MOST_PATTERNS: usize = 64;

/// Which weights have which precision.
#[derive(Clone, Debug)]
pub struct Quantization {
    /// What the checkpoint calls it, for people.
    pub name: String,
    /// Of what is not quantised.
    pub plain: Precision,
    /// The same in the checkpoint: vLLM halves float32 when it loads it.
    pub stored: Precision,
    /// The checkpoint has scales for a cache in FP8, which vLLM then takes by itself.
    pub fp8_cache: bool,
    linear: Precision,
    experts: Precision,
    ignored: Ignored,
}

#[derive(Clone, Debug, Default)]
struct Ignored {
    names: BTreeSet<String>,
    beginnings: BTreeSet<String>,
    patterns: Vec<Regex>,
}

impl Quantization {
    /// All weights in the type that the file declares; float32 is loaded in two bytes all the same (`_resolve_auto_dtype` in
    /// `vllm/config/model.py`).
    pub(crate) fn none(outer: Fields<'_>, fields: Fields<'_>) -> Result<Self, ConfigError> {
        let declared = ["dtype", "torch_dtype"]
            .into_iter()
            .find_map(|name| fields.text(name).or(outer.text(name)))
            .unwrap_or("bfloat16");
        let stored = match declared {
            "bfloat16" | "float16" => Precision::Half,
            "float32" => Precision::Single,
            other => {
                return Err(fields.error(
                    "torch_dtype",
                    format!("\"{other}\" is not known"),
                    "known are bfloat16, float16 and float32",
                ));
            }
        };
        let half = Precision::Half;
        Ok(Self { stored, ..Self::of(declared, half, half, half, Ignored::default()) })
    }

    fn of(name: &str, plain: Precision, linear: Precision, experts: Precision, ignored: Ignored) -> Self {
        Self { name: name.to_owned(), plain, stored: plain, fp8_cache: false, linear, experts, ignored }
    }

    /// What `quantization_config` says; `model` holds fields of some families beside it.
    pub(crate) fn read(value: &Value, model: Fields<'_>) -> Result<Self, ConfigError> {
        const PATH: &str = "quantization_config";
        let Some(map) = value.as_object() else {
            return Err(ConfigError::new(PATH, "is no object", "take the config.json as it is published"));
        };
        // hf_quant_config.json nests it once more, and names no method.
        let fields = Fields::new(map.get("quantization").and_then(Value::as_object).unwrap_or(map), PATH);
        let method = fields.text("quant_method").unwrap_or("modelopt");
        let mut ignored = Ignored::read(fields)?;
        let mut fp8_cache = false;
        let (name, linear, experts) = match method {
            "fp8" => fp8(fields, model)?,
            "fbgemm_fp8" => ("fp8", Precision::Fp8Channel, Precision::Fp8Channel),
            // vLLM quantises experts alone (quantization/mxfp4.py).
            "mxfp4" => ("mxfp4", Precision::Half, Precision::Mxfp4),
            "modelopt" => {
                fp8_cache = has_fp8_cache(fields);
                modelopt(fields)?
            }
            "compressed-tensors" => compressed_tensors(fields)?,
            "gptq" | "awq" | "auto-round" => {
                let named = |old: &'static str, new| {
                    if method == "awq" && fields.get(old).is_some() { old } else { new }
                };
                let group = fields.number_or(named("q_group_size", "group_size"), 0, 1 << 16).unwrap_or(0);
                let bits = fields.number(named("w_bit", "bits"), 8)?;
                if method == "gptq" {
                    dynamic(fields, (bits, group), &mut ignored)?;
                }
                ("int", Precision::Int { bits, group }, Precision::Int { bits, group })
            }
            other => return Err(unknown(fields, "quant_method", other)),
        };
        Ok(Self { fp8_cache, ..Self::of(name, Precision::Half, linear, experts, ignored) })
    }

    /// Precision of the linear layer with this name, as in `model.layers.3.mlp.down_proj`.
    pub fn linear(&self, module: &str, expert: bool) -> Precision {
        let precision = if expert { self.experts } else { self.linear };
        if precision == self.plain || self.ignored.has(module) { self.plain } else { precision }
    }
}

fn unknown(fields: Fields<'_>, field: &str, found: &str) -> ConfigError {
    fields.error(
        field,
        format!("\"{found}\" is not known"),
        "known are fp8, fbgemm_fp8, mxfp4, modelopt (FP8, NVFP4, MXFP8), compressed-tensors, gptq and awq",
    )
}

type Named = (&'static str, Precision, Precision);

/// `expert_dtype` fp4 beside it: experts have MXFP4 (DeepSeek V4).
fn fp8(fields: Fields<'_>, model: Fields<'_>) -> Result<Named, ConfigError> {
    let linear = match fields.list("weight_block_size").map(Vec::as_slice) {
        None => Precision::Fp8Tensor,
        Some([rows, columns]) => block(rows, columns).ok_or_else(|| bad_block(fields))?,
        Some(_) => return Err(bad_block(fields)),
    };
    match model.text("expert_dtype") {
        Some("fp4") => Ok(("fp8, experts mxfp4", linear, Precision::Mxfp4)),
        _ => Ok(("fp8", linear, linear)),
    }
}

fn block(rows: &Value, columns: &Value) -> Option<Precision> {
    let size = |value: &Value| value.as_u64().filter(|size| (1..=1 << 16).contains(size));
    Some(Precision::Fp8Block { rows: size(rows)?, columns: size(columns)? })
}

fn bad_block(fields: Fields<'_>) -> ConfigError {
    fields.error("weight_block_size", "must be two numbers from 1", "as in [128, 128]")
}

fn modelopt(fields: Fields<'_>) -> Result<Named, ConfigError> {
    Ok(match fields.text("quant_algo").unwrap_or_default() {
        "FP8" => ("fp8", Precision::Fp8Tensor, Precision::Fp8Tensor),
        "NVFP4" => ("nvfp4", Precision::Nvfp4, Precision::Nvfp4),
        "MXFP8" => ("mxfp8", Precision::Mxfp8, Precision::Mxfp8),
        other => return Err(unknown(fields, "quant_algo", other)),
    })
}

/// As `get_kv_cache_quant_algo_string` in `vllm/utils/torch_utils.py`.
fn has_fp8_cache(fields: Fields<'_>) -> bool {
    let Some(scheme) = fields.object("kv_cache_scheme") else {
        return fields.text("kv_cache_quant_algo").is_some_and(|name| name.eq_ignore_ascii_case("fp8"));
    };
    let has = |name: &str, wanted: Value| scheme.get(name) == Some(&wanted);
    has("dynamic", false.into()) && has("num_bits", 8.into()) && has("type", "float".into())
}

/// Rules by name that replace GPTQ's settings, in the order of the file: `-:` leaves a module as it is, others may only say again
/// what the file says anyway (`get_dynamic_override` in `vllm/model_executor/layers/quantization/utils/gptq_utils.py`).
fn dynamic(fields: Fields<'_>, (bits, group): (u64, u64), ignored: &mut Ignored) -> Result<(), ConfigError> {
    for (pattern, rule) in fields.object("dynamic").into_iter().flatten() {
        let refused = |problem: &str| {
            let problem = format!("\"{pattern}\" {problem}");
            let cure = "give the shape by hand: only rules with -: that leave modules as they are can be reckoned with";
            fields.error("dynamic", problem, cure)
        };
        if let Some(expression) = pattern.strip_prefix("-:") {
            ignored.expression(expression).map_err(|problem| refused(&problem))?;
            continue;
        }
        let same = |name: &str, wanted: u64| {
            rule.get(name).is_none_or(|found| {
                found.as_u64() == Some(wanted) || found.as_i64().is_some_and(|found| found < 0 && wanted == 0)
            })
        };
        if !rule.is_object() || !same("bits", bits) || !same("group_size", group) {
            return Err(refused("has other settings than the rest"));
        }
    }
    Ok(())
}

/// One scheme for all linear layers; files with several are refused, and such as name the layers that have it.
fn compressed_tensors(fields: Fields<'_>) -> Result<Named, ConfigError> {
    let cure = "give the shape by hand: only checkpoints with one scheme are known";
    let groups = fields.object("config_groups").map(Map::values).into_iter().flatten().collect::<Vec<_>>();
    let [group] = groups.as_slice() else {
        return Err(fields.error("config_groups", format!("has {} schemes", groups.len()), cure));
    };
    if group.get("targets").is_some_and(|targets| *targets != json!(["Linear"])) {
        return Err(fields.error("config_groups", "has targets other than [\"Linear\"]", cure));
    }
    let Some(weights) = group.get("weights").and_then(Value::as_object) else {
        return Err(fields.error("config_groups", "has no weights", cure));
    };
    let weights = Fields::new(weights, "quantization_config.config_groups.weights");
    let bits = weights.number("num_bits", 8)?;
    let size = weights.number_or("group_size", 0, 1 << 16).unwrap_or(0);
    let precision = match (weights.text("type").unwrap_or("int"), bits, weights.text("strategy"), size) {
        ("float", 8, Some("tensor"), _) => Precision::Fp8Tensor,
        ("float", 8, Some("block"), _) => match weights.list("block_structure").map(Vec::as_slice) {
            Some([rows, columns]) => block(rows, columns).ok_or_else(|| bad_block(weights))?,
            _ => return Err(bad_block(weights)),
        },
        ("float", 8, ..) => Precision::Fp8Channel,
        ("float", 4, _, 16) => Precision::Nvfp4,
        ("float", 4, _, 32) => Precision::Mxfp4,
        ("int", ..) => Precision::Int { bits, group: size },
        (kind, ..) => return Err(weights.error("type", format!("{kind} of {bits} bits is not known"), cure)),
    };
    let name = match precision {
        Precision::Int { .. } => "int",
        Precision::Nvfp4 => "nvfp4",
        Precision::Mxfp4 => "mxfp4",
        _ => "fp8",
    };
    Ok((name, precision, precision))
}

impl Ignored {
    fn read(fields: Fields<'_>) -> Result<Self, ConfigError> {
        let mut ignored = Self::default();
        let names = ["modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"];
        for name in names {
            for pattern in fields.list(name).into_iter().flatten().filter_map(Value::as_str) {
                ignored.add(pattern).map_err(|problem| {
                    fields.error(name, format!("\"{pattern}\" {problem}"), "take the list as it is published")
                })?;
            }
        }
        Ok(ignored)
    }

    fn add(&mut self, pattern: &str) -> Result<(), String> {
        if let Some(expression) = pattern.strip_prefix("re:") {
            return self.expression(expression);
        }
        let plain = plain_name(pattern);
        match plain.find('*') {
            None => {
                self.names.insert(plain);
            }
            Some(at) if at + 1 == plain.len() => {
                self.beginnings.insert(plain.trim_end_matches('*').to_owned());
            }
            Some(_) => {
                let escaped: Vec<String> = plain.split('*').map(regex::escape).collect();
                self.expression(&format!("{}(\\.|$)", escaped.join(".*")))?;
            }
        }
        Ok(())
    }

    fn expression(&mut self, expression: &str) -> Result<(), String> {
        if self.patterns.len() >= MOST_PATTERNS {
            return Err(format!("is one pattern too many: {MOST_PATTERNS} are read"));
        }
        // As Python's re.match: from the beginning of the name.
        let built = RegexBuilder::new(&format!("^(?:{})", one_word(expression))).size_limit(1 << 16).build();
        self.patterns.push(built.map_err(|_| "is no pattern of moderate size".to_owned())?);
        Ok(())
    }

    /// The module itself, what contains it, or a pattern for either.
    fn has(&self, module: &str) -> bool {
        let ends = module.char_indices().map(|(at, letter)| at + letter.len_utf8());
        ends.filter_map(|end| module.get(..end)).any(|beginning| {
            self.beginnings.contains(beginning)
                || (self.names.contains(beginning)
                    && module
                        .get(beginning.len()..)
                        .is_none_or(|rest| rest.is_empty() || rest.starts_with('.')))
        }) || self.patterns.iter().any(|pattern| pattern.is_match(module))
    }
}

/// The name as this crate has it: without what a model with a vision tower puts before it, and with one word for
/// what families call differently.
fn plain_name(pattern: &str) -> String {
    let inner = ["language_model.model.", "model.language_model."]
        .iter()
        .find_map(|outer| pattern.strip_prefix(outer))
        .map_or_else(|| pattern.to_owned(), |rest| format!("model.{rest}"));
    one_word(&inner)
}

fn one_word(name: &str) -> String {
    let name = name.replace("block_sparse_moe", "mlp").replace("feed_forward", "mlp");
    let parts = name.split('.').map(|part| if part == "shared_expert" { "shared_experts" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &Value, beside: &Value) -> Result<Quantization, ConfigError> {
        Quantization::read(config, Fields::new(beside.as_object().unwrap(), ""))
    }

    fn precision(config: &Value, module: &str, expert: bool) -> Precision {
        read(config, &json!({})).unwrap().linear(module, expert)
    }

    #[test]
    fn a_block_scaled_checkpoint_leaves_out_what_it_lists() {
        let config = json!({
            "quant_method": "fp8", "weight_block_size": [128, 128],
            "modules_to_not_convert": ["lm_head", "model.layers.1.self_attn", "model.layers.20"],
        });
        let block = Precision::Fp8Block { rows: 128, columns: 128 };
        assert_eq!(precision(&config, "model.layers.0.self_attn.o_proj", false), block);
        assert_eq!(precision(&config, "model.layers.1.self_attn.o_proj", false), Precision::Half);
        assert_eq!(precision(&config, "model.layers.1.mlp.down_proj", true), block);
        assert_eq!(precision(&config, "model.layers.2.mlp.down_proj", true), block, "not layer 20");
        assert_eq!(precision(&config, "model.layers.20.mlp.down_proj", true), Precision::Half);
    }

    #[test]
    fn patterns_are_stars_and_expressions() {
        let config = json!({
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
            "ignore": ["re:.*self_attn.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "model.*.skip",
                "language_model.model.layers.9*"],
        });
        let int = Precision::Int { bits: 4, group: 32 };
        assert_eq!(precision(&config, "model.layers.0.self_attn.o_proj", false), Precision::Half);
        assert_eq!(precision(&config, "model.layers.0.mlp.down_proj", false), Precision::Half);
        assert_eq!(precision(&config, "model.layers.0.mlp.experts.down_proj", true), int);
        assert_eq!(precision(&config, "model.layers.0.skip.a", false), Precision::Half);
        assert_eq!(precision(&config, "model.layers.0.skipped", false), int);
        assert_eq!(precision(&config, "model.layers.9.mlp.experts.down_proj", true), Precision::Half);
    }

    #[test]
    fn families_call_the_same_differently() {
        let config = json!({"quant_method": "fp8", "ignore": [
            "model.language_model.layers.0.mlp.shared_expert*", "*.mlp.shared_expert.*",
            "language_model.model.layers.1.feed_forward.router", "model.layers.2.block_sparse_moe.gate",
        ]});
        let ignored = |module: &str| precision(&config, module, false) == Precision::Half;
        assert!(ignored("model.layers.0.mlp.shared_experts.up_proj"));
        assert!(ignored("model.layers.7.mlp.shared_experts.up_proj"));
        assert!(ignored("model.layers.1.mlp.router") && ignored("model.layers.2.mlp.gate"));
        assert!(!ignored("model.layers.1.mlp.up_proj"));
    }

    #[test]
    fn beginnings_are_no_patterns_and_may_be_many() {
        let many: Vec<String> = (0..1000).map(|layer| format!("model.layers.{layer}.self_attn*")).collect();
        let config = json!({"quantization": {"quant_algo": "NVFP4", "exclude_modules": many}});
        assert_eq!(precision(&config, "model.layers.999.self_attn.o_proj", false), Precision::Half);
        assert_eq!(precision(&config, "model.layers.1000.self_attn.o_proj", false), Precision::Nvfp4);
    }

    #[test]
    fn each_method_has_its_precision() {
        let of = |config: Value| {
            let read = read(&config, &json!({})).unwrap();
            (read.linear("model.layers.0.x", false), read.linear("model.layers.0.x", true))
        };
        let same = |precision: Precision| (precision, precision);
        assert_eq!(of(json!({"quant_method": "fp8"})), same(Precision::Fp8Tensor));
        assert_eq!(of(json!({"quant_method": "fbgemm_fp8"})), same(Precision::Fp8Channel));
        assert_eq!(of(json!({"quant_method": "mxfp4"})), (Precision::Half, Precision::Mxfp4));
        assert_eq!(of(json!({"quantization": {"quant_algo": "NVFP4"}})), same(Precision::Nvfp4));
        assert_eq!(of(json!({"quant_method": "modelopt", "quant_algo": "FP8"})), same(Precision::Fp8Tensor));
        assert_eq!(of(json!({"quant_method": "modelopt", "quant_algo": "MXFP8"})), same(Precision::Mxfp8));
        let int = Precision::Int { bits: 4, group: 128 };
        assert_eq!(of(json!({"quant_method": "gptq", "bits": 4, "group_size": 128})), same(int));
        assert_eq!(of(json!({"quant_method": "awq", "w_bit": 4, "q_group_size": 128})), same(int));
        let tensors = |weights: Value| {
            of(json!({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": weights}}})).0
        };
        assert_eq!(
            tensors(json!({"num_bits": 8, "type": "float", "strategy": "tensor"})),
            Precision::Fp8Tensor
        );
        assert_eq!(
            tensors(json!({"num_bits": 8, "type": "float", "strategy": "channel"})),
            Precision::Fp8Channel
        );
        assert_eq!(tensors(json!({"num_bits": 4, "type": "float", "group_size": 16})), Precision::Nvfp4);
        assert_eq!(tensors(json!({"num_bits": 4, "type": "float", "group_size": 32})), Precision::Mxfp4);
    }

    #[test]
    fn rules_of_gptq_leave_modules_as_they_are() {
        let gptq = |dynamic: Value| json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": dynamic});
        let rules = gptq(
            json!({"lm_head": {}, "+:.*up_proj": {"bits": 4}, "-:.*attn.*": {}, "-:.*shared_expert.*": {}}),
        );
        let int = Precision::Int { bits: 4, group: 128 };
        assert_eq!(precision(&rules, "model.layers.0.self_attn.q_proj", false), Precision::Half);
        assert_eq!(precision(&rules, "model.layers.0.mlp.shared_experts.up_proj", false), Precision::Half);
        assert_eq!(precision(&rules, "model.layers.0.mlp.experts.up_proj", true), int);
        for other in [json!({"bits": 8}), json!({"group_size": 32}), json!({"group_size": -1}), json!(false)]
        {
            let error = read(&gptq(json!({"-:.*gate.*": {}, "+:.*down.*": other})), &json!({})).unwrap_err();
            assert_eq!(error.field, "quantization_config.dynamic");
            assert!(error.problem.contains("+:.*down.*"), "{error}");
        }
    }

    #[test]
    fn a_scheme_for_some_layers_alone_is_refused() {
        let tensors = |targets: Value| {
            let weights = json!({"num_bits": 4, "type": "int", "group_size": 32});
            let groups = json!({"g": {"targets": targets, "weights": weights}});
            read(&json!({"quant_method": "compressed-tensors", "config_groups": groups}), &json!({}))
        };
        assert!(tensors(json!(["Linear"])).is_ok());
        for targets in [json!(["re:.*experts.*"]), json!(["Linear", "x"]), json!([])] {
            assert_eq!(tensors(targets).unwrap_err().field, "quantization_config.config_groups");
        }
    }

    #[test]
    fn a_cache_in_fp8_is_what_the_checkpoint_has_scales_for() {
        let of = |config: Value| read(&config, &json!({})).unwrap().fp8_cache;
        let scheme = |bits: u64| json!({"type": "float", "num_bits": bits, "dynamic": false});
        assert!(of(json!({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}})));
        assert!(of(json!({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": scheme(8)})));
        assert!(!of(json!({"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": null}})));
        assert!(!of(json!({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": scheme(4)})));
        assert!(
            !of(json!({"quant_method": "fp8", "kv_cache_quant_algo": "FP8"})),
            "vLLM asks modelopt's alone"
        );
    }

    #[test]
    fn float32_is_loaded_in_two_bytes() {
        let file = json!({"torch_dtype": "float32"});
        let fields = Fields::new(file.as_object().unwrap(), "");
        let read = Quantization::none(fields, fields).unwrap();
        assert_eq!((read.plain, read.stored), (Precision::Half, Precision::Single));
        assert_eq!((read.name.as_str(), read.linear("a", true)), ("float32", Precision::Half));
    }

    #[test]
    fn the_experts_of_deepseek_v4_have_four_bits() {
        let config = json!({"quant_method": "fp8", "weight_block_size": [128, 128]});
        let read = read(&config, &json!({"expert_dtype": "fp4"})).unwrap();
        assert_eq!(read.linear("model.layers.0.mlp.experts.down_proj", true), Precision::Mxfp4);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let field = |config: Value| read(&config, &json!({})).unwrap_err().field;
        assert_eq!(field(json!({"quant_method": "hqq"})), "quantization_config.quant_method");
        assert_eq!(field(json!({"quant_algo": "MIXED_PRECISION"})), "quantization_config.quant_algo");
        assert_eq!(
            field(json!({"quant_method": "fp8", "weight_block_size": [0, 1]})),
            "quantization_config.weight_block_size"
        );
        let many: Vec<String> = (0..=MOST_PATTERNS).map(|number| format!("re:{number}")).collect();
        assert_eq!(field(json!({"quant_method": "fp8", "ignore": many})), "quantization_config.ignore");
        let large = json!({"quant_method": "fp8", "ignore": ["re:((a{100}){100}){100}"]});
        assert_eq!(field(large), "quantization_config.ignore");
        assert_eq!(field(json!({"quant_method": "compressed-tensors"})), "quantization_config.config_groups");
    }
}
