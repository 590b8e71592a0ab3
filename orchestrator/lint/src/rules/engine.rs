//! Whether the command of a head ever comes to start an engine, and whether that fits the pods around it.

use rayfleet_api::names;
use serde_json::Value;

use super::fleet::taken_by_ray;
use crate::finding::Findings;
use crate::launch::{self, START};
use crate::rule::Rule;
use crate::shell::{self, Command};
use crate::vllm::{Engine, Vllm};
use crate::workload::{Role, Workload};

/// The annotation by which KubeRay keeps a container's own command.
const OVERWRITE: &str = "ray.io/overwrite-container-cmd";

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    let Some(head) = workload.head() else { return };
    if let Some(source) = workload.object.value["spec"]["model"]["source"].as_str() {
        cache(workload, head, (source, "spec.model.source"), findings);
    }
    sidecars(workload, head, findings);
    let Some((number, engine)) = &workload.engine else {
        no_engine(workload, head, findings);
        return;
    };
    // With a model block the engine of a command would be a second one; the block is what counts.
    if workload.bridged {
        return;
    }
    order(workload, head, *number, findings);
    if let Engine::Vllm(vllm) = engine {
        gpus(workload, vllm, findings);
        port(workload, vllm, findings);
        if let Some(source) = &vllm.source {
            cache(workload, head, (source, &workload.launch_field()), findings);
        }
    }
}

/// A head whose command is known and starts nothing that could answer where Rayfleet asks.
fn no_engine(workload: &Workload<'_>, head: &Role<'_>, findings: &mut Findings) {
    let asked = workload.asked_port().filter(|_| !workload.bridged);
    let (Some(port), Some(launch)) = (asked, &workload.launch) else { return };
    let idle = |command: &Command| {
        let first = command.words.first().map(|word| word.text.as_str()).unwrap_or_default();
        first == "sleep" || first == "tail" || launch::starts_ray(command)
    };
    let alone = list(&head.template["spec"]["containers"]).nth(1).is_none();
    if alone && launch.commands.last().is_some_and(idle) {
        let what = format!("nothing is started that could answer on port {port}, for which the gate waits");
        let cure = format!(
            "annotate the fleet {}: \"none\" if its pods have no server, or start one",
            names::ANNOTATION_ENGINE_PORT
        );
        findings.push(Rule::NoEngine, (workload.object, &workload.launch_field()), what, cure);
    }
}

