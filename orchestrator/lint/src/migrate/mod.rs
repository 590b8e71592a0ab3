//! From manifests of AIBrix and of LeaderWorkerSet to fleets with a model block. What can be translated is; everything else stays as it
//! is, and each change and each thing that was left out is a finding.

mod bridge;
mod edit;
mod log;
mod lws;
mod model;
mod new;
mod own_engine;
mod service;
mod steps;

use serde_json::Value;

use self::log::Log;
pub use self::model::Options;
pub use self::new::{Migrated, New};
use crate::finding::Findings;
use crate::read::{Unreadable, read};
use crate::rule::Rule;
use crate::workload::{Role, Workload, valid};

/// Translates a manifest (YAML documents or JSON).
///
/// # Errors
/// For bytes that are no manifest, or more than is read.
pub fn migrate(manifest: &[u8], options: Options) -> Result<Migrated, Unreadable> {
    let manifest = read(manifest)?;
    let mut findings = Findings::default();
    let workloads: Vec<Workload<'_>> = manifest.objects.iter().filter_map(Workload::of).collect();
    let mut fleets = Vec::new();
    for workload in &workloads {
        let mut log = Log { object: workload.object, findings: &mut findings, changes: Vec::new() };
        let value = workload_to_fleet(workload, options, &mut log);
        fleets.push(New { value, changes: log.changes });
    }
    let mut objects = Vec::new();
    for object in &manifest.objects {
        let place = workloads.iter().position(|workload| std::ptr::eq(workload.object, object));
        if let Some(new) = place.and_then(|place| fleets.get(place)) {
            objects.push(new.clone());
        } else if object.is("", "Service") {
            objects.extend(service::migrated(object, &workloads, &fleets, &mut findings));
        } else if object.is("autoscaling", "HorizontalPodAutoscaler") {
            objects.push(service::autoscaler(object, &workloads, &fleets, &mut findings));
        } else {
            objects.push(New { value: object.value.clone(), changes: Vec::new() });
        }
    }
    Ok(Migrated { objects, findings: findings.sorted() })
}

fn workload_to_fleet(workload: &Workload<'_>, options: Options, log: &mut Log<'_>) -> Value {
    let given = &workload.object.value;
    if workload.bridged {
        return given.clone();
    }
    if workload.lws && workload.engine.is_none() {
        let what = "the leader starts no engine that is known";
        log.add(
            Rule::NotMigrated,
            &workload.launch_field(),
            what,
            "write a fleet by hand (docs/quickstart.md)",
        );
        return given.clone();
    }
    if workload.lws && workload.roles.iter().any(asks_for_tpus) {
        let what = "LWS gives pods that ask for google.com/tpu TPU_WORKER_ID, TPU_WORKER_HOSTNAMES and TPU_NAME; \
                    neither Rayfleet nor KubeRay does";
        log.add(Rule::NotMigrated, "spec.leaderWorkerTemplate", what, "keep the LeaderWorkerSet");
        return given.clone();
    }
    let on_ray = workload.launch.as_ref().is_some_and(|launch| launch.ray_start().is_some());
    if workload.lws && !on_ray && workload.pods() > 1 {
        let what = "the engine runs without Ray, and groups of a fleet are Ray clusters";
        let cure = "keep the LeaderWorkerSet, or have a fleet on Ray written for its model: kubectl rayfleet template MODEL --gpu GPU, with \
                    --data N for N data-parallel engines that share the experts";
        log.add(Rule::NotMigrated, &workload.launch_field(), what, cure);
        return given.clone();
    }
    let fleet = if workload.lws { lws::fleet(workload, log) } else { given.clone() };
    let fleet = match typed(workload, &fleet, options, log) {
        Ok(bridged) => {
            if workload.lws {
                let what = "LWS's headless Service has the name that Rayfleet gives its own";
                let cure = "delete the set before the fleet is to serve by its Service, or give the fleet another name: until then it says ServiceExists";
                log.check("metadata.name", what, cure);
            }
            bridged
        }
        Err(problems) => {
            let cure = "change the command and migrate again, or write spec.model by hand";
            for problem in problems {
                log.add(Rule::NotTranslated, &workload.launch_field(), &problem, cure);
            }
            own_engine::repaired(workload, fleet, log)
        }
    };
    if workload.lws {
        for problem in valid(&fleet).err().unwrap_or_default() {
            let cure = "mend it in the result, or in the set, and migrate again: the set stays until then";
            log.add(Rule::InvalidFleet, "metadata", &format!("Rayfleet refuses the fleet: {problem}"), cure);
        }
    }
    if workload.lws && fleet.to_string().contains("$(LWS_") {
        let what = "variables such as $(LWS_LEADER_ADDRESS) are not set in a fleet";
        log.check("spec.leaderWorkerTemplate", what, "take them out: Ray's nodes find each other by KubeRay");
    }
    fleet
}

/// Whether a container of a pod asks for TPUs, so that LWS adds variables to it (LWS 0.10, pkg/utils/accelerators/tpu.go).
fn asks_for_tpus(role: &Role<'_>) -> bool {
    let asks = |container: &Value| {
        ["limits", "requests"].iter().any(|kind| !container["resources"][kind]["google.com/tpu"].is_null())
    };
    role.containers().any(|(_, container)| asks(container))
}

/// The fleet with a model block, as long as that brings no problem which the fleet did not have.
fn typed(
    workload: &Workload<'_>,
    fleet: &Value,
    options: Options,
    log: &mut Log<'_>,
) -> Result<Value, Vec<String>> {
    let before = valid(fleet).err().unwrap_or_default();
    let mut findings = Findings::default();
    let mut tried = Log { object: log.object, findings: &mut findings, changes: Vec::new() };
    let bridged = bridge::bridged(workload, fleet, options, &mut tried)?;
    let after = valid(&bridged).err().unwrap_or_default();
    let new: Vec<String> = after.iter().filter(|it| !before.contains(it)).map(ToString::to_string).collect();
    if !new.is_empty() {
        return Err(new);
    }
    log.changes.append(&mut tried.changes);
    log.findings.append(findings);
    Ok(bridged)
}
