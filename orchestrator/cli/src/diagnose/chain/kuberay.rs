//! KubeRay is installed: its CRD is there. Pods with its operator's label are shown, and nothing is concluded from
//! them: whoever may create pods in any namespace may set that label. That KubeRay acts shows on each RayCluster.

use std::collections::{BTreeMap, BTreeSet};

use super::pod_problem;
use super::words::{missing, not_read};
use crate::diagnose::answer::{NoAnswer, items};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Subject, Verdict};
use crate::diagnose::objects::Pod;
use crate::fleets::KUBERAY_OPERATOR as LABEL;

/// Pods that are shown.
const MOST: usize = 5;

/// The CRD of RayClusters is there.
pub(crate) fn installed(facts: &Facts) -> Verdict {
    match &facts.rayclusters {
        Err(NoAnswer::Missing) => Verdict::Wrong(Finding {
            subject: Subject::new("CustomResourceDefinition", "", "rayclusters.ray.io"),
            about: None,
            what: "the API server knows no rayclusters.ray.io: KubeRay is not installed".to_owned(),
            evidence: operator(facts),
            cure: "install KubeRay 1.6 or later with its CRDs: docs/operations.md#install".to_owned(),
        }),
        Err(none) => Verdict::Unknown(not_read(none)),
        Ok(()) => {
            let pods = fair(facts);
            let place = |pod: &Pod| format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
            match (pods.iter().find(|pod| pod_problem::is_ready(pod)), pods.first()) {
                (Some(ready), _) => Verdict::Ok(format!(
                    "its CRD is there; pod {}, labelled as its operator, is ready",
                    place(ready)
                )),
                (None, Some(first)) => Verdict::Unknown(format!(
                    "its CRD is there; pod {}, labelled as its operator, is not ready, and no other is",
                    place(first)
                )),
                (None, None) => match missing("its operator", &facts.kuberay) {
                    Some(missing) => Verdict::Ok(format!("its CRD is there; not checked: {missing}")),
                    None => Verdict::Ok(format!("its CRD is there; no pod has the label {LABEL}")),
                },
            }
        }
    }
}

/// Pods with the label: first those of namespaces without a fleet, and of each namespace one before the second of any. A tenant who
/// labels pods of his own hides nobody's.
fn fair(facts: &Facts) -> Vec<&Pod> {
    let tenants: BTreeSet<String> =
        items(&facts.fleets).iter().filter_map(|of| of.fleet.metadata.namespace.clone()).collect();
    let mut before: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pods: Vec<(bool, usize, &Pod)> = Vec::new();
    for pod in items(&facts.kuberay) {
        let namespace = pod.metadata.namespace.as_str();
        let number = before.entry(namespace).or_default();
        pods.push((tenants.contains(namespace), *number, pod));
        *number = number.saturating_add(1);
    }
    pods.sort_by_key(|(tenant, number, _)| (*number, *tenant));
    pods.into_iter().map(|(_, _, pod)| pod).collect()
}

/// Pods that are labelled as the operator, as evidence.
pub(super) fn operator(facts: &Facts) -> Vec<String> {
    let pods = fair(facts);
    let words = |pod: &Pod| {
        let namespace = &pod.metadata.namespace;
        format!("labelled as KubeRay's operator in namespace {namespace}: {}", pod_problem::in_words(pod))
    };
    let mut evidence: Vec<String> = pods.iter().take(MOST).map(|pod| words(pod)).collect();
    if let Some(more) = pods.len().checked_sub(MOST).filter(|more| *more > 0) {
        evidence.push(format!("{more} pods more have the label {LABEL}: see kubectl get pods -A -l {LABEL}"));
    }
    let missing = missing("KubeRay's operator", &facts.kuberay);
    if missing.is_none() && pods.is_empty() {
        evidence.push(format!("no pod of any namespace has the label {LABEL}"));
    }
    evidence.extend(missing);
    evidence
}