/// What comes before the engine, and how it is started.
fn order(workload: &Workload<'_>, head: &Role<'_>, number: usize, findings: &mut Findings) {
    let (object, field) = (workload.object, workload.launch_field());
    let Some(launch) = &workload.launch else { return };
    let stays = |command: &Command| (!workload.lws && command.names(START)) || launch::blocks(command);
    let start = launch.commands.iter().take(number).position(stays);
    if let Some(start) = start.filter(|start| !shell::in_background(&launch.commands, *start)) {
        let raw = launch.commands.get(start).is_some_and(launch::blocks);
        let (what, cure) = if raw {
            let what = "the engine is never started: ray start with --block does not end".to_owned();
            (what, "take --block out, or start Ray in the background with & before the engine".to_owned())
        } else {
            let what = format!(
                "the engine is never started: ${START} does not end, as KubeRay starts Ray with --block"
            );
            (what, format!("start Ray in the background: eval \"${START}\" & exec vllm serve ..."))
        };
        findings.push(Rule::RayStartBlocks, (object, &field), what, cure);
    }
    let template = &object.value["spec"]["template"]["metadata"]["annotations"][OVERWRITE];
    let own = &head.template["metadata"]["annotations"][OVERWRITE];
    let kept = [template, own].iter().any(|it| it.as_str().is_some_and(|it| it.eq_ignore_ascii_case("true")));
    // KubeRay looks for these words, and leaves a command with them alone.
    let raw = launch.commands.iter().any(|command| {
        command
            .words
            .iter()
            .map(|word| word.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
            .contains("ray start")
    });
    if !workload.lws && !kept && !raw {
        let what = format!(
            "without the annotation {OVERWRITE}: \"true\" KubeRay starts Ray only once the engine has ended"
        );
        let cure = format!("write {OVERWRITE}: \"true\" into spec.template.metadata.annotations");
        findings.push(Rule::CommandNotKept, (object, &field), what, cure);
    }
}

/// Containers beside Ray's on its ports.
fn sidecars(workload: &Workload<'_>, head: &Role<'_>, findings: &mut Findings) {
    if workload.lws {
        return;
    }
    for (index, container) in list(&head.template["spec"]["containers"]).enumerate().skip(1) {
        for (number, declared) in list(&container["ports"]).enumerate() {
            let port = declared["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
            if let Some(who) = port.and_then(|port| taken_by_ray(&workload.object.value, port)) {
                let name = container["name"].as_str().unwrap_or_default();
                let what = format!("container {name} cannot have port {}: {who}", declared["containerPort"]);
                let field = format!("{}.spec.containers[{index}].ports[{number}]", head.field);
                let cure = "give one of the two another port";
                findings.push(Rule::SidecarOnRaysPort, (workload.object, &field), what, cure);
            }
        }
    }
}

/// Whether the ranks of a command fit the pods.
fn gpus(workload: &Workload<'_>, vllm: &Vllm, findings: &mut Findings) {
    let (object, field) = (workload.object, workload.launch_field());
    let data = vllm.rest.iter().any(|arg| arg.starts_with("--data") || arg.starts_with("-dp"));
    let Some(gpus) = workload.gpus().filter(|gpus| *gpus > 0 && !data) else { return };
    let ranks = vllm.ranks();
    let engines = if vllm.data > 1 { format!("data {} x ", vllm.data) } else { String::new() };
    let sizes = format!("{engines}tensor {} x pipeline {} = {ranks} ranks", vllm.tensor, vllm.pipeline);
    let has = format!("{gpus} GPUs in {} pods", workload.pods());
    let cure = "make data x tensor x pipeline as many as the GPUs of the head and all workers";
    if ranks > gpus {
        let what = format!("the engine does not start: {sizes}, and a group has {has}");
        findings.push(Rule::GpusMissing, (object, &field), what, cure);
    } else if ranks < gpus {
        let what = format!("{} GPUs of each group are idle: {sizes}, and a group has {has}", gpus - ranks);
        findings.push(Rule::GpusUnused, (object, &field), what, cure);
    }
    let most = workload.roles.iter().filter_map(|role| role.gpus).max().unwrap_or_default();
    if vllm.tensor > most && ranks <= gpus {
        let what = format!("{} tensor ranks are on several pods of at most {most} GPUs", vllm.tensor);
        let cure = format!(
            "write --tensor-parallel-size {most} --pipeline-parallel-size {}, or, with spec.model and one fast fabric over these nodes, \
             its label in placement.tensorDomain",
            vllm.engine_ranks().div_ceil(u64::from(most.max(1)))
        );
        findings.push(Rule::TensorOverNodes, (object, &field), what, cure);
    }
}

fn port(workload: &Workload<'_>, vllm: &Vllm, findings: &mut Findings) {
    if workload.lws {
        return;
    }
    let (object, listens) = (workload.object, vllm.listens());
    if let Some(who) = taken_by_ray(&object.value, listens) {
        let what = format!("the engine cannot have port {listens}: {who}");
        let cure =
            "start the engine with another --port, or give Ray another one in headGroupSpec.rayStartParams";
        findings.push(Rule::PortOfRay, (object, &workload.launch_field()), what, cure);
    }
    let label = names::LABEL_MODEL_PORT;
    if let Some(asked) = workload.asked_port().filter(|asked| *asked != listens) {
        let what = format!("the engine listens on port {listens} and is asked on port {asked}");
        let cure = format!(
            "label the head's pods and the template {label}: \"{listens}\", or start the engine with --port {asked}"
        );
        findings.push(Rule::PortDiffers, (object, &workload.launch_field()), what, cure);
    }
}

/// Volumes whose contents end with the pod, or are no place for weights.
const PASSING: [&str; 6] = ["emptyDir", "configMap", "secret", "downwardAPI", "projected", "name"];

/// A model by name, and no volume that could hold it.
fn cache(workload: &Workload<'_>, head: &Role<'_>, (source, field): (&str, &str), findings: &mut Findings) {
    let by_name = !source.starts_with(['/', '.', '~']) && !source.contains("://") && !source.contains('$');
    if !by_name {
        return;
    }
    let mounted: Vec<&str> =
        list(&head.container()["volumeMounts"]).filter_map(|mount| mount["name"].as_str()).collect();
    let lasting = |volume: &Value| {
        let kinds = volume.as_object().into_iter().flat_map(|volume| volume.keys());
        kinds.into_iter().any(|kind| !PASSING.contains(&kind.as_str()))
    };
    let claims = list(&workload.object.value["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"]);
    let claimed = claims.filter_map(|claim| claim["metadata"]["name"].as_str());
    let volumes = list(&head.template["spec"]["volumes"]).filter(|volume| lasting(volume));
    let mut lasting = volumes.filter_map(|volume| volume["name"].as_str()).chain(claimed);
    if lasting.any(|name| mounted.contains(&name)) {
        return;
    }
    let what =
        format!("`{source}` is downloaded by every pod at every start: no volume that lasts is mounted");
    let cure = "mount a PersistentVolumeClaim or a directory of the node with the weights and name its path, or mount it at HF_HOME";
    findings.push(Rule::NoModelCache, (workload.object, field), what, cure);
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
