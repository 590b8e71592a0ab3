//! The nodes of a group's pods are there and their kubelets report.

use rayfleet_api::status::Phase;
use rayfleet_core::capacity::{NodeRoom, closing};

use super::group::{Group, Stop, Trouble};
use super::pod_problem;
use super::words::{ago, quoted};
use crate::diagnose::answer::NoAnswer;
use crate::diagnose::finding::Subject;
use crate::diagnose::objects::{Node, Pod, time};

/// What happens without anybody's help.
const ELSEWHERE: &str =
    "the group is re-created on other nodes as far as there is room; if there is none, add a node";

pub(super) fn alive(group: &Group<'_>) -> Stop {
    if group.status.phase == Phase::Ready {
        return Stop::No;
    }
    let mut leaves = None;
    for pod in &group.pods {
        let Some(name) = pod.spec.node_name.as_deref() else { continue };
        match group.case.facts.nodes.get(name) {
            Some(Err(NoAnswer::Missing)) => {
                let words = format!("node {name} is gone, and pod {} was on it", pod.metadata.name);
                let gone = lost(group, name, pod, words, Vec::new());
                return Stop::Wrong(Trouble { cure: ELSEWHERE.to_owned(), ..gone });
            }
            Some(Ok(node)) => {
                if let Some(trouble) = down(group, name, node, pod) {
                    return Stop::Wrong(trouble);
                }
                leaves = leaves.or_else(|| closes(name, node));
            }
            _ => {}
        }
    }
    match leaves.filter(|_| group.status.phase != Phase::Failed) {
        Some(words) => Stop::Waits(format!("{}; {words}", group.message())),
        None => Stop::No,
    }
}

/// A node that does not run pods.
fn down(group: &Group<'_>, name: &str, node: &Node, pod: &Pod) -> Option<Trouble> {
    if node.status.is_ready() || node.status.shuts_down() {
        return None;
    }
    let ready = node.ready.as_ref()?;
    let since = ago(time(ready.last_transition_time.as_deref()), group.case.facts.now);
    let (reason, words) = (ready.reason.as_deref(), ready.message.as_deref());
    let evidence = vec![quoted(&format!(
        "node {name}: Ready is {} since {since} ({}): {}",
        ready.status,
        reason.unwrap_or("no reason"),
        words.unwrap_or_default()
    ))];
    let what = if node.status.is_lost() {
        format!("node {name} is lost: Kubernetes has not heard from its kubelet")
    } else {
        format!("node {name} is not ready")
    };
    Some(lost(group, name, pod, what, evidence))
}

fn lost(group: &Group<'_>, name: &str, pod: &Pod, what: String, mut evidence: Vec<String>) -> Trouble {
    evidence.push(pod_problem::in_words(pod));
    evidence.push(format!("group {} is {}", group.status.name, group.message()));
    Trouble {
        key: name.to_owned(),
        subject: Subject::new("Node", "", name),
        about: Some("Ready".to_owned()),
        what,
        evidence,
        cure: format!(
            "see to the machine of {name}: kubectl describe node {name}; once it is off for good: kubectl delete node \
             {name}. Then {ELSEWHERE}"
        ),
    }
}

/// A node that its pods must leave.
fn closes(name: &str, node: &Node) -> Option<String> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let room = NodeRoom::of(name.into(), labels, node.spec.clone(), &node.status);
    let room = NodeRoom { deleting: node.metadata.deletion_timestamp.is_some(), ..room };
    closing(&room).map(|closing| format!("node {name} {}", closing.what))
}
