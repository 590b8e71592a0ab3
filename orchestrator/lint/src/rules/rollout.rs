//! What an upgrade takes: room for more groups, or all groups at once.

use rayfleet_api::spec::WhenNoRoom;

use crate::finding::Findings;
use crate::rule::Rule;
use crate::workload::{Rollout, Workload};

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    if workload.lws {
        restart_policy(workload, findings);
        refused(workload, findings);
    }
    let Some(rollout) = workload.rollout.filter(|rollout| rollout.replicas > 0) else { return };
    let Rollout { replicas, surge, unavailable, recreate } = rollout;
    let field = if workload.lws { "spec.rolloutStrategy" } else { "spec.strategy" };
    let pends = workload.valid.as_ref().is_some_and(|fleet| fleet.strategy.when_no_room == WhenNoRoom::Pend);
    if recreate || unavailable >= replicas {
        let groups =
            if replicas == 1 { "the only group".to_owned() } else { format!("all {replicas} groups") };
        let may = if recreate || surge == 0 { "takes" } else { "may take" };
        let what = format!("an upgrade of the template {may} {groups} away before a new one serves");
        let cure = if workload.lws {
            "have more replicas than maxUnavailable, or keep room for one group more and set maxSurge: 1 with maxUnavailable: 0, which LWS before 0.9 does not take: its StatefulSet is refused, and only its log says so"
        } else {
            "keep room for one group more and set maxSurge: 1 with maxUnavailable: 0, or have more replicas than maxUnavailable"
        };
        findings.push(Rule::UpgradeIsOutage, (workload.object, field), what, cure);
    } else if surge > 0 && unavailable == 0 && !pends && workload.serves() {
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
    let outage = if replicas == 1 { ", which is an outage until the new group serves" } else { "" };
    let cure = if workload.lws {
        format!(
            "set maxUnavailable: 1 to replace groups in place where there is no such room{outage}; LWS before 0.9 makes no pods with maxUnavailable: 0"
        )
    } else {
        format!(
            "set rollingUpdate.maxUnavailable: 1 to replace groups in place where there is no such room{outage}, or whenNoRoom: Pend for a node autoscaler; kubectl rayfleet plan shows both"
        )
    };
    findings.push(Rule::SurgeNeedsRoom, (workload.object, field), what, cure);
}

/// A Ray cluster or an engine whose world is fixed takes no rank back.
fn restart_policy(workload: &Workload<'_>, findings: &mut Findings) {
    let template = &workload.object.value["spec"]["leaderWorkerTemplate"];
    let several = template["size"].as_u64().unwrap_or(1) > 1;
    let policy = template["restartPolicy"].as_str().filter(|policy| ["None", "Default"].contains(policy));
    let known = workload.engine.is_some() || starts_ray(workload);
    if let Some(policy) = policy.filter(|_| several) {
        let pods = workload.pods();
        let (rule, what) = if known {
            let what = format!("restartPolicy {policy} restarts one pod of an engine that spans {pods} pods");
            (Rule::LwsRestartsOnePod, what)
        } else {
            let what = format!("restartPolicy {policy} restarts one pod of a group of {pods} pods");
            (Rule::LwsMayRestartOnePod, what)
        };
        let cure = "write RecreateGroupOnPodRestart";
        let field = "spec.leaderWorkerTemplate.restartPolicy";
        findings.push(rule, (workload.object, field), what, cure);
    }
}

/// What LWS's webhook refuses.
fn refused(workload: &Workload<'_>, findings: &mut Findings) {
    let name = workload.object.name();
    let letter = |c: char| c.is_ascii_lowercase();
    let inner = |c: char| letter(c) || c.is_ascii_digit() || c == '-';
    let is_label =
        name.len() <= 63 && name.starts_with(letter) && name.chars().all(inner) && !name.ends_with('-');
    if !name.is_empty() && !is_label {
        let what = format!("{name} cannot be the name of a set: it is that of a Service too");
        let cure = "begin with a lower-case letter, and use only those, digits and - (at most 63)";
        findings.push(Rule::InvalidSet, (workload.object, "metadata.name"), what, cure);
    }
    let none = |rollout: &Rollout| rollout.replicas > 0 && rollout.surge == 0 && rollout.unavailable == 0;
    if workload.rollout.as_ref().is_some_and(none) {
        let what = "maxSurge and maxUnavailable are both 0";
        let cure = "set maxUnavailable: 1";
        findings.push(Rule::InvalidSet, (workload.object, "spec.rolloutStrategy"), what, cure);
    }
}

fn starts_ray(workload: &Workload<'_>) -> bool {
    workload.launch.as_ref().is_some_and(|launch| launch.ray_start().is_some())
}
