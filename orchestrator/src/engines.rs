//! From validated models to what the bridge is given. Pure.

use ray_bridge::SubmissionId;
use ray_bridge::engine::{EngineKind, EngineSpec, Probe, check_args, check_env};
use ray_bridge::placement::{FreeGpus, Level, Policy, Shape, Strategy};
use rayfleet_api::FieldError;
use rayfleet_api::spec::{EngineType, PlacementStrategy};
use rayfleet_api::status::GroupStatus;
use rayfleet_api::valid::ValidModel;

use std::collections::BTreeMap;
use std::time::Duration;

/// How long Ray may take to place a group that fits on paper.
const PLACEMENT: Duration = Duration::from_mins(1);
/// How long the probe prompt may take: the first request of an engine compiles and warms up.
const PROBE: Duration = Duration::from_mins(5);

/// The submission id of the launch that a ledger entry stands at; `None` in compatibility mode.
pub(crate) fn submission(group: &GroupStatus) -> Option<SubmissionId> {
    group.engine_revision.as_ref()?;
    SubmissionId::new(group.launch_id().to_string()).ok()
}

/// The engine to launch.
pub(crate) fn spec(name: SubmissionId, model: &ValidModel) -> Result<EngineSpec, String> {
    let kind = match model.engine {
        EngineType::Vllm => EngineKind::Vllm,
        EngineType::Custom => EngineKind::Custom { entrypoint: model.entrypoint.clone().unwrap_or_default() },
    };
    Ok(EngineSpec {
        kind,
        name,
        model_name: model.name.clone(),
        source: model.source.clone(),
        args: model.args.clone(),
        env: environment(model),
        shape: shape(model)?,
        port: model.port,
        placement_timeout: PLACEMENT,
        probe: Some(probe(model)),
    })
}

/// Ranks of a model.
pub(crate) fn shape(model: &ValidModel) -> Result<Shape, String> {
    Shape::new(model.parallelism.tensor, model.parallelism.pipeline).map_err(|error| error.to_string())
}

/// Which nodes of a group's own Ray cluster the ranks may go to.
pub(crate) fn policy(model: &ValidModel) -> Policy {
    let placement = &model.placement;
    let default = Policy {
        strategy: match placement.strategy {
            PlacementStrategy::Pack => Strategy::Pack,
            PlacementStrategy::Spread => Strategy::Spread,
        },
        tensor_domain: placement.tensor_domain.clone(),
        // A RayCluster of ours runs nothing but this engine, and Ray's own count of free GPUs is seconds old.
        free: FreeGpus::All,
        ..Policy::default()
    };
    if placement.topology.is_empty() {
        return default;
    }
    Policy { levels: placement.topology.iter().map(|label| Level::of(label)).collect(), ..default }
}

/// The prompt that the engine must answer.
pub(crate) fn probe(model: &ValidModel) -> Probe {
    Probe {
        model: model.name.clone(),
        prompt: model.probe.prompt.clone(),
        max_tokens: model.probe.max_tokens,
        expect: model.probe.expect.clone(),
        timeout: PROBE,
    }
}

fn environment(model: &ValidModel) -> BTreeMap<String, String> {
    model.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
}

/// What only the bridge knows to be wrong with a model.
pub(crate) fn check(model: &ValidModel) -> Vec<FieldError> {
    let invalid = |field: &str, problem: String| FieldError { field: field.to_owned(), problem };
    let mut problems = Vec::new();
    if let Err(refused) = check_args(&model.args) {
        problems.push(invalid("spec.model.engine.args", refused.to_string()));
    }
    if let Err(refused) = check_env(&environment(model)) {
        problems.push(invalid("spec.model.engine.env", refused.to_string()));
    }
    if problems.is_empty() {
        let name = SubmissionId::new("check").map_err(|error| error.to_string());
        let checked = name.and_then(|name| spec(name, model)).map(|spec| spec.check());
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => problems.push(invalid("spec.model", refused.to_string())),
            Err(refused) => problems.push(invalid("spec.model.parallelism", refused)),
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::fleet;

    #[test]
    fn arguments_that_the_bridge_owns_are_refused_with_the_field() {
        let mut model = fleet().model.unwrap();
        model.args = vec!["--tensor-parallel-size=4".into()];
        let problems = check(&model);
        assert_eq!(problems[0].field, "spec.model.engine.args");
    }

    /// The CRD refuses the usual spellings of what the bridge owns, and the bridge all that the CRD refuses.
    #[test]
    fn the_crd_and_the_bridge_own_the_same_arguments() {
        use rayfleet_api::owned;
        let mut long: Vec<&str> = ray_bridge::engine::owned_args()
            .filter(|(_, family, _)| !family)
            .map(|(long, _, _)| long)
            .collect();
        let mut short: Vec<&str> =
            ray_bridge::engine::owned_args().flat_map(|(_, _, short)| short).copied().collect();
        let family: Vec<&str> = ray_bridge::engine::owned_args()
            .filter(|(_, family, _)| *family)
            .map(|(long, _, _)| long)
            .collect();
        long.sort_unstable();
        short.sort_unstable();
        assert_eq!((&*long, &*short, &*family), (&owned::LONG[..], &owned::SHORT[..], &[owned::FAMILY][..]));
        for arg in ["--port=9000", "--port", "--served_model_name", "-tp=2", "-dpl", "--data_parallel_size"] {
            assert!(owned::is_owned(arg) && check_args(&[arg.to_owned()]).is_err(), "{arg}");
        }
    }

    #[test]
    fn the_placement_of_a_model_guides_the_plan() {
        let mut model = fleet().model.unwrap();
        assert_eq!(policy(&model), Policy { free: FreeGpus::All, ..Policy::default() });
        model.placement.strategy = PlacementStrategy::Spread;
        model.placement.tensor_domain = Some("fab".into());
        model.placement.topology = vec!["rack".into(), "zone".into()];
        let wanted = Policy {
            strategy: Strategy::Spread,
            tensor_domain: Some("fab".into()),
            levels: vec![Level::of("rack"), Level::of("zone")],
            free: FreeGpus::All,
            ..Policy::default()
        };
        assert_eq!(policy(&model), wanted);
    }

    #[test]
    fn a_plain_model_is_fine() {
        assert_eq!(check(&fleet().model.unwrap()), []);
    }
}
