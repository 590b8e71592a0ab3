//! A fleet whose template goes on to start its engine, mended where it would not come up: Ray in the background, the engine as the
//! container's process.

use rayfleet_api::names;
use serde_json::{Value, json};

use super::edit::{put, take_out};
use super::log::Log;
use super::steps;
use crate::launch::{self, Launch, SCRIPT, START};
use crate::rules::taken_by_ray;
use crate::shell;
use crate::vllm::Engine;
use crate::workload::{Role, Workload};

const OVERWRITE: &str = "ray.io/overwrite-container-cmd";

/// The fleet with what KubeRay needs of its commands.
pub(super) fn repaired(workload: &Workload<'_>, mut fleet: Value, log: &mut Log<'_>) -> Value {
    free_port(workload, &mut fleet, log);
    let cluster = "/spec/template/spec";
    for (index, role) in workload.roles.iter().enumerate() {
        let group = match index.checked_sub(1) {
            None => format!("{cluster}/headGroupSpec"),
            Some(worker) => format!("{cluster}/workerGroupSpecs/{worker}"),
        };
        let Some(group) = fleet.pointer_mut(&group) else { continue };
        let Some(launch) = launch::of(role.container()) else { continue };
        if let Some(script) = script(&launch, role, workload) {
            let field = format!("{}.{}", role.container_field(), launch.field);
            if let Some(container) = group.pointer_mut("/template/spec/containers/0") {
                set(container, &launch.field, script);
            }
            log.changed(
                &field,
                "Ray is started as KubeRay needs it, and the engine as the container's process",
                "read the command",
            );
            let start = launch.ray_start().and_then(|start| launch.commands.get(start));
            if let Some(start) = start {
                steps::ray_start(start, &field, group, log);
            }
            let waits = |word: &shell::Word| word.text.starts_with("--ray_cluster_size");
            if role.head && launch.commands.iter().flat_map(|command| &command.words).any(waits) {
                log.dropped(
                    &field,
                    "the head no longer waits for its workers, as --ray_cluster_size had it wait",
                    "let the command wait until Ray has all nodes, where the engine does not wait by itself",
                );
            }
            if role.head {
                take_out(group, &["rayStartParams", "block"]);
                if group["rayStartParams"].is_null() {
                    put(group, &["rayStartParams"], json!({}));
                }
            }
        }
    }
    if workload.lws {
        put(&mut fleet, &["spec", "template", "metadata", "annotations", OVERWRITE], json!("true"));
        if let Some((_, Engine::Vllm(vllm))) = &workload.engine {
            let port = vllm.listens().to_string();
            let head = ["spec", "template", "spec", "headGroupSpec", "template"];
            let label = ["metadata", "labels", names::LABEL_MODEL_PORT];
            put(&mut fleet, &[head.as_slice(), label.as_slice()].concat(), json!(port));
        }
    }
    fleet
}

/// Port for Ray's metrics where the engine has the usual one.
const METRICS: &str = "8090";

/// Gives Ray's metrics another port, where the engine has theirs: a LeaderWorkerSet's Ray takes any, KubeRay's 8080.
pub(super) fn free_port(workload: &Workload<'_>, fleet: &mut Value, log: &mut Log<'_>) {
    let Some((_, Engine::Vllm(vllm))) = &workload.engine else { return };
    let port = vllm.listens();
    let parameter = "metrics-export-port";
    let of_metrics = taken_by_ray(fleet, port).is_some_and(|who| who.contains(parameter));
    let Some(head) = fleet.pointer_mut("/spec/template/spec/headGroupSpec") else { return };
    // Given by hand, it is somebody's wish.
    if of_metrics && head["rayStartParams"][parameter].is_null() {
        put(head, &["rayStartParams", parameter], json!(METRICS));
        let what = format!("Ray's metrics of the head go to port {METRICS}, since the engine has {port}");
        log.changed(
            &workload.launch_field(),
            &what,
            "tell it whoever reads them, or give the engine another port",
        );
    }
}

/// The script of a container, if it has to change.
fn script(launch: &Launch, role: &Role<'_>, workload: &Workload<'_>) -> Option<String> {
    let mut script = launch.script.clone()?;
    let engine = launch.engine().map(|(number, _)| number).filter(|_| role.head);
    let start = launch.ray_start()?;
    let command = launch.commands.get(start)?;
    let by_script = command.names(SCRIPT);
    let blocks =
        engine.is_some_and(|engine| start < engine) && !shell::in_background(&launch.commands, start);
    if !(by_script || (blocks && command.names(START))) {
        return None;
    }
    // From the end on, so that the ranges before stay right.
    if let Some(engine) = engine.and_then(|engine| launch.commands.get(engine)) {
        let first = engine.words.first().map(|word| word.text.as_str()).unwrap_or_default();
        let alone = engine.whole.end >= script.trim_end().len() && engine.end == shell::End::Sequence;
        if alone && first != "exec" && !first.contains('=') {
            script.insert_str(engine.range.start, "exec ");
        }
    }
    // Workers have nothing behind it.
    let more = script.get(command.whole.end..).is_some_and(|rest| !rest.starts_with(char::is_whitespace));
    let background = match role.head && workload.engine.is_some() {
        true if more => " & ",
        true => " &",
        false => "",
    };
    script.replace_range(command.whole.clone(), &format!("eval \"${START}\"{background}"));
    Some(script)
}

/// Sets an entry of a container's command or arguments, by its field.
fn set(container: &mut Value, field: &str, text: String) {
    let entry = field.strip_suffix(']').and_then(|field| field.split_once('['));
    let entry =
        entry.and_then(|(list, index)| container.get_mut(list)?.get_mut(index.parse::<usize>().ok()?));
    if let Some(entry) = entry {
        *entry = Value::String(text);
    }
}
