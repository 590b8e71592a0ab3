//! What a cluster's replies mean for an engine. Pure: every check is a function of what was read.

use std::collections::BTreeMap;
use std::time::Duration;

use ray_bridge::SubmissionId;
use ray_bridge::dashboard::{Job, PlacementGroup};
use ray_bridge::engine::{EngineSpec, LaunchRecord, plan_of};
use ray_bridge::placement::{GroupState, RayNode};
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;

use super::{Check, Level};
use crate::model::Model;
use crate::plan;
use crate::view::Engine;

/// The oldest Ray that this was tested with.
const TRIED: (u32, u32) = (2, 46);
/// The oldest tested Ray that can pin jobs and bundles by labels.
const LABELS: (u32, u32) = (2, 60);

fn ok(what: &'static str, message: impl Into<String>) -> Check {
    Check { level: Level::Ok, what, message: message.into(), cure: None }
}

fn warn(what: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Check {
    Check { level: Level::Warn, what, message: message.into(), cure: Some(cure.into()) }
}

fn fail(what: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Check {
    Check { level: Level::Fail, what, message: message.into(), cure: Some(cure.into()) }
}

/// The dashboard answered.
pub(super) fn reached(address: &str, took: Duration) -> Check {
    ok("dashboard", format!("{address} answers in {} ms", took.as_millis()))
}

/// Authentication. `open`: a call without a token was accepted.
pub(super) fn auth(open: bool, sent: bool) -> Check {
    match (open, sent) {
        (false, _) => ok("auth", "a token is required, and this one is accepted"),
        (true, sent) => {
            let ours = if sent { "; the given token is not checked" } else { "" };
            warn(
                "auth",
                format!("everybody who reaches the dashboard can run code on the cluster{ours}"),
                "start Ray with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN on all nodes, or keep the port private",
            )
        }
    }
}

/// Ray's version, and what an older one lacks.
pub(super) fn version(version: &str) -> Check {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return warn(
            "version",
            format!("Ray {version:?} cannot be read as a version"),
            "use Ray 2.60 or later",
        );
    };
    if (major, minor) >= LABELS {
        return ok("version", format!("Ray {version}"));
    }
    if (major, minor) >= TRIED {
        let how = "where it lacks label selectors, job and ranks are pinned by their nodes' addresses";
        return ok("version", format!("Ray {version}: {how}"));
    }
    warn(
        "version",
        format!("Ray {version} is older than what this was run against (2.46 and 2.60)"),
        "use Ray 2.46 or later",
    )
}

/// Nodes: alive, dead, and the head among them.
pub(super) fn nodes(nodes: &[RayNode]) -> Vec<Check> {
    let alive: Vec<&RayNode> = nodes.iter().filter(|node| node.alive).collect();
    let mut found = match alive.iter().find(|node| node.is_head) {
        Some(head) => {
            let s = if alive.len() == 1 { "" } else { "s" };
            vec![ok("nodes", format!("{} node{s} alive, head {} ({})", alive.len(), head.name, head.ip))]
        }
        None => vec![fail(
            "nodes",
            format!("none of {} living nodes is the head", alive.len()),
            "start the head: `ray start --head`; the API server of an engine runs on its node",
        )],
    };
    // A node that came back has a dead entry under the same address, which is of no interest.
    let lost = nodes.iter().filter(|node| !node.alive && !alive.iter().any(|other| other.ip == node.ip));
    found.extend(lost.map(|node| {
        let why = node.state_message.as_deref().unwrap_or("Ray gives no cause");
        warn(
            "nodes",
            format!("{} ({}) is dead: {}", node.name, node.ip, one_line(why)),
            "start Ray on it again if it is meant to be part of the cluster",
        )
    }));
    found
}

/// GPUs, and which placement groups hold those that are not free.
pub(super) fn gpus(nodes: &[RayNode], groups: &[PlacementGroup]) -> Check {
    let alive = || nodes.iter().filter(|node| node.alive);
    let total: u64 = alive().map(|node| u64::from(node.gpus_total)).sum();
    let free: u64 = alive().map(|node| u64::from(node.gpus_free)).sum();
    let each: Vec<String> = alive()
        .filter(|node| node.gpus_total > 0)
        .map(|node| format!("{} {} of {}", node.name, node.gpus_free, node.gpus_total))
        .collect();
    if total == 0 {
        return fail(
            "gpus",
            "no living node has a GPU for Ray",
            "check that the containers see their GPUs, or give `ray start --num-gpus`",
        );
    }
    let message = format!("{free} of {total} GPUs free: {}", each.join(", "));
    if free == total {
        return ok("gpus", message);
    }
    let held = holders(groups);
    if free > 0 {
        return ok("gpus", format!("{message}{held}"));
    }
    warn("gpus", format!("{message}{held}"), "stop what holds them (ray-bridge stop NAME), or add nodes")
}

fn holders(groups: &[PlacementGroup]) -> String {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.state() == GroupState::Created) {
        let name =
            if group.name.is_empty() { group.placement_group_id.as_str() } else { group.name.as_str() };
        *by_name.entry(name).or_default() += group.bundles.len();
    }
    let texts: Vec<String> =
        by_name.into_iter().map(|(name, bundles)| format!("{name} ({bundles} bundles)")).collect();
    if texts.is_empty() { String::new() } else { format!("; placement groups: {}", texts.join(", ")) }
}

