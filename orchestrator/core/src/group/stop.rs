//! Stopping: the engine's job ends, then the RayCluster is deleted or the next engine takes its place.
//! The job goes first because ranks that still run would hold their pods for the whole grace period.

use rayfleet_api::status::{Goal, Phase};

use super::context::StepContext;
use super::fail::STOP_LIMIT;
use super::failure::Failure;
use super::finalizer::{self, Hold};
use super::{fail, launch, ray};
use crate::effect::Effect;
use crate::time;

pub(super) fn start(ctx: &mut StepContext<'_>) {
    ctx.set_phase(Phase::Stopping, "the engine is being stopped".to_owned());
    stop(ctx);
}

pub(super) fn stop(ctx: &mut StepContext<'_>) {
    ctx.gate(false, "Stopping");
    if !engine_over(ctx) {
        return;
    }
    if ctx.group.goal == Goal::SwapEngine && ray::job_runs(ctx) == Some(true) {
        // Its ranks hold the GPUs that the next engine needs; they go with the pods.
        fail::give_up(ctx, &Failure::DoesNotStop);
    }
    if ctx.group.goal == Goal::SwapEngine {
        swap(ctx);
    } else {
        delete(ctx);
    }
}

/// The engine holds nothing any more, or waiting for that is pointless.
fn engine_over(ctx: &mut StepContext<'_>) -> bool {
    let pointless = !ctx.launched()
        || ctx.group.launch == 0
        || !ctx.cluster_alive()
        || ctx.pods.headless()
        || ctx.pods.head().is_none_or(|head| head.node_lost);
    if pointless || ray::job_runs(ctx) == Some(false) {
        return true;
    }
    if ray::job_runs(ctx) == Some(true) {
        ctx.act(Effect::StopEngine { launch: ctx.group.launch_id() });
    }
    ctx.reached(time::end_of(ctx.group.phase_since.as_ref(), STOP_LIMIT))
}

/// The next engine on the same pods: from here on the group is to serve.
fn swap(ctx: &mut StepContext<'_>) {
    if ctx.fleet.model.is_none() {
        // The model was taken out of the spec meanwhile, so there is nothing to launch.
        ctx.group.goal = Goal::Retire;
        delete(ctx);
        return;
    }
    launch::next_launch(&mut ctx.group);
    launch::retarget(ctx);
    ctx.set_phase(Phase::Provisioning, None);
}

fn delete(ctx: &mut StepContext<'_>) {
    let Some(cluster) = &ctx.observed.cluster else {
        let ending = ctx.pods.all().find(|pod| pod.holds()).map(|pod| {
            format!("; pod {} on {} still runs", pod.name, pod.node.as_deref().unwrap_or("no node"))
        });
        ctx.set_phase(Phase::Stopping, format!("its pods are ending{}", ending.unwrap_or_default()));
        return;
    };
    let message = match finalizer::hold(&ctx.fleet.namespace, &ctx.group.name, cluster, ctx.now) {
        Hold::By(text) => text,
        Hold::None | Hold::Until(_) => "the RayCluster is being deleted".to_owned(),
    };
    ctx.set_phase(Phase::Stopping, message);
    if !cluster.deleting {
        ctx.act(Effect::DeleteCluster {
            name: ctx.group.name.clone(),
            uid: cluster.uid.clone(),
            resource_version: cluster.resource_version.clone(),
            reason: ctx.group.goal_reason.clone().unwrap_or_else(|| "not wanted any more".to_owned()),
        });
    }
}
