//! A node pool is lost: machines lose power all at once. Their pods answer nothing from then on; Kubernetes notices some time later, and
//! then evicts what was there, which never ends, since no kubelet ends it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use rayfleet_sim_ray::RayWorld;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::sleep;

use crate::containers::UNPLAYED;
use crate::fleets::NAMESPACE;
use crate::numbers::Spread;
use crate::phase::{Phase, count, row, spread};
use crate::process;
use crate::progress::{fleet_of, is_ready_pod};
use crate::run::{Run, TAIL};
use crate::watches::Followed;

/// After how long without a sign of a kubelet the node is called unreachable: what `hack/local/control-plane.sh` sets where there are
/// kubelets. The bench has none, and plays the controller that would notice.
const NOTICED: Duration = Duration::from_secs(40);
/// Changes at a time.
const TOGETHER: usize = 8;

/// Nodes were lost.
#[derive(Debug, Serialize)]
pub(crate) struct Loss {
    pub(crate) nodes: u32,
    /// Fleets that had pods on them.
    pub(crate) lost: usize,
    /// Of these, those that are ready in the end with all pods on other nodes.
    pub(crate) back: usize,
    /// Seconds from the loss until their status no longer said ready, and until it did again.
    pub(crate) said: Option<Spread>,
    pub(crate) ready_again: Option<Spread>,
    /// The other fleets; and of these, those that have the same pods as before, all of them Ready without a break.
    pub(crate) others: usize,
    pub(crate) untouched: usize,
    /// From the loss until some seconds after the last was ready again.
    pub(crate) work: Phase,
}

/// A pod of a fleet, somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    fleet: String,
    name: String,
    uid: String,
    node: String,
    address: Option<Ipv4Addr>,
    /// Since when it is Ready; `None` if it is not, or ends.
    ready: Option<String>,
}

/// Takes nodes 1 to `number` away, and waits until their fleets are back.
pub(crate) async fn lose(run: &mut Run<'_>, number: u32) -> anyhow::Result<Loss> {
    let nodes: BTreeSet<String> = (1..=number).map(|number| format!("node-{number}")).collect();
    let before = placed(&run.client).await?;
    let (gone, _): (Vec<&Placed>, Vec<_>) = before.iter().partition(|pod| nodes.contains(&pod.node));
    let lost: BTreeSet<String> = gone.iter().map(|pod| pod.fleet.clone()).collect();
    ensure!(
        !lost.is_empty(),
        "no fleet has a pod on the {number} nodes to lose: have fewer --nodes, or lose more"
    );
    print_error(format_args!("All are up; {number} nodes lose power, and {} fleets pods", lost.len()));
    process::forget_peak(run.args.pid)?;
    let start = run.meters.read().await?;
    run.followed.progress().lose(lost.iter().cloned(), clock::instant());
    silence(gone.iter().filter_map(|pod| pod.address)).await?;
    power_off(&run.client, &run.ray, &nodes).await?;
    let notice = async {
        sleep(NOTICED).await;
        print_error("  Kubernetes notices");
        notice(&run.client, &nodes, &gone).await
    };
    let back = run.until(|followed| followed.progress().is_found(), sign);
    tokio::try_join!(notice, back)?;
    sleep(TAIL).await;
    let work = run.meters.since(&start).await?;
    let after = placed(&run.client).await?;
    let (said, again) = run.followed.progress().found();
    let fleets: BTreeSet<&String> = before.iter().map(|pod| &pod.fleet).collect();
    Ok(Loss {
        nodes: number,
        lost: lost.len(),
        back: lost.iter().filter(|fleet| is_back(fleet, &after, &nodes, run.args.pods)).count(),
        said: Spread::of(said),
        ready_again: Spread::of(again),
        others: fleets.len() - lost.len(),
        untouched: fleets
            .iter()
            .filter(|fleet| !lost.contains(**fleet) && is_same(fleet, &before, &after))
            .count(),
        work,
    })
}