/// Pending placement groups: they take GPUs as soon as these are free.
pub(super) fn waiting(groups: &[PlacementGroup]) -> Vec<Check> {
    let pending = groups.iter().filter_map(|group| match group.state() {
        GroupState::Pending(why) => Some((group, why)),
        _ => None,
    });
    pending
        .map(|(group, why)| {
            let name = if group.name.is_empty() { &group.placement_group_id } else { &group.name };
            warn(
                "waiting",
                format!("placement group {name} waits for {} bundles ({why})", group.bundles.len()),
                "it takes GPUs before anything deployed now: stop its job if it is not wanted",
            )
        })
        .collect()
}

/// Whether the engine's name is free.
pub(super) fn name(spec: &EngineSpec, jobs: &[(SubmissionId, Job)]) -> Check {
    match jobs.iter().find(|(id, _)| *id == spec.name) {
        Some((id, job)) if !job.status.has_ended() => {
            if LaunchRecord::read(job) == Some(LaunchRecord::of(spec)) {
                return warn(
                    "name",
                    format!("engine {id} already runs as the file says"),
                    format!("see: ray-bridge status {id}"),
                );
            }
            fail(
                "name",
                format!("a job {id} runs already, and not as the file says"),
                format!("stop it (ray-bridge stop {id} --drain), or give the new one another --name"),
            )
        }
        Some((id, _)) => ok("name", format!("{id} is free: its earlier job has ended and is replaced")),
        None => ok("name", format!("{} is free", spec.name)),
    }
}

/// Whether the engine fits now.
pub(super) fn place(model: &Model, nodes: &[RayNode]) -> Check {
    let (plan, _) = plan::make(&model.spec, &model.policy, nodes);
    match plan.missing {
        None => ok("placement", plan::text(&plan).lines().next().unwrap_or_default().to_owned()),
        Some(missing) => fail("placement", missing, plan.cure.unwrap_or_default()),
    }
}

/// Whether another engine has the port on the head's node.
pub(super) fn port(spec: &EngineSpec, nodes: &[RayNode], jobs: &[(SubmissionId, Job)]) -> Check {
    let head = nodes.iter().find(|node| node.alive && node.is_head);
    let other = jobs.iter().find(|(id, job)| {
        *id != spec.name
            && !job.status.has_ended()
            && LaunchRecord::read(job).is_some_and(|record| record.port == spec.port)
            && plan_of(job).map(|plan| plan.api_server_node) == head.map(|head| head.id.clone())
    });
    match other {
        None => ok("port", format!("{}: no other engine of the bridge has it", spec.port)),
        Some((id, _)) => fail(
            "port",
            format!("engine {id} has port {} on the head's node", spec.port),
            format!("give `port` another value in the file, or stop {id}"),
        ),
    }
}

/// Whether a running engine is healthy.
pub(super) fn engine(name: &SubmissionId, looked: Result<Engine, CliError>) -> Check {
    let engine = match looked {
        Ok(engine) => engine,
        Err(fault) => {
            let said = one_line(&fault.to_string());
            return warn("engine", format!("{name}: {said}"), "ask again");
        }
    };
    match &engine.diagnosis {
        None => ok("engine", format!("{name}: {}", engine.state)),
        Some(diagnosis) => {
            let said = one_line(&diagnosis.to_string());
            warn("engine", format!("{name}: {said}"), diagnosis.trouble.cure())
        }
    }
}
