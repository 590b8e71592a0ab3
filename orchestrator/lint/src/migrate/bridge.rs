//! A fleet whose template starts its engine, as one that Rayfleet places and runs: the command becomes `spec.model`, and everything goes
//! from the template that was there for it.

use serde_json::Value;

use super::edit::{put, take_out};
use super::log::Log;
use super::model::{self, Options};
use super::{own_engine, steps};
use crate::launch;
use crate::probe::{PROBES, asks};
use crate::shell::{Command, End};
use crate::vllm::Engine;
use crate::workload::{Role, Workload};

/// Versions against which Rayfleet is run (README.md).
const RAY: (u32, u32) = (2, 60);
const VLLM: (u32, u32) = (0, 32);
const OVERWRITE: &str = "ray.io/overwrite-container-cmd";
const CLUSTER: &str = "/spec/template/spec";

/// The fleet with a model block, or why there can be none.
pub(super) fn bridged(
    workload: &Workload<'_>,
    fleet: &Value,
    options: Options,
    log: &mut Log<'_>,
) -> Result<Value, Vec<String>> {
    let launch = workload.launch.as_ref();
    let Some((launch, (number, engine))) = launch.zip(workload.engine.as_ref()) else {
        return Err(vec!["the head has no command that starts an engine which is known".to_owned()]);
    };
    let Engine::Vllm(vllm) = engine else {
        return Err(vec![
            "only vLLM's command can become a model block; another engine needs type custom".to_owned(),
        ]);
    };
    let mut fleet = fleet.clone();
    let exported = steps::exported(launch, *number);
    let model = model::block(workload, vllm, &exported, options, log)?;
    let port = vllm.listens();
    let mut problems = Vec::new();
    let silent = |role: &&Role<'_>| ["command", "args"].iter().all(|name| role.container()[name].is_null());
    if let Some(role) = workload.roles.iter().find(silent).filter(|_| workload.lws) {
        problems.push(format!("what the image of {} runs is not known", role.container_field()));
    }
    for (index, role) in workload.roles.iter().enumerate() {
        let group = match index.checked_sub(1) {
            None => format!("{CLUSTER}/headGroupSpec"),
            Some(worker) => format!("{CLUSTER}/workerGroupSpecs/{worker}"),
        };
        let Some(group) = fleet.pointer_mut(&group) else { continue };
        let of_engine = role.head.then_some(*number);
        clean(role, group, (of_engine, port, &exported), &mut problems, log);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    own_engine::free_port(workload, &mut fleet, log);
    put(&mut fleet, &["spec", "model"], model);
    let Some(spec) = fleet.get_mut("spec") else { return Ok(fleet) };
    take_out(spec, &["template", "metadata", "annotations", OVERWRITE]);
    if spec["progressDeadlineSeconds"] == 600 {
        take_out(spec, &["progressDeadlineSeconds"]);
        let what = "progressDeadlineSeconds: 600, AIBrix's default, is gone";
        log.changed(
            "spec.progressDeadlineSeconds",
            what,
            "the deadline follows the time that groups take; write 601 for ten minutes",
        );
    }
    let head = workload.head().map(Role::container_field).unwrap_or_default();
    if let Some(ray) = spec["template"]["spec"]["rayVersion"].as_str().filter(|text| is_before(text, RAY)) {
        let what = format!("rayVersion {ray} is older than 2.60, against which Rayfleet is run");
        let cure = "try it beside what serves, or take an image with a newer Ray and write its version";
        log.check("spec.template.spec.rayVersion", &what, cure);
    }
    let image = workload.head().and_then(|head| head.container()["image"].as_str()).unwrap_or_default();
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
        .filter(|(name, _)| name.contains("vllm"));
    if let Some((_, tag)) = tag.filter(|(_, tag)| is_before(tag, VLLM)) {
        let what =
            format!("by its tag {tag} the image has an older vLLM than 0.32, against which Rayfleet is run");
        log.check(&format!("{head}.image"), &what, "try it beside what serves, or take a newer image");
    }
    log.check(
        &format!("{head}.image"),
        "the image needs Ray with its dashboard (ray[default]), of the version of rayVersion",
        "ask it: python -c 'import ray, aiohttp; print(ray.__version__)'",
    );
    Ok(fleet)
}

/// Whether a version such as `2.54.0` or `v0.11.0-x` is known and before another.
fn is_before(text: &str, other: (u32, u32)) -> bool {
    let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < other)
}

