//! Stopping: the engine's job ends, then the RayCluster is deleted or the next engine takes its place.
//! The job goes first because ranks that still run would hold their pods for the whole grace period.

use rayfleet_api::status::{Goal, Phase};

use super::fail::STOP_LIMIT;
use super::finalizer::{self, Hold};
use super::stage::{Stage, submission};
use super::{engine, fail, ray, serve};
use crate::effect::Effect;
use crate::time;

pub(super) fn start(stage: &mut Stage<'_>) {
    stage.enter(Phase::Stopping, "the engine is being stopped".to_owned());
    stop(stage);
}

pub(super) fn stop(stage: &mut Stage<'_>) {
    stage.gate(false, "Stopping");
    if !engine_over(stage) {
        return;
    }
    if stage.group.goal == Goal::SwapEngine && ray::job_runs(stage) == Some(true) {
        // Its ranks hold the GPUs that the next engine needs; they go with the pods.
        fail::give_up(stage, "the engine does not stop");
    }
    if stage.group.goal == Goal::SwapEngine {
        swap(stage);
    } else {
        delete(stage);
    }
}

/// The engine holds nothing any more, or waiting for that is pointless.
fn engine_over(stage: &mut Stage<'_>) -> bool {
    let pointless = !stage.launched()
        || stage.group.launch == 0
        || !stage.cluster_alive()
        || stage.pods.headless()
        || stage.pods.head().is_none_or(|head| head.node_lost);
    if pointless || ray::job_runs(stage) == Some(false) {
        return true;
    }
    if ray::job_runs(stage) == Some(true) {
        let (group, submission) = (stage.group.name.clone(), submission(&stage.group));
        stage.act(Effect::StopEngine { group, submission });
    }
    stage.reached(time::end_of(stage.group.since.as_ref(), STOP_LIMIT))
}

/// The next engine on the same pods.
fn swap(stage: &mut Stage<'_>) {
    if stage.fleet.model.is_none() {
        // The model was taken out of the spec meanwhile, so there is nothing to launch.
        stage.group.goal = Goal::Retire;
        delete(stage);
        return;
    }
    engine::next_launch(&mut stage.group);
    engine::retarget(stage);
    stage.enter(Phase::Provisioning, None);
    serve::serve(stage);
}

fn delete(stage: &mut Stage<'_>) {
    let Some(cluster) = &stage.seen.cluster else {
        let ending = stage.pods.all().find(|pod| pod.holds()).map(|pod| {
            format!("; pod {} on {} still runs", pod.name, pod.node.as_deref().unwrap_or("no node"))
        });
        stage.enter(Phase::Stopping, format!("its pods are ending{}", ending.unwrap_or_default()));
        return;
    };
    let message = match finalizer::hold(&stage.fleet.namespace, &stage.group.name, cluster, stage.now) {
        Hold::By(text) => text,
        Hold::None | Hold::Until(_) => "the RayCluster is being deleted".to_owned(),
    };
    stage.enter(Phase::Stopping, message);
    if !cluster.deleting {
        stage.act(Effect::DeleteCluster {
            name: stage.group.name.clone(),
            uid: cluster.uid.clone(),
            resource_version: cluster.resource_version.clone(),
            reason: stage.group.goal_reason.clone().unwrap_or_else(|| "not wanted any more".to_owned()),
        });
    }
}
