//! From a model block as users wrote it to what the rest works with: defaults filled in, every rule checked that does not depend on
//! the nodes or the template that it will run on.

use std::time::Duration;

use crate::block::{Engine, EngineType, EnvVar, Model, Parallelism, PlacementPolicy, PlacementStrategy};
use crate::duration::{LONGEST, SHORTEST, length, parse};
use crate::field_error::{FieldError, invalid};
use crate::schema;

/// Port of an engine where the model block does not say.
pub const DEFAULT_PORT: u16 = 8000;

/// Longest start of an engine where the model block does not say.
pub const START_TIMEOUT: Duration = Duration::from_mins(45);

/// The engine of a group in bridge mode.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidModel {
    /// Served name.
    pub name: String,
    /// What the engine loads.
    pub source: String,
    /// Kind of engine.
    pub engine: EngineType,
    /// Callable of a custom engine.
    pub entrypoint: Option<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<EnvVar>,
    /// Ranks.
    pub parallelism: Parallelism,
    /// Which nodes they go to.
    pub placement: ValidPlacement,
    /// Port of the API server.
    pub port: u16,
    /// Longest start.
    pub start_timeout: Duration,
    /// Gate before traffic.
    pub probe: ValidProbe,
}

/// Which nodes ranks go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidPlacement {
    /// How stages share nodes.
    pub strategy: PlacementStrategy,
    /// Label of what a stage never leaves, if that is not the node.
    pub tensor_domain: Option<String>,
    /// Labels from the inside out; empty for the well-known ones.
    pub topology: Vec<String>,
}

/// The prompt that must be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidProbe {
    /// Prompt.
    pub prompt: String,
    /// Tokens.
    pub max_tokens: u32,
    /// Expected part of the answer.
    pub expect: Option<String>,
}

/// Fills in defaults. All problems are reported, not just the first; their fields are paths from the block on.
pub fn valid_model(model: &Model, problems: &mut Vec<FieldError>) -> ValidModel {
    let engine = model.engine.clone().unwrap_or_default();
    let kind = engine.type_.unwrap_or_default();
    if kind == EngineType::Custom && engine.entrypoint.as_deref().is_none_or(|e| !e.contains(':')) {
        problems.push(invalid("engine.entrypoint", "is required for type custom, as module:function"));
    }
    check_engine(&engine, problems);
    let probe = model.probe.clone().unwrap_or_default();
    ValidModel {
        name: model.name.clone(),
        source: model.source.clone(),
        engine: kind,
        entrypoint: engine.entrypoint,
        args: engine.args,
        env: engine.env,
        parallelism: model.parallelism,
        placement: valid_placement(model.placement.clone().unwrap_or_default(), problems),
        port: model.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT),
        start_timeout: start_timeout(model.start_timeout.as_deref(), problems),
        probe: ValidProbe {
            prompt: probe.prompt.unwrap_or_else(|| "Hello".to_owned()),
            max_tokens: probe.max_tokens.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(1),
            expect: probe.expect,
        },
    }
}

/// Most bytes of an engine's arguments and environment. Ray passes them on, beside the plan and written as JSON in JSON, in one
/// environment string; Linux takes none above 128 KiB, and the launch would end in `E2BIG`.
const MOST_ENGINE_BYTES: usize = 96 << 10;

/// What was stored before there were bounds is kept within them: groups of this model may serve.
fn start_timeout(text: Option<&str>, problems: &mut Vec<FieldError>) -> Duration {
    let said = text.and_then(parse).map(|length| length.clamp(SHORTEST, LONGEST));
    said.unwrap_or_else(|| length(text, "startTimeout", (START_TIMEOUT, SHORTEST), problems))
}

fn check_engine(engine: &Engine, problems: &mut Vec<FieldError>) {
    let variables =
        engine.env.iter().map(|variable| variable.name.len().saturating_add(variable.value.len()));
    let bytes = engine.args.iter().map(String::len).chain(variables).fold(0, usize::saturating_add);
    if bytes > MOST_ENGINE_BYTES {
        problems.push(invalid(
            "engine",
            format!("args and env have {bytes} bytes together, at most {MOST_ENGINE_BYTES} can be handed to an engine: put what is large into a file of the image or a volume"),
        ));
    }
}

fn valid_placement(policy: PlacementPolicy, problems: &mut Vec<FieldError>) -> ValidPlacement {
    let domain = policy.tensor_domain.iter().map(|label| ("placement.tensorDomain".to_owned(), label));
    let levels = policy.topology.iter().enumerate();
    let levels = levels.map(|(level, label)| (format!("placement.topology[{level}]"), label));
    for (field, label) in domain.chain(levels) {
        if !is_label_key(label) {
            let problem = format!("`{label}` is no label: write it as topology.kubernetes.io/zone or rack");
            problems.push(invalid(&field, problem));
        }
    }
    if policy.topology.len() > schema::LEVELS {
        problems.push(invalid("placement.topology", format!("must be at most {} labels", schema::LEVELS)));
    }
    ValidPlacement {
        strategy: policy.strategy.unwrap_or_default(),
        tensor_domain: policy.tensor_domain,
        topology: policy.topology,
    }
}

/// What [`schema::LABEL_KEY`] says, for a block that no API server has seen.
fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let ends = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let of = |text: &str, also: &[char]| text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(&c));
    let name_fits = ends(name) && of(name, &['-', '_', '.']) && name.len() <= 63;
    let fits = |domain: &str| {
        let lower = !domain.chars().any(|c| c.is_ascii_uppercase());
        ends(domain) && of(domain, &['-', '.']) && lower && domain.len() <= 253
    };
    name_fits && domain.is_none_or(fits)
}