fn sign(followed: &Followed) -> String {
    let progress = followed.progress();
    let ((pods, status), (said, again)) = (progress.ready(), progress.found());
    format!(
        "{pods} fleets are ready by pods, {status} by status; of those that lost pods {} have said so, {} are ready again",
        said.len(),
        again.len()
    )
}

/// Whether a fleet has all its pods, Ready and on none of these nodes.
fn is_back(fleet: &str, pods: &[Placed], nodes: &BTreeSet<String>, wanted: usize) -> bool {
    let here = |pod: &&Placed| pod.fleet == fleet && pod.ready.is_some() && !nodes.contains(&pod.node);
    pods.iter().filter(here).count() >= wanted
}

/// Whether a fleet's pods are the same, and have been Ready since the same time.
fn is_same(fleet: &str, before: &[Placed], after: &[Placed]) -> bool {
    let of = |pods: &[Placed]| -> BTreeSet<Placed> {
        pods.iter().filter(|pod| pod.fleet == fleet).cloned().collect()
    };
    of(before) == of(after) && of(after).iter().all(|pod| pod.ready.is_some())
}

/// All pods of fleets.
async fn placed(client: &Client) -> anyhow::Result<Vec<Placed>> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await;
    Ok(pods.context("list pods")?.items.iter().filter_map(Placed::of).collect())
}

impl Placed {
    fn of(pod: &Pod) -> Option<Self> {
        let name = pod.name_any();
        let status = pod.status.as_ref()?;
        let mut conditions = status.conditions.iter().flatten();
        let ready = conditions.find(|condition| condition.type_ == "Ready").filter(|_| is_ready_pod(pod));
        Some(Self {
            fleet: fleet_of(&name)?.to_owned(),
            uid: pod.uid()?,
            node: pod.spec.as_ref()?.node_name.clone()?,
            address: status.pod_ip.as_ref().and_then(|address| address.parse().ok()),
            ready: ready.map(|ready| {
                ready.last_transition_time.as_ref().map_or_else(String::new, |time| time.0.to_string())
            }),
            name,
        })
    }
}

/// Nothing comes from or to these addresses any more, neither an answer nor a refusal.
async fn silence(addresses: impl Iterator<Item = Ipv4Addr>) -> anyhow::Result<()> {
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let all = addresses.join(", ");
    let rules = format!(
        "add table inet lost
         add chain inet lost input {{ type filter hook input priority 0; }}
         add rule inet lost input ip daddr {{ {all} }} drop
         add rule inet lost input ip saddr {{ {all} }} drop\n"
    );
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("start nft")?;
    nft.stdin
        .take()
        .context("nft takes no rules")?
        .write_all(rules.as_bytes())
        .await
        .context("write to nft")?;
    let done = nft.wait().await.context("wait for nft")?;
    ensure!(done.success(), "nft does not take the rules that silence lost nodes: {done}");
    Ok(())
}

/// The machines are off, and no kubelet of theirs does anything any more.
async fn power_off(client: &Client, ray: &RayWorld, nodes: &BTreeSet<String>) -> anyhow::Result<()> {
    for node in nodes {
        ray.lose_node(node);
    }
    let api = Api::<Node>::all(client.clone());
    let label = json!({"metadata": {"labels": {UNPLAYED: ""}}});
    together(nodes, |node| patch(&api, node, "", Patch::Merge(&label))).await
}

/// Kubernetes calls the nodes unreachable and their pods not ready, in the words of its controller of nodes' lives. The controller of
/// taints is real.
async fn notice(client: &Client, nodes: &BTreeSet<String>, gone: &[&Placed]) -> anyhow::Result<()> {
    let (api, pods) = (Api::<Node>::all(client.clone()), Api::<Pod>::namespaced(client.clone(), NAMESPACE));
    let condition = json!({
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."
    });
    let unknown = json!({"status": {"conditions": [condition]}});
    together(nodes, |node| patch(&api, node, "status", Patch::Strategic(&unknown))).await?;
    let taint = |effect: &str| json!({"key": "node.kubernetes.io/unreachable", "effect": effect});
    let taints = json!({"spec": {"taints": [taint("NoSchedule"), taint("NoExecute")]}});
    together(nodes, |node| patch(&api, node, "", Patch::Merge(&taints))).await?;
    let not_ready =
        json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}});
    together(gone, |pod| patch(&pods, &pod.name, "status", Patch::Strategic(&not_ready))).await
}