/// Takes from a group what started the engine and Ray.
fn clean(
    role: &Role<'_>,
    group: &mut Value,
    (engine, port, kept): (Option<usize>, u16, &steps::Variables),
    problems: &mut Vec<String>,
    log: &mut Log<'_>,
) {
    let field = role.container_field();
    let launch = launch::of(role.container());
    let has_command = ["command", "args"].iter().any(|name| !role.container()[name].is_null());
    match &launch {
        Some(launch) if engine.is_some() || launch.ray_start().is_some() => {
            let at = format!("{field}.{}", launch.field);
            for (index, command) in launch.commands.iter().enumerate() {
                if engine == Some(index) {
                    engine_output(command, &at, log);
                } else {
                    steps::step(command, kept, &at, group, log);
                }
            }
        }
        None if !has_command => {}
        _ => problems.push(format!(
            "the command of {field} does not start Ray, so that it is not known what it is for"
        )),
    }
    let Some(container) = group.pointer_mut("/template/spec/containers/0") else { return };
    for name in ["command", "args"] {
        take_out(container, &[name]);
    }
    if role.head {
        probes(role, group, port, log);
    }
    let containers = group.pointer_mut("/template/spec/containers").and_then(Value::as_array_mut);
    for (index, container) in containers.into_iter().flatten().enumerate() {
        let hook = container["lifecycle"]["preStop"].to_string();
        if hook.contains("ray stop") || hook.contains("\"ray\",\"stop\"") {
            take_out(container, &["lifecycle", "preStop"]);
            let field = format!("{}.spec.containers[{index}].lifecycle.preStop", role.field);
            log.changed(
                &field,
                "the preStop hook with ray stop is gone",
                "Rayfleet drains, then stops the engine, then deletes pods",
            );
        }
    }
    take_out(group, &["template", "metadata", "annotations", OVERWRITE]);
    if let Some(parameters) = group.pointer_mut("/rayStartParams").and_then(Value::as_object_mut) {
        parameters.remove("block");
    }
}

/// Takes probes out that ask the engine, of whatever container of the head.
fn probes(role: &Role<'_>, group: &mut Value, port: u16, log: &mut Log<'_>) {
    for (field, container) in role.containers() {
        let own = field == role.container_field();
        let path = field.strip_prefix(&role.field).unwrap_or_default().replace(['.', '['], "/");
        let Some(new) = group.pointer_mut(&format!("/template{}", path.replace(']', ""))) else { continue };
        for name in PROBES {
            if asks(container, name, port) {
                take_out(new, &[name]);
                let whose = if own { "the head's" } else { "a container's" };
                let what = format!("{whose} {name}, which asked the engine, is gone");
                let cure = "Rayfleet launches the engine once all pods are ready, and asks it itself; spec.model.startTimeout is how long it may load";
                log.changed(&format!("{field}.{name}"), &what, cure);
            } else if own && container[name]["exec"].is_object() {
                let what = format!("the head's {name} runs a command");
                let cure = "take it out if that asks the engine: it starts once all containers are ready";
                log.check(&format!("{field}.{name}"), &what, cure);
            }
        }
    }
}

/// What the engine's own command loses beside its arguments.
fn engine_output(command: &Command, field: &str, log: &mut Log<'_>) {
    if command.redirected || command.end == End::Pipe {
        log.dropped(
            field,
            "the engine's output goes to the log of its Ray job alone",
            "read it in the Ray dashboard",
        );
    }
}
