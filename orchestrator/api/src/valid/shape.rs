//! Pods and GPUs of one group, as its template has them, and whether they are as many as the engine has ranks. Nothing else
//! of a fleet.

use serde_json::Value;

use super::{Invalid, invalid};
use crate::spec::{Model, Parallelism};

/// What one group consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupShape {
    /// Pods of the head and of every worker.
    pub pods: Vec<PodShape>,
}

/// One pod of a group, as far as placement and capacity need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodShape {
    /// `head` or the worker group's name.
    pub role: String,
    /// GPUs that Ray is told of.
    pub gpus: u32,
    /// The pod spec, for capacity.
    pub spec: Value,
}

impl GroupShape {
    /// GPUs of the whole group.
    pub fn gpus(&self) -> u32 {
        self.pods.iter().map(|pod| pod.gpus).sum()
    }
}

pub(super) fn group_shape(spec: &Value, problems: &mut Vec<Invalid>) -> GroupShape {
    let mut pods = Vec::new();
    pod_shapes(&spec["headGroupSpec"], "head", 1, "spec.template.spec.headGroupSpec", &mut pods, problems);
    for (index, group) in spec["workerGroupSpecs"].as_array().into_iter().flatten().enumerate() {
        let field = format!("spec.template.spec.workerGroupSpecs[{index}]");
        let name = group["groupName"].as_str().unwrap_or_default();
        let count =
            group["replicas"].as_u64().unwrap_or_default() * group["numOfHosts"].as_u64().unwrap_or(1);
        if count > 10_000 {
            problems.push(invalid(&field, "more than 10000 workers"));
            continue;
        }
        pod_shapes(group, name, count, &field, &mut pods, problems);
    }
    GroupShape { pods }
}

fn pod_shapes(
    group: &Value,
    role: &str,
    count: u64,
    field: &str,
    pods: &mut Vec<PodShape>,
    problems: &mut Vec<Invalid>,
) {
    let spec = &group["template"]["spec"];
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        problems.push(invalid(&format!("{field}.template.spec.containers"), "at least one is required"));
        return;
    }
    let gpus = match gpus_of(group) {
        Ok(gpus) => gpus,
        Err(problem) => {
            problems.push(invalid(field, problem));
            return;
        }
    };
    for _ in 0..count {
        pods.push(PodShape { role: role.to_owned(), gpus, spec: spec.clone() });
    }
}

/// GPUs as KubeRay tells Ray: `num-gpus`, else the limits of the first container that end in `gpu`.
fn gpus_of(group: &Value) -> Result<u32, String> {
    let parse = |text: &str, what: &str| {
        text.parse::<u32>().map_err(|_| format!("{what}: `{text}` is not a whole number of GPUs"))
    };
    if let Some(text) = group["rayStartParams"]["num-gpus"].as_str() {
        return parse(text, "rayStartParams.num-gpus");
    }
    let limits = group["template"]["spec"]["containers"][0]["resources"]["limits"].as_object();
    let mut sum = 0_u32;
    for (name, value) in limits.into_iter().flatten().filter(|(name, _)| name.ends_with("gpu")) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sum = sum.saturating_add(parse(&text, &format!("limits[{name}]"))?);
    }
    Ok(sum)
}

pub(super) fn check_gpus(model: &Model, shape: &GroupShape, problems: &mut Vec<Invalid>) {
    let Parallelism { tensor, pipeline, .. } = model.parallelism;
    let over_nodes = model.placement.as_ref().is_some_and(|placement| placement.tensor_domain.is_some());
    let ranks = u64::from(tensor) * u64::from(pipeline);
    if ranks != u64::from(shape.gpus()) {
        problems.push(invalid(
            "spec.model.parallelism",
            format!(
                "tensor {tensor} x pipeline {pipeline} = {ranks} ranks, but the template has {} GPUs in {} pods: \
                 change parallelism, the GPU limits or workerGroupSpecs[].replicas",
                shape.gpus(),
                shape.pods.len()
            ),
        ));
    } else if let Some(pod) = shape.pods.iter().find(|pod| pod.gpus % tensor.max(1) != 0 && !over_nodes) {
        problems.push(invalid(
            "spec.model.parallelism.tensor",
            format!(
                "a tensor group of {tensor} ranks never leaves a node, but pod `{}` has {} GPUs: \
                 make them a multiple of {tensor}, or name a fabric of several nodes in \
                 spec.model.placement.tensorDomain",
                pod.role, pod.gpus
            ),
        ));
    }
}
