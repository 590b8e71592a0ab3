//! The API server answers, lets the reader read fleets, and has Rayfleet's CRD of them.

use super::words::{missing, not_read, place, quoted};
use crate::diagnose::answer::{NoAnswer, is_whole};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Finding, Subject, Verdict};
use crate::error::{self, RESOURCE};

/// The API server is reached and answers about fleets.
pub(crate) fn server(facts: &Facts) -> Verdict {
    let server = &facts.server;
    match &facts.fleets {
        Err(NoAnswer::Failed { what, cure }) => Verdict::Wrong(Finding {
            subject: Subject::new("APIServer", "", server),
            about: None,
            what: quoted(what),
            evidence: Vec::new(),
            cure: cure
                .clone()
                .unwrap_or_else(|| "ask again; kubectl version shows whether it is up".to_owned()),
        }),
        Err(NoAnswer::Forbidden { verb, namespace, words, .. }) => Verdict::Wrong(Finding {
            subject: Subject::new("ClusterRole", "", "rayfleet-view"),
            about: None,
            what: format!("you may not {verb} {RESOURCE} {}", place(namespace)),
            evidence: vec![format!("the API server: {}", quoted(words))],
            cure: bind(namespace),
        }),
        Err(none @ (NoAnswer::TooLong(_) | NoAnswer::OutOfTime(_))) => Verdict::Wrong(Finding {
            subject: Subject::new("APIServer", "", server),
            about: None,
            what: format!("the API server {server} has not listed any fleet: {}", not_read(none)),
            evidence: Vec::new(),
            cure: "give it longer with --request-timeout".to_owned(),
        }),
        Err(NoAnswer::Missing | NoAnswer::NotAsked) | Ok(_) => Verdict::Ok(format!("{server} answers")),
    }
}

/// Who binds which role.
fn bind(namespace: &str) -> String {
    let role =
        "ask for the ClusterRole rayfleet-view of manifests/users.yaml (part of the standard role view)";
    if namespace.is_empty() {
        format!("{role}: kubectl create clusterrolebinding NAME --clusterrole=rayfleet-view --user=YOU")
    } else {
        format!(
            "{role}: kubectl -n {namespace} create rolebinding NAME --clusterrole=rayfleet-view --user=YOU"
        )
    }
}

/// The CRD is there and Rayfleet's, and so is the fleet that was asked for.
pub(crate) fn fleets(facts: &Facts) -> Verdict {
    let wrong = |what: &str, cure: &str| {
        Verdict::Wrong(Finding {
            subject: Subject::new("CustomResourceDefinition", "", RESOURCE),
            about: None,
            what: what.to_owned(),
            evidence: Vec::new(),
            cure: cure.to_owned(),
        })
    };
    let Ok(found) = &facts.fleets else {
        return wrong(
            &format!("the API server knows no {RESOURCE}: Rayfleet is not installed"),
            "install it: docs/operations.md#install in its repository",
        );
    };
    match &facts.fleet_crd {
        Ok(it) if it.deleting => wrong(
            &format!("CustomResourceDefinition {RESOURCE} is being deleted, and every fleet with it"),
            "once they have gone, install it again: kubectl apply --server-side -f manifests/crd.yaml",
        ),
        Ok(it) if !it.keeps_fields => wrong(
            &format!(
                "CustomResourceDefinition {RESOURCE} is not Rayfleet's (AIBrix's chart brings one of this name): \
                 it drops spec.model and status.groups"
            ),
            "apply Rayfleet's: kubectl apply --server-side --force-conflicts -f manifests/crd.yaml",
        ),
        _ if is_whole(&facts.fleets)
            && found.items.is_empty()
            && facts.unreadable.is_empty()
            && facts.asked.is_some() =>
        {
            let name = facts.asked.as_deref().unwrap_or_default();
            let missing = error::not_found(name, &facts.namespace);
            Verdict::Wrong(Finding {
                subject: Subject::new("RayClusterFleet", &facts.namespace, name),
                about: None,
                what: missing.message,
                evidence: Vec::new(),
                cure: missing.cure.unwrap_or_default(),
            })
        }
        crd => {
            let fleets = count(found.items.len().saturating_add(facts.unreadable.len()));
            let says = match crd {
                Ok(_) => format!("Rayfleet's, {fleets}"),
                Err(none) => format!("served, {fleets}; its fields are not checked: {}", not_read(none)),
            };
            match missing("fleets", &facts.fleets) {
                Some(missing) => Verdict::Unknown(format!("{says}; {missing}")),
                None => Verdict::Ok(says),
            }
        }
    }
}

fn count(fleets: usize) -> String {
    format!("{fleets} fleet{}", if fleets == 1 { "" } else { "s" })
}