/// Does something with each, some at a time.
async fn together<T, F: Future<Output = anyhow::Result<()>>>(
    all: impl IntoIterator<Item = T>,
    each: impl FnMut(T) -> F,
) -> anyhow::Result<()> {
    stream::iter(all).map(each).buffer_unordered(TOGETHER).try_collect().await
}

/// Changes an object or a part of it. One that is gone already needs no change.
async fn patch<T>(api: &Api<T>, name: &str, part: &str, patch: Patch<&Value>) -> anyhow::Result<()>
where
    T: Clone + serde::de::DeserializeOwned + fmt::Debug,
{
    let params = PatchParams::default();
    let patched = if part.is_empty() {
        api.patch(name, &params, &patch).await
    } else {
        api.patch_subresource(part, name, &params, &patch).await
    };
    match patched {
        Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(()),
        patched => patched.map(drop).with_context(|| format!("change {name}")),
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, lost, back, said, ready_again, others, untouched, work } = self;
        writeln!(f, "\nLOSS of {nodes} nodes, on which {lost} fleets had pods")?;
        spread(f, "status says not ready, after", *said)?;
        spread(f, "status says ready again, after", *ready_again)?;
        row(f, "ready on other nodes", format_args!("{back} of {lost} fleets"))?;
        row(f, "others untouched", format_args!("{untouched} of {others} fleets: same pods, always ready"))?;
        work.work(f, count(*lost as u64), "a lost fleet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str, node: &str, since: &str, ready: &str) -> Pod {
        let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": since});
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": uid},
            "spec": {"nodeName": node, "containers": []},
            "status": {"podIP": "10.128.0.7", "conditions": [condition]}
        }))
        .unwrap()
    }

    #[test]
    fn a_fleet_is_untouched_while_its_pods_are_the_same_and_have_never_not_been_ready() {
        let (early, late) = ("2026-11-30T00:00:00Z", "2026-11-30T00:01:00Z");
        let placed = |uid, since, ready| vec![Placed::of(&pod("f1-a", uid, "node-1", since, ready)).unwrap()];
        let before = placed("u", early, "True");
        assert!(is_same("f1", &before, &placed("u", early, "True")));
        assert!(!is_same("f1", &before, &placed("v", early, "True")), "another pod");
        assert!(!is_same("f1", &before, &placed("u", late, "True")), "it was not ready for a while");
        assert!(!is_same("f1", &before, &placed("u", early, "False")));
        assert!(!is_same("f1", &before, &[]));
        let unready = placed("u", early, "False");
        assert!(!is_same("f1", &unready, &unready), "it never was");
        assert_eq!(before[0].address, Some(Ipv4Addr::new(10, 128, 0, 7)));
    }

    #[test]
    fn a_fleet_is_back_with_all_pods_on_other_nodes() {
        let since = "2026-11-30T00:00:00Z";
        let placed =
            |name: &str, node: &str, ready: &str| Placed::of(&pod(name, name, node, since, ready)).unwrap();
        let lost = BTreeSet::from(["node-1".to_owned()]);
        let old = placed("f1-a", "node-1", "True");
        let two = [placed("f1-b", "node-2", "True"), placed("f1-c", "node-3", "True")];
        assert!(is_back("f1", &[old.clone(), two[0].clone(), two[1].clone()], &lost, 2));
        assert!(!is_back("f1", &[old, two[0].clone()], &lost, 2));
        assert!(!is_back("f1", &[two[0].clone(), placed("f1-c", "node-3", "False")], &lost, 2));
        assert!(!is_back("f2", &two, &lost, 2));
    }
}
