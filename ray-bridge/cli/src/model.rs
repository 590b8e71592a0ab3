//! The model file: the `spec.model` block of a fleet, checked by the rules of fleets and by those of the
//! bridge.

use std::time::Duration;

use ray_bridge::SubmissionId;
use ray_bridge::engine::{EngineSpec, Probe};
use ray_bridge::placement::Policy;
use ray_bridge_model::{FieldError, ValidModel, standalone};
use rayfleet_cli_kit::{CliError, input};
use serde_json::{Map, Value};

use crate::args::{ModelArgs, PlacementArgs, Share};

/// Longest file that is read, in bytes.
const MOST: u64 = 1 << 20;

/// An engine to deploy.
#[derive(Debug)]
pub(crate) struct Model {
    /// The specification to launch.
    pub(crate) spec: EngineSpec,
    /// Which nodes it may use.
    pub(crate) policy: Policy,
    /// The probe that it must answer.
    pub(crate) probe: Probe,
    /// Time limit from the launch to a healthy engine.
    pub(crate) start_timeout: Duration,
}

/// Reads and checks a model file.
pub(crate) fn load(args: &ModelArgs) -> Result<Model, CliError> {
    let name = args.file.display().to_string();
    let text = input::read(&args.file, MOST).map_err(|error| {
        CliError::usage(format!("{name}: {error}"), "give a model file with -f, or - for input")
    })?;
    parse(&text, args.name.clone(), &args.placement).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: {problem}")).collect();
        CliError::usage(
            lines.join("\n       "),
            "correct the file; its fields are those of spec.model in docs/reference.md",
        )
    })
}

/// Parses and checks a model file; returns every problem, not only the first.
fn parse(text: &str, name: Option<SubmissionId>, given: &PlacementArgs) -> Result<Model, Vec<String>> {
    let mut block: Value = serde_saphyr::from_str(text).map_err(|error| vec![error.to_string()])?;
    if block.get("kind").is_some() {
        return Err(vec![
            "this is a Kubernetes object: give the block under its spec.model alone".to_owned(),
        ]);
    }
    overrule(&mut block, given);
    let valid = standalone::model(&block)
        .map_err(|problems| problems.iter().map(FieldError::to_string).collect::<Vec<_>>())?;
    engine(&valid, name, given)
}

/// Writes the flags of the command line into the block, so that the same rules apply to them.
fn overrule(block: &mut Value, given: &PlacementArgs) {
    let strategy = given.strategy.map(|strategy| match strategy {
        Share::Pack => "Pack",
        Share::Spread => "Spread",
    });
    let given = [
        ("strategy", strategy.map(Value::from)),
        ("tensorDomain", given.tensor_domain.as_deref().map(Value::from)),
        ("topology", (!given.topology.is_empty()).then(|| Value::from(given.topology.clone()))),
    ];
    let Some(model) = block.as_object_mut() else { return };
    for (field, value) in given.into_iter().filter_map(|(field, value)| Some((field, value?))) {
        let placement = model.entry("placement").or_insert(Value::Null);
        if placement.is_null() {
            *placement = Value::Object(Map::new());
        }
        // The schema refuses anything other than a block.
        if let Some(placement) = placement.as_object_mut() {
            placement.insert(field.to_owned(), value);
        }
    }
}

fn engine(
    valid: &ValidModel,
    name: Option<SubmissionId>,
    given: &PlacementArgs,
) -> Result<Model, Vec<String>> {
    let name = match name {
        Some(name) => name,
        None => SubmissionId::new(job_name(&valid.name)).map_err(|error| vec![format!("name: {error}")])?,
    };
    Ok(Model {
        spec: valid.engine_spec(name).map_err(|error| vec![format!("parallelism: {error}")])?,
        policy: Policy {
            avoid: given.avoid.iter().cloned().collect(),
            exclude: given.exclude.iter().cloned().collect(),
            ..valid.policy()
        },
        probe: valid.probe(),
        start_timeout: valid.start_timeout,
    })
}

