//! `drain NODE`: cordons a node, and follows until the orchestrator has moved every group off it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::ListParams;
use kube::core::Request;
use rayfleet_api::names::RAY_LABEL_CLUSTER;
use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, Terminal};
use serde::Deserialize;
use serde_json::json;

use super::steps::{Steps, timed_out};
use super::target::{NodeTarget, nodes};
use crate::fleets::Fleets;
use crate::view::Fleet;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Groups that a step names.
const NAMED: usize = 5;

/// Namespace and name of a RayCluster with a pod on the node.
type Key = (String, String);

pub(super) async fn run(
    target: &NodeTarget,
    timeout: Duration,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let node = &target.name;
    if target.cordoned {
        terminal.print(&format!("node/{node} already cordoned\n"))?;
    } else {
        fleets.patch_at(&nodes(), node, &json!({"spec": {"unschedulable": true}})).await?;
        terminal.print(&format!("node/{node} cordoned\n"))?;
    }
    let mut steps = Steps::new(terminal);
    let wait = wait(node, fleets, &mut steps);
    if timeout == Duration::ZERO {
        return wait.await;
    }
    if let Ok(outcome) = tokio::time::timeout(timeout, wait).await {
        return outcome;
    }
    let cure =
        format!("its groups go on moving while it is cordoned; take that back: kubectl uncordon {node}");
    Err(timed_out(timeout, &steps, cure))
}

async fn wait(node: &str, fleets: &Fleets, steps: &mut Steps<'_>) -> Result<(), CliError> {
    loop {
        let there = clusters_on(node, fleets).await?;
        let namespaces: BTreeSet<&String> = there.iter().map(|(namespace, _)| namespace).collect();
        let mut known = Vec::new();
        for namespace in namespaces {
            let fleets = Fleets { namespace: namespace.clone(), ..fleets.clone() };
            known.extend(fleets.list(false).await?.iter().map(Fleet::read));
        }
        match step(node, &there, &known) {
            Some(line) => steps.step(&line)?,
            None => {
                return steps.done(&format!(
                    "node/{node} has no pod of a group; empty it: kubectl drain {node} --ignore-daemonsets --delete-emptydir-data; use \
                     it again: kubectl uncordon {node}"
                ));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The RayClusters with a pod on a node.
async fn clusters_on(node: &str, fleets: &Fleets) -> Result<BTreeSet<Key>, CliError> {
    #[derive(Deserialize)]
    struct Pod {
        metadata: Meta,
    }
    #[derive(Deserialize)]
    struct Meta {
        namespace: String,
        labels: BTreeMap<String, String>,
    }
    let here = ListParams::default().fields(&format!("spec.nodeName={node}")).labels(RAY_LABEL_CLUSTER);
    let of = |text: &str| {
        let mut pod: Pod = serde_json::from_str(text).ok()?;
        Some((pod.metadata.namespace, pod.metadata.labels.remove(RAY_LABEL_CLUSTER)?))
    };
    Ok(fleets.all(&Request::new("/api/v1/pods"), here, "pods", of).await?.into_iter().collect())
}

/// The groups that are still there and what each waits for; `None` if there is none. RayClusters of no fleet are not waited for.
fn step(node: &str, there: &BTreeSet<Key>, fleets: &[Fleet]) -> Option<String> {
    let mut lines = Vec::new();
    let mut stalled = Vec::new();
    for fleet in fleets {
        let is_there = |name: &str| there.contains(&(fleet.namespace.clone(), name.to_owned()));
        let groups: Vec<_> = fleet.groups.iter().filter(|group| is_there(&group.name)).collect();
        if let Some(condition) =
            fleet.condition("Stalled").filter(|it| it.needs_attention() && !groups.is_empty())
        {
            let (reason, message) = (one_line(&condition.reason), one_line(&condition.message));
            stalled.push(format!("! {}/{} Stalled ({reason}): {message}", fleet.namespace, fleet.name));
        }
        for group in groups {
            let message = group.message.as_deref().map(|message| format!(", {}", one_line(message)));
            let (phase, message) = (one_line(&group.phase), message.unwrap_or_default());
            lines.push(format!("{}/{} is {phase}{message}", fleet.namespace, group.name));
        }
    }
    let count = lines.len();
    if count == 0 {
        return None;
    }
    let groups = if count == 1 { "1 group".to_owned() } else { format!("{count} groups") };
    let more = count.saturating_sub(NAMED);
    lines.truncate(NAMED);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.extend(stalled);
    Some(format!("Waiting for {groups} to leave node/{node}:\n  {}", lines.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::view::{Condition, Group};

    fn there(names: &[&str]) -> BTreeSet<Key> {
        names.iter().map(|name| ("serving".to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn only_groups_of_fleets_are_waited_for() {
        let fleets = [sample::upgrading_fleet()];
        assert_eq!(step("node-a", &there(&["someones-own"]), &fleets), None);
        assert_eq!(step("node-a", &there(&[]), &fleets), None);
        let elsewhere = BTreeSet::from([("other".to_owned(), "llama-bcdfgh-0".to_owned())]);
        assert_eq!(step("node-a", &elsewhere, &fleets), None);
    }

    #[test]
    fn each_group_says_what_it_waits_for_up_to_a_bound() {
        let mut fleet = sample::upgrading_fleet();
        fleet.conditions = vec![Condition {
            kind: "Stalled".into(),
            status: "True".into(),
            reason: "NoRoom".into(),
            message: "no other place".into(),
            since: None,
        }];
        let names = ["llama-bcdfgh-1", "g2", "g3", "g4", "g5", "g6", "g7"];
        for name in &names[1..] {
            fleet.groups.push(Group { name: (*name).into(), ..fleet.groups[0].clone() });
        }
        insta::assert_snapshot!(step("node-a", &there(&names), &[fleet.clone()]).unwrap());
        insta::assert_snapshot!(step("node-a", &there(&names[..1]), &[fleet]).unwrap());
    }
}
