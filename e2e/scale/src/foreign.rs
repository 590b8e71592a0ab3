//! A large cluster around the fleets: nodes and pods that are no fleet's, made before the controller starts. They are as large as those of
//! clouds, since who reads them all has to take them from the wire.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

/// Namespace of the pods.
const NAMESPACE: &str = "foreign";
/// Creations at a time.
const TOGETHER: usize = 32;
/// Pods that belong together: they differ in their names and values alone.
const SET: u32 = 20;
/// Seconds between signs of life.
const SIGN: f64 = 10.0;
/// Time between two looks at how many pods run.
const LOOK: Duration = Duration::from_secs(2);

/// Makes nodes and pods that are no fleet's.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Pods to make
    #[arg(long)]
    pods: u32,
    /// Nodes to make for them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Minutes within which all have to be made, and to run
    #[arg(long, default_value_t = 15)]
    limit: u64,
}

/// Makes them, and waits until all pods run.
pub(crate) async fn make(args: &Args) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let all = async {
        create("foreign nodes", &Api::<Node>::all(client), args.nodes, node).await?;
        create("foreign pods", &pods, args.pods, |number| pod(number, args.nodes)).await?;
        until_run(&pods).await
    };
    timeout(Duration::from_secs(60 * args.limit), all).await.map_err(|_| {
        anyhow!("after {} min not all foreign pods and nodes are there: give more --limit", args.limit)
    })?
}

/// Makes so many, some at a time.
async fn create<T: Clone + DeserializeOwned + Serialize + std::fmt::Debug>(
    what: &str,
    api: &Api<T>,
    number: u32,
    make: impl Fn(u32) -> Value,
) -> anyhow::Result<()> {
    let params = PostParams::default();
    let create = |number| {
        let (object, params) = (serde_json::from_value(make(number)), &params);
        async move { api.create(params, &object?).await.map(drop).context("create") }
    };
    let mut objects = stream::iter(1..=number).map(create).buffer_unordered(TOGETHER).enumerate();
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

async fn until_run(pods: &Api<Pod>) -> anyhow::Result<()> {
    let pending = ListParams::default().fields("status.phase=Pending");
    let mut said = clock::instant();
    loop {
        let left = pods.list_metadata(&pending).await.context("list foreign pods")?.items.len();
        if left == 0 {
            return Ok(());
        }
        if clock::seconds_since(said) > SIGN {
            print_error(format_args!("  {left} foreign pods do not run yet"));
            said = clock::instant();
        }
        sleep(LOOK).await;
    }
}

/// A node without GPUs, as clouds make them: many labels, the images that it has. 12 kB of JSON with what the played kubelet adds.
fn node(number: u32) -> Value {
    let labels: Map<String, Value> = (0..40)
        .map(|n| (format!("feature.node.kubernetes.io/some-feature-{n}"), json!(format!("value-{n}"))))
        .collect();
    let image = |n| {
        let name = format!("registry.example.com/team/image-{n}@sha256:{n:064}");
        json!({"names": [name], "sizeBytes": 1_000_000})
    };
    let amounts = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "500Gi", "pods": "110"});
    let images: Vec<Value> = (0..50).map(image).collect();
    json!({
        "metadata": {"name": node_name(number), "labels": labels},
        "status": {"capacity": amounts, "allocatable": amounts, "images": images}
    })
}

fn node_name(number: u32) -> String {
    format!("foreign-{number}")
}

/// A pod of a workload of some: two containers with an environment and requests. 6 kB of JSON with what the API server and the played
/// kubelet add.
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