/// A job name from the model's name, such as `meta-llama/Llama-3.1-8B`: characters that an id cannot contain
/// become `-`.
fn job_name(model: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = model.chars().map(|c| if fits(c) { c } else { '-' }).take(128).collect();
    name.trim_start_matches(['.', '_', '-']).to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use ray_bridge::placement::{Level, Strategy};

    use super::*;

    pub(crate) const TINY: &str = "
name: tiny
source: /models/tiny
parallelism: {tensor: 2, pipeline: 2}
startTimeout: 2m
engine: {type: custom, entrypoint: 'light_engine:serve', args: [--load-seconds, '1']}
probe: {prompt: Hi, maxTokens: 4}
";

    /// The model of [`TINY`], with a change to its text.
    pub(crate) fn tiny(from: &str, to: &str) -> Model {
        parse(&TINY.replace(from, to), None, &PlacementArgs::default()).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        parse(text, None, &PlacementArgs::default()).unwrap_err()
    }

    #[test]
    fn the_block_of_a_fleet_is_a_model_file() {
        let model = tiny("", "");
        assert_eq!(model.spec.name.as_str(), "tiny");
        assert_eq!((model.spec.port, model.spec.shape.ranks()), (8000, 4));
        assert_eq!((model.probe.prompt.as_str(), model.probe.max_tokens), ("Hi", 4));
        assert_eq!(model.start_timeout, Duration::from_mins(2));
    }

    #[test]
    fn the_job_is_named_after_the_model_or_the_flag() {
        assert_eq!(
            tiny("name: tiny", "name: meta-llama/Llama-3.1-8B").spec.name.as_str(),
            "meta-llama-Llama-3.1-8B"
        );
        let given = SubmissionId::new("canary").unwrap();
        assert_eq!(parse(TINY, Some(given.clone()), &PlacementArgs::default()).unwrap().spec.name, given);
        assert!(problems(&TINY.replace("name: tiny", "name: //")).first().unwrap().starts_with("name: "));
    }

    #[test]
    fn the_command_line_overrides_the_file_and_is_checked_by_the_same_rules() {
        let text = format!("{TINY}placement: {{strategy: Spread, tensorDomain: fab}}\n");
        let policy = |given: &PlacementArgs| parse(&text, None, given).map(|model| model.policy);
        let file = policy(&PlacementArgs::default()).unwrap();
        assert_eq!((file.strategy, file.tensor_domain.as_deref()), (Strategy::Spread, Some("fab")));
        assert_eq!(file.levels, Policy::default().levels);

        let given = PlacementArgs {
            strategy: Some(Share::Pack),
            topology: vec!["rack".to_owned()],
            avoid: vec!["w1".to_owned()],
            ..PlacementArgs::default()
        };
        let both = policy(&given).unwrap();
        assert_eq!((both.strategy, both.tensor_domain.as_deref()), (Strategy::Pack, Some("fab")));
        assert_eq!((both.levels, both.avoid.len()), (vec![Level::of("rack")], 1));

        let wrong = PlacementArgs { tensor_domain: Some("a b".to_owned()), ..PlacementArgs::default() };
        let said = policy(&wrong).unwrap_err();
        assert_eq!(said.len(), 1);
        assert!(
            said.iter().all(|said| said.starts_with("placement.tensorDomain: `a b` is no label")),
            "{said:?}"
        );
    }

    #[test]
    fn problems_name_the_field() {
        let owned = TINY
            .replace("--load-seconds", "--port=1")
            .replace("startTimeout: 2m", "startTimeout: 2m\nprot: 1");
        assert!(
            problems(&owned).first().unwrap().starts_with("prot: there is no such field; there are: engine")
        );
        let owned = TINY.replace("--load-seconds", "--port=1");
        assert_eq!(
            problems(&owned),
            [
                "engine.args: --port: the bridge sets the address that it watches; set the port of the model instead"
            ]
        );
    }

    #[test]
    fn a_whole_fleet_is_refused_as_a_model_file() {
        assert_eq!(
            problems("kind: RayClusterFleet\nspec: {}"),
            ["this is a Kubernetes object: give the block under its spec.model alone"]
        );
        assert!(problems("a: [").first().is_some_and(|said| said.contains("line")));
    }
}
