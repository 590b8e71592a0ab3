//! The rules: each looks at one object, or at the objects of a manifest beside each other, and says what it finds. What is said of a rule
//! for people, and its source, is in [`crate::rule`].

mod claims;
mod engine;
mod fields;
mod fleet;
mod images;
mod links;
mod misfit;
mod pods;
mod probes;
mod references;
mod rollout;
mod services;
mod shape;
mod startup;
mod typed;

use crate::finding::Findings;
use crate::read::Manifest;
use crate::workload::Workload;
pub(crate) use fleet::taken_by_ray;
pub(crate) use pods::is_secret;
pub(crate) use services::selects;

/// Everything that the rules find in a manifest.
pub(crate) fn check(manifest: &Manifest) -> Findings {
    let mut findings = Findings::default();
    let workloads: Vec<Workload<'_>> = manifest.objects.iter().filter_map(Workload::of).collect();
    for object in &manifest.objects {
        shape::check(object, manifest, &mut findings);
        fields::check(object, &mut findings);
    }
    for workload in &workloads {
        fleet::check(workload, &mut findings);
        engine::check(workload, &mut findings);
        fleet::block(workload, &mut findings);
        probes::check(workload, &mut findings);
        pods::check(workload, &mut findings);
        images::check(workload, &mut findings);
        references::check(workload, &mut findings);
        startup::check(workload, &mut findings);
        rollout::check(workload, &mut findings);
    }
    claims::check(manifest, &workloads, &mut findings);
    services::check(manifest, &workloads, &mut findings);
    links::check(manifest, &workloads, &mut findings);
    shape::looked_at(manifest, &mut findings);
    findings
}
