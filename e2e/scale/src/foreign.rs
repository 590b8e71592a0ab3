//! A large cluster around the fleets: nodes and pods that are no fleet's, made before the controller starts. They are as large as those of
//! clouds, since who reads them all has to take them from the wire. No kubelet is played for them, as that would still be at work when
//! the fleets' pods come: what it would write is written here.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::containers::UNPLAYED;

/// Namespace of the pods.
const NAMESPACE: &str = "foreign";
/// Creations at a time.
const TOGETHER: usize = 32;
/// Pods that belong together: they differ in their names and values alone.
const SET: u32 = 20;
/// Seconds between signs of life.
const SIGN: f64 = 10.0;
/// Before the pods' addresses, 11.0.0.0: outside of those of played pods.
const ADDRESSES: u32 = 11 << 24;

/// Makes nodes and pods that are no fleet's.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pods to make
    #[arg(long)]
    pods: u32,
    /// Nodes to make for them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Minutes within which all have to be made
    #[arg(long, default_value_t = 15)]
    limit: u64,
}

/// Makes them; all pods run.
pub(crate) async fn make(args: &Args) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let (nodes, pods) = (Api::<Node>::all(client.clone()), Api::<Pod>::namespaced(client, NAMESPACE));
    let (nodes, pods, params) = (&nodes, &pods, &PostParams::default());
    let make_node = |number| async move {
        nodes.create(params, &serde_json::from_value(node(number))?).await.map(drop).context("create")
    };
    let make_pod = |number| async move {
        let made =
            pods.create(params, &serde_json::from_value(pod(number, args.nodes))?).await.context("create")?;
        let runs = Patch::Merge(json!({"status": running(number)}));
        pods.patch_status(&made.name_any(), &PatchParams::default(), &runs)
            .await
            .map(drop)
            .context("change the status")
    };
    let all = async {
        each("foreign nodes", args.nodes, make_node).await?;
        each("foreign pods", args.pods, make_pod).await
    };
    timeout(Duration::from_secs(60 * args.limit), all).await.map_err(|_| {
        anyhow!("after {} min not all foreign pods and nodes are there: give more --limit", args.limit)
    })?
}

/// Does it for each number, some at a time, and says how far it is.
async fn each<F: Future<Output = anyhow::Result<()>>>(
    what: &str,
    number: u32,
    make: impl FnMut(u32) -> F,
) -> anyhow::Result<()> {
    let mut objects = stream::iter(1..=number).map(make).buffer_unordered(TOGETHER).enumerate();
    let mut said = clock::instant();
    while let Some((before, done)) = objects.next().await {
        done.with_context(|| what.to_owned())?;
        if clock::seconds_since(said) > SIGN {
            print_error(format_args!("  {} of {number} {what} are made", before + 1));
            said = clock::instant();
        }
    }
    print_error(format_args!("Made {number} {what}"));
    Ok(())
}

/// A node without GPUs, as clouds make them: many labels, the images that it has. 15 kB of JSON with what the API
/// server adds.
fn node(number: u32) -> Value {
    let mut labels: Map<String, Value> = (0..40)
        .map(|n| (format!("feature.node.kubernetes.io/some-feature-{n}"), json!(format!("value-{n}"))))
        .collect();
    labels.insert(UNPLAYED.to_owned(), json!(""));
    let image = |n| {
        let name = format!("registry.example.com/team/image-{n}@sha256:{n:064}");
        json!({"names": [name], "sizeBytes": 1_000_000})
    };
    let amounts = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "500Gi", "pods": "110"});
    let images: Vec<Value> = (0..50).map(image).collect();
    let conditions = [
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", "True"),
    ];
    json!({
        "metadata": {"name": node_name(number), "labels": labels},
        "status": {"capacity": amounts, "allocatable": amounts, "images": images, "conditions": conditions}
    })
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": "2026-11-30T00:00:00Z"})
}

fn node_name(number: u32) -> String {
    format!("foreign-{number}")
}

/// A pod of a workload of some: two containers with an environment and requests. 9 kB of JSON with its status
/// and what the API server adds.
fn pod(number: u32, nodes: u32) -> Value {
    let set = format!("foreign-{}", number / SET);
    let variable = |n| json!({"name": format!("SOME_VARIABLE_{n}"), "value": format!("value-{number}-{n}")});
    let environment: Vec<Value> = (0..20).map(variable).collect();
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:v1.2.3"), "env": environment,
            "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
        })
    };
    json!({
        "metadata": {
            "name": format!("{set}-{number}"),
            "labels": {"app.kubernetes.io/name": "foreign", "app.kubernetes.io/instance": set}
        },
        "spec": {
            "nodeName": node_name(1 + number % nodes),
            "containers": [container("server"), container("proxy")]
        }
    })
}

/// The status of a pod that runs.
fn running(number: u32) -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:v1.2.3"), "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-11-30T00:00:00Z"}}
        })
    };
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    json!({
        "phase": "Running", "hostIP": "10.88.0.1", "podIP": Ipv4Addr::from(ADDRESSES + number).to_string(),
        "startTime": "2026-11-30T00:00:00Z", "conditions": conditions.map(|kind| condition(kind, "True")),
        "containerStatuses": [container("server"), container("proxy")]
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pods_are_on_all_nodes_that_are_made_and_have_names_of_their_own() {
        let pods: Vec<Pod> = (1..=45).map(|n| serde_json::from_value(pod(n, 4)).unwrap()).collect();
        let on: BTreeSet<_> = pods.iter().map(|pod| pod.spec.clone().unwrap().node_name.unwrap()).collect();
        let nodes: Vec<Node> = (1..=4).map(|n| serde_json::from_value(node(n)).unwrap()).collect();
        assert_eq!(on, nodes.into_iter().map(|node| node.metadata.name.unwrap()).collect());
        let names: BTreeSet<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
        assert_eq!(names.len(), 45);
        let sets: BTreeSet<_> = pods.iter().map(|pod| pod.metadata.labels.clone()).collect();
        assert_eq!(sets.len(), 3);
    }
}
