//! The one translation of a valid model into what the bridge is given: the engine, where its ranks may go, and the prompt that it must
//! answer.

use std::time::Duration;

use ray_bridge::SubmissionId;
use ray_bridge::engine::{EngineKind, EngineSpec, Probe, check_args, check_env};
use ray_bridge::placement::{InvalidShape, Level, Policy, Shape, Strategy};

use crate::block::{EngineType, PlacementStrategy};
use crate::field_error::{FieldError, invalid};
use crate::valid::ValidModel;

/// How long Ray may take to place a group that fits on paper.
const PLACEMENT: Duration = Duration::from_mins(1);
/// How long the probe prompt may take: the first request of an engine compiles and warms up.
const PROBE: Duration = Duration::from_mins(5);

impl ValidModel {
    /// The engine to launch under this name.
    pub fn engine_spec(&self, name: SubmissionId) -> Result<EngineSpec, InvalidShape> {
        Ok(EngineSpec {
            kind: match self.engine {
                EngineType::Vllm => EngineKind::Vllm,
                EngineType::Custom => {
                    EngineKind::Custom { entrypoint: self.entrypoint.clone().unwrap_or_default() }
                }
            },
            name,
            model_name: self.name.clone(),
            source: self.source.clone(),
            args: self.args.clone(),
            env: self.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect(),
            shape: Shape::of(self.parallelism.engines(), self.parallelism.tensor, self.parallelism.pipeline)?,
            port: self.port,
            placement_timeout: PLACEMENT,
            probe: Some(self.probe()),
        })
    }

    /// Which nodes its ranks may go to, as far as the block says it.
    pub fn policy(&self) -> Policy {
        let default = Policy::default();
        Policy {
            strategy: match self.placement.strategy {
                PlacementStrategy::Pack => Strategy::Pack,
                PlacementStrategy::Spread => Strategy::Spread,
            },
            tensor_domain: self.placement.tensor_domain.clone(),
            levels: match self.placement.topology.as_slice() {
                [] => default.levels,
                labels => labels.iter().map(|label| Level::of(label)).collect(),
            },
            ..default
        }
    }

    /// The prompt that the engine must answer.
    pub fn probe(&self) -> Probe {
        Probe {
            model: self.name.clone(),
            prompt: self.probe.prompt.clone(),
            max_tokens: self.probe.max_tokens,
            expect: self.probe.expect.clone(),
            timeout: PROBE,
        }
    }

    /// What the bridge would refuse at a launch; fields are paths from the block on.
    pub fn launch_problems(&self) -> Vec<FieldError> {
        let spec = match SubmissionId::new("check").map(|name| self.engine_spec(name)) {
            Ok(Ok(spec)) => spec,
            Ok(Err(refused)) => return vec![invalid("parallelism", refused.to_string())],
            Err(refused) => return vec![invalid("", refused.to_string())],
        };
        let args = check_args(&spec.args).err().map(|refused| invalid("engine.args", refused.to_string()));
        let env = check_env(&spec.env).err().map(|refused| invalid("engine.env", refused.to_string()));
        let problems: Vec<FieldError> = args.into_iter().chain(env).collect();
        if !problems.is_empty() {
            return problems;
        }
        spec.check().err().map(|refused| invalid("", refused.to_string())).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::valid::valid_model;

    fn model(change: impl FnOnce(&mut Value)) -> ValidModel {
        let mut block = json!({
            "name": "m", "source": "/m", "parallelism": {"tensor": 2, "pipeline": 2},
            "engine": {"env": [{"name": "A", "value": "b"}]},
        });
        change(&mut block);
        let mut problems = Vec::new();
        let valid = valid_model(&serde_json::from_value(block).unwrap(), &mut problems);
        assert_eq!(problems, []);
        valid
    }

    fn refused(change: impl FnOnce(&mut Value)) -> Vec<String> {
        model(change).launch_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plain_model_becomes_an_engine() {
        let model = model(|_| {});
        assert_eq!(model.launch_problems(), []);
        let spec = model.engine_spec(SubmissionId::new("g.e.1").unwrap()).unwrap();
        assert_eq!((spec.name.as_str(), spec.model_name.as_str(), spec.port), ("g.e.1", "m", 8000));
        assert_eq!((spec.shape.tensor(), spec.shape.pipeline()), (2, 2));
        assert_eq!(spec.env.get("A").map(String::as_str), Some("b"));
        assert_eq!(spec.probe, Some(model.probe()));
        assert_eq!(model.policy(), Policy::default());
    }

    #[test]
    fn data_parallel_engines_are_part_of_the_shape() {
        let of = |data: u32| model(|block| block["parallelism"]["data"] = json!(data));
        let shape = |data: u32| of(data).engine_spec(SubmissionId::new("e").unwrap()).map(|spec| spec.shape);
        assert_eq!((shape(1).unwrap().data(), shape(3).unwrap().data()), (1, 3));
        assert_eq!(of(3).parallelism.in_words(), "data 3 x tensor 2 x pipeline 2 = 12 ranks");
        assert_eq!(of(1).parallelism.in_words(), "tensor 2 x pipeline 2 = 4 ranks");
        let [refused] = of(1024).launch_problems().try_into().unwrap();
        assert!(
            refused.to_string().starts_with("parallelism: data 1024 × tensor 2 × pipeline 2"),
            "{refused}"
        );
    }

    #[test]
    fn the_placement_of_a_model_guides_the_plan() {
        let placement = json!({"strategy": "Spread", "tensorDomain": "fab", "topology": ["rack", "zone"]});
        let wanted = Policy {
            strategy: Strategy::Spread,
            tensor_domain: Some("fab".into()),
            levels: vec![Level::of("rack"), Level::of("zone")],
            ..Policy::default()
        };
        assert_eq!(model(|block| block["placement"] = placement).policy(), wanted);
    }

    #[test]
    fn a_refusal_of_the_bridge_is_named_by_its_field() {
        let both = refused(|block| {
            block["engine"] = json!({
                "args": ["--tensor-parallel-size=4"], "env": [{"name": "RAY_ADDRESS", "value": "x"}],
            });
        });
        assert!(both[0].starts_with("engine.args: --tensor-parallel-size: "), "{both:?}");
        assert!(both[1].starts_with("engine.env: env RAY_ADDRESS: "), "{both:?}");
        assert!(refused(|block| block["source"] = json!("--x"))[0].starts_with("source: must be"));
        let large = refused(|block| block["parallelism"] = json!({"tensor": 1024, "pipeline": 2}));
        assert!(large[0].starts_with("parallelism: data 1 × tensor 1024 × pipeline 2: each"), "{large:?}");
    }
}
