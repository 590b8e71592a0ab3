//! Claims of volumes beside fleets and sets in the same manifest, and how many pods mount each.

use serde_json::Value;

use crate::finding::Findings;
use crate::read::Manifest;
use crate::rule::Rule;
use crate::workload::Workload;

/// Access modes that do not leave their node, and who may mount such a claim.
const OF_ONE: [(&str, &str); 2] = [("ReadWriteOnce", "one node"), ("ReadWriteOncePod", "one pod")];

pub(super) fn check(manifest: &Manifest, workloads: &[Workload<'_>], findings: &mut Findings) {
    for claim in manifest.objects.iter().filter(|object| object.is("", "PersistentVolumeClaim")) {
        let Some((mode, alone)) = of_one(&claim.value["spec"]["accessModes"]) else { continue };
        let beside = workloads.iter().filter(|workload| workload.object.namespace() == claim.namespace());
        let mounting: Vec<_> = beside.filter_map(|workload| mounts(workload, claim.name())).collect();
        let pods = mounting.iter().map(|(_, _, pods)| *pods).fold(0, u64::saturating_add);
        for (workload, field, _) in mounting.into_iter().filter(|_| pods > 1) {
            let what =
                format!("up to {pods} pods mount the claim {}, which is {mode}: {alone} may", claim.name());
            let cure = "write ReadOnlyMany or ReadWriteMany into the claim, of storage that has it, or use an ephemeral volume for each pod";
            findings.push(Rule::ClaimOfOneNode, (workload.object, &field), what, cure);
        }
    }
}

/// The mode, where a claim has no other.
fn of_one(modes: &Value) -> Option<(&'static str, &'static str)> {
    let (first, others) = modes.as_array()?.split_first()?;
    OF_ONE.into_iter().find(|(mode, _)| first == mode && others.iter().all(|other| other == mode))
}

/// The first volume of a workload that is a claim, and how many pods have it in the middle of an upgrade.
fn mounts<'w, 'o>(workload: &'w Workload<'o>, claim: &str) -> Option<(&'w Workload<'o>, String, u64)> {
    let groups = workload.rollout.map_or(1, |rollout| {
        let surge = if rollout.recreate { 0 } else { rollout.surge };
        rollout.replicas.saturating_add(surge)
    });
    let (mut first, mut pods) = (None, 0_u64);
    for role in workload.roles.iter().filter(|role| role.pods > 0) {
        let mut volumes = role.template["spec"]["volumes"].as_array().into_iter().flatten();
        if let Some(index) = volumes.position(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
        {
            pods = pods.saturating_add(role.pods.saturating_mul(groups));
            first = first.or_else(|| {
                Some(format!("{}.spec.volumes[{index}].persistentVolumeClaim.claimName", role.field))
            });
        }
    }
    Some((workload, first?, pods))
}
