//! The model block that says what a command said.

use rayfleet_api::valid::DEFAULT_PORT;
use serde_json::{Value, json};

use super::log::Log;
use crate::rules::is_secret;
use crate::vllm::Vllm;
use crate::workload::Workload;

/// How much a migration may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Tensor ranks over several pods become tensor ranks within a pod, and a pipeline over the pods: the same ranks on the same GPUs,
    /// another division of the model. Otherwise such a command is not translated.
    pub split_tensor: bool,
}

/// The block, or why there can be none.
pub(super) fn block(
    workload: &Workload<'_>,
    vllm: &Vllm,
    exported: &[(String, String)],
    options: Options,
    log: &mut Log<'_>,
) -> Result<Value, Vec<String>> {
    let mut problems: Vec<String> = vllm
        .odd
        .iter()
        .map(|odd| format!("`{odd}` has no fixed value that a model block could have"))
        .collect();
    let field = workload.launch_field();
    let source = vllm.source.clone().unwrap_or_else(|| {
        problems.push("the command names no model right behind `vllm serve` or with --model".to_owned());
        String::new()
    });
    let (tensor, pipeline) = sizes(workload, vllm, options, &mut problems, log);
    for (name, _) in exported.iter().chain(&vllm.env).filter(|(name, _)| is_secret(name)) {
        problems.push(format!(
            "{name} is set in the command, and Ray's dashboard shows spec.model in clear: put it into a Secret and into the container's \
             env by valueFrom.secretKeyRef"
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Without --served-model-name vLLM serves a model under its source.
    let name = vllm.served.first().unwrap_or(&source);
    if let [_, others @ ..] = vllm.served.as_slice()
        && !others.is_empty()
    {
        let what = format!("the model is no longer served as {}", others.join(", "));
        log.dropped(&field, &what, "a model block has one name: let clients ask for it");
    }
    if let Some(host) = &vllm.host {
        let what = format!(
            "--host {host} is gone: the engine listens on every address of its pod, where it is asked"
        );
        let cure = "see who reaches the pod before you apply it: manifests/fleet-network-policy.yaml has the rule (docs/security.md, Network)";
        log.dropped(&field, &what, cure);
    }
    let mut model =
        json!({"name": name, "source": source, "parallelism": {"tensor": tensor, "pipeline": pipeline}});
    if vllm.data > 1 {
        model["parallelism"]["data"] = json!(vllm.data);
        data_parallel(vllm, &field, log);
    }
    if let Some(port) = vllm.port.filter(|port| *port != DEFAULT_PORT) {
        model["port"] = json!(port);
    }
    let mut engine = json!({});
    if !vllm.rest.is_empty() {
        engine["args"] = json!(vllm.rest);
    }
    let env = exported.iter().chain(&vllm.env).map(|(name, value)| json!({"name": name, "value": value}));
    let env: Vec<Value> = env.collect();
    if !env.is_empty() {
        engine["env"] = json!(env);
    }
    if engine != json!({}) {
        model["engine"] = engine;
    }
    log.changed(&field, "the engine's command became spec.model", "read it before you apply it");
    Ok(model)
}

/// What is to be said of data-parallel engines.
fn data_parallel(vllm: &Vllm, field: &str, log: &mut Log<'_>) {
    if !vllm.data_placement.is_empty() {
        let what = format!("`{}` is gone", vllm.data_placement.join(" "));
        let cure = "nothing: by parallelism.data Rayfleet sets it and places the engines";
        log.changed(field, &what, cure);
    }
    let shared = |arg: &String| ["--enable-expert-parallel", "-ep"].contains(&arg.replace('_', "-").as_str());
    if !vllm.rest.iter().any(shared) {
        let what = format!(
            "parallelism.data {} is for mixtures of experts: a dense model is refused when it loads",
            vllm.data
        );
        let cure = "of a dense model take data out and raise spec.replicas; of a mixture of experts --enable-expert-parallel in \
                    spec.model.engine.args has the ranks share the experts";
        log.check(field, &what, cure);
    }
}

/// Tensor and pipeline sizes.
fn sizes(
    workload: &Workload<'_>,
    vllm: &Vllm,
    options: Options,
    problems: &mut Vec<String>,
    log: &mut Log<'_>,
) -> (u64, u64) {
    let (tensor, pipeline) = (u64::from(vllm.tensor), u64::from(vllm.pipeline));
    let mut gpus =
        workload.roles.iter().filter(|role| role.pods > 0).map(|role| role.gpus.unwrap_or_default());
    let first = gpus.next().unwrap_or_default();
    let each = if gpus.all(|gpus| gpus == first) { u64::from(first) } else { 0 };
    if each == 0 || tensor <= each || !vllm.engine_ranks().is_multiple_of(each) {
        return (tensor, pipeline);
    }
    let stages = vllm.engine_ranks() / each;
    let other = format!("tensor {each} x pipeline {stages}");
    if options.split_tensor {
        let what =
            format!("tensor {tensor} x pipeline {pipeline} became {other}, so that no stage leaves its pod");
        log.changed(
            &workload.launch_field(),
            &what,
            "measure it, and see that the model has as many layers as stages",
        );
        return (each, stages);
    }
    problems.push(format!(
        "tensor {tensor} is more than the {each} GPUs of a pod, and a stage never leaves its pod without placement.tensorDomain: \
         --split-tensor has the migration split it into {other}; or name the fabric's label by hand"
    ));
    (tensor, pipeline)
}
