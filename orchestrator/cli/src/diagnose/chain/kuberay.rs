//! KubeRay is installed: its CRD, and its operator as far as its pods may be listed.

use super::{not_read, pod_problem};
use crate::diagnose::facts::{Facts, NoAnswer};
use crate::diagnose::finding::{Finding, Subject, Verdict};

const LABEL: &str = "app.kubernetes.io/name=kuberay-operator";

/// The CRD of RayClusters is there, and an operator is not known to be down.
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
        Ok(()) => match &facts.kuberay {
            Ok(pods) if pods.iter().any(pod_problem::is_ready) => {
                Verdict::Ok("its CRD is there, its operator is ready".to_owned())
            }
            Ok(pods) if !pods.is_empty() => {
                let first = pods.first().map(|pod| &pod.metadata);
                let (namespace, name) = first.map(|it| (&*it.namespace, &*it.name)).unwrap_or_default();
                Verdict::Wrong(Finding {
                    subject: Subject::new("Pod", namespace, name),
                    about: None,
                    what: "KubeRay's operator is not ready: it makes and repairs no pods".to_owned(),
                    evidence: operator(facts),
                    cure: format!("see kubectl -n {namespace} describe pod {name}, and its log"),
                })
            }
            Ok(_) => Verdict::Ok(format!("its CRD is there; no pod has the label {LABEL}")),
            Err(none) => {
                Verdict::Ok(format!("its CRD is there; its operator is not checked: {}", not_read(none)))
            }
        },
    }
}

/// What is known of the operator's pods, as evidence.
pub(super) fn operator(facts: &Facts) -> Vec<String> {
    match &facts.kuberay {
        Ok(pods) if pods.is_empty() => vec![format!("no pod of any namespace has the label {LABEL}")],
        Ok(pods) => pods.iter().map(pod_problem::in_words).collect(),
        Err(none) => vec![format!("KubeRay's operator: {}", not_read(none))],
    }
}
