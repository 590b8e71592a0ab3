//! From manifests of AIBrix and of LeaderWorkerSet to fleets with a model block. What can be translated is; everything else stays as it
//! is, and each change and each thing that was left out is a finding.

mod bridge;
mod lws;
mod model;
mod own_engine;
mod service;
mod steps;

use serde::Serialize;
use serde_json::Value;

use crate::finding::{Finding, Findings};
use crate::plain::plain;
use crate::read::{Object, Unreadable, read};
use crate::rule::Rule;
use crate::rules::containers;
use crate::workload::{Role, Workload, valid};

/// How much a migration may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Tensor ranks over several pods become tensor ranks within a pod, and a pipeline over the pods: the same ranks on the same GPUs,
    /// another division of the model. Otherwise such a command is not translated.
    pub split_tensor: bool,
}

/// A manifest after its migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    /// Its objects, in their order.
    pub objects: Vec<New>,
    /// What was changed, left out or not translated, at its place in the manifest as it was.
    pub findings: Vec<Finding>,
}

/// An object after its migration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct New {
    /// The object.
    pub value: Value,
    /// What was done to it, in lines for people; none if it is as it was.
    pub changes: Vec<String>,
}

/// What happens to one object.
struct Log<'l> {
    object: &'l Object,
    findings: &'l mut Findings,
    changes: Vec<String>,
}

impl Log<'_> {
    fn changed(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Changed, field, what, cure);
    }

    fn dropped(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Dropped, field, what, cure);
    }

    fn check(&mut self, field: &str, what: &str, cure: &str) {
        self.add(Rule::Check, field, what, cure);
    }

    fn add(&mut self, rule: Rule, field: &str, what: &str, cure: &str) {
        self.findings.push(rule, (self.object, field), what, cure);
        let kept = [Rule::Changed, Rule::Dropped, Rule::Check].contains(&rule);
        if kept {
            self.changes.push(plain(&format!("{what}: {cure}")));
        }
    }
}

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
        log.add(Rule::NotMigrated, &workload.launch_field(), what, "keep the LeaderWorkerSet");
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
    containers(role).any(|(_, container)| asks(container))
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

impl Migrated {
    /// The objects as YAML documents, each with what was done to it as a comment above it. The comments of the manifest are gone.
    ///
    /// # Errors
    /// If an object cannot be written, which would be a bug.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let documents: Result<Vec<String>, _> = self.objects.iter().map(New::yaml).collect();
        Ok(documents?.join("---\n"))
    }
}

impl New {
    fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let mut text = String::new();
        for change in &self.changes {
            text.extend(["# ", &plain(change), "\n"]);
        }
        text.push_str(&serde_saphyr::to_string(&self.value)?);
        Ok(text)
    }
}

/// The fields of an object, if it is one.
fn fields(value: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    value.as_object_mut()
}

/// Sets a field, and makes the objects around it that are not there. Where something else is in their place, nothing happens: to index a
/// value for a change would panic there.
fn put(object: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if object.is_null() {
        *object = Value::Object(serde_json::Map::new());
    }
    if let Some(fields) = fields(object) {
        put(fields.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// Takes a field out, and objects around it that are empty then, up to the object itself.
fn take_out(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return fields(object)?.remove(*first);
    }
    let inner = fields(object)?.get_mut(*first)?;
    let taken = take_out(inner, rest)?;
    if inner.as_object().is_some_and(serde_json::Map::is_empty) {
        fields(object)?.remove(*first);
    }
    Some(taken)
}
