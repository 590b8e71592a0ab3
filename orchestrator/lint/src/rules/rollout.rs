//! What an upgrade takes: room for more groups, or all groups at once.

use rayfleet_api::spec::WhenNoRoom;

use crate::finding::Findings;
use crate::rule::Rule;
use crate::workload::{Rollout, Workload};

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    if workload.lws {
        restart_policy(workload, findings);
    }
    let Some(rollout) = workload.rollout.filter(|rollout| rollout.replicas > 0) else { return };
    let Rollout { replicas, surge, unavailable, recreate } = rollout;
    let field = if workload.lws { "spec.rolloutStrategy" } else { "spec.strategy" };
    let pends = workload.valid.as_ref().is_some_and(|fleet| fleet.strategy.when_no_room == WhenNoRoom::Pend);
    if recreate || (surge == 0 && unavailable >= replicas) {
        let groups =
            if replicas == 1 { "the only group".to_owned() } else { format!("all {replicas} groups") };
        let what = format!("an upgrade of the template takes {groups} away before a new one serves");
        let cure = "keep room for one group more and set maxSurge: 1 with maxUnavailable: 0, or have more replicas than maxUnavailable";
        findings.push(Rule::UpgradeIsOutage, (workload.object, field), what, cure);
    } else if surge > 0 && unavailable == 0 && !pends {
        surges(workload, rollout, field, findings);
    }
}

fn surges(workload: &Workload<'_>, rollout: Rollout, field: &str, findings: &mut Findings) {
    let Rollout { replicas, surge, .. } = rollout;
    let one = workload.gpus().filter(|gpus| *gpus > 0);
    let has =
        |gpus: u64| format!("{gpus} GPUs beside the {} that all groups have", gpus.saturating_mul(replicas));
    let more = one.map(has);
    let more = more.unwrap_or_else(|| format!("{} pods more", workload.pods()));
    let up_to = if surge > 1 { format!(", and takes up to {surge} groups more") } else { String::new() };
    let what = format!("an upgrade needs {more} before it may take an old group away{up_to}");
    let cure = if workload.lws {
        "set maxUnavailable: 1 to replace groups in place where there is no such room"
    } else {
        "set rollingUpdate.maxUnavailable: 1 to replace groups in place where there is no such room, or whenNoRoom: Pend for a node autoscaler; kubectl rayfleet plan shows both"
    };
    findings.push(Rule::SurgeNeedsRoom, (workload.object, field), what, cure);
}

/// A Ray cluster or an engine whose world is fixed takes no rank back.
fn restart_policy(workload: &Workload<'_>, findings: &mut Findings) {
    let template = &workload.object.value["spec"]["leaderWorkerTemplate"];
    let several = template["size"].as_u64().unwrap_or(1) > 1;
    let policy = template["restartPolicy"].as_str().filter(|policy| ["None", "Default"].contains(policy));
    let one_engine = several && (workload.engine.is_some() || starts_ray(workload));
    if let Some(policy) = policy.filter(|_| one_engine) {
        let what = format!(
            "restartPolicy {policy} restarts one pod of an engine that spans {} pods",
            workload.pods()
        );
        let cure = "write RecreateGroupOnPodRestart";
        let field = "spec.leaderWorkerTemplate.restartPolicy";
        findings.push(Rule::LwsRestartsOnePod, (workload.object, field), what, cure);
    }
}

fn starts_ray(workload: &Workload<'_>) -> bool {
    workload.launch.as_ref().is_some_and(|launch| launch.ray_start().is_some())
}
