//! What a name on the command line stands for: a group of the namespace, or a node.

use std::collections::BTreeMap;

use kube::api::GetParams;
use kube::core::Request;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::CliError;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fleets::Fleets;

/// What is to be drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Group(GroupTarget),
    Node(NodeTarget),
}

/// A RayCluster of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupTarget {
    pub(super) name: String,
    pub(super) fleet: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeTarget {
    pub(super) name: String,
    pub(super) cordoned: bool,
}

/// Of an object only what is wanted here, whatever else it has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lean {
    metadata: Meta,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "deletionTimestamp")]
    deleted: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: Option<bool>,
}

/// Requests for the RayClusters of a namespace.
pub(super) fn rayclusters(namespace: &str) -> Request {
    Request::new(format!("/apis/ray.io/v1/namespaces/{namespace}/rayclusters"))
}

/// Requests for nodes.
pub(super) fn nodes() -> Request {
    Request::new("/api/v1/nodes")
}

/// Finds what a name stands for.
pub(super) async fn find(name: &str, fleets: &Fleets) -> Result<Target, CliError> {
    let namespace = &fleets.namespace;
    match name.split_once('/') {
        Some(("group", name)) => group(name, fleets).await?.ok_or_else(|| missing("group", name, namespace)),
        Some(("node", name)) => node(name, fleets).await?.ok_or_else(|| missing("node", name, namespace)),
        Some(_) => Err(CliError::usage(
            format!("\"{name}\" is neither group/NAME nor node/NAME"),
            "give one of the two",
        )),
        None => match (group(name, fleets).await?, node(name, fleets).await) {
            (Some(_), Ok(Some(_))) => Err(CliError::usage(
                format!("\"{name}\" is a group of namespace \"{namespace}\" and a node"),
                format!("say which: group/{name} or node/{name}"),
            )),
            // Whoever may read no nodes can mean none.
            (Some(group), _) => Ok(group),
            (None, found) => found?.ok_or_else(|| missing("group or node", name, namespace)),
        },
    }
}

async fn group(name: &str, fleets: &Fleets) -> Result<Option<Target>, CliError> {
    let request = rayclusters(&fleets.namespace).get(name, &GetParams::default());
    let Some(text) = fleets.find_at(request).await? else { return Ok(None) };
    let found = lean(&text);
    let Some(fleet) = found.metadata.labels.and_then(|mut labels| labels.remove(LABEL_FLEET)) else {
        return Err(CliError::failed(
            format!("RayCluster \"{name}\" is not a group of a fleet"),
            format!("delete it if nobody needs it: kubectl delete raycluster {name} -n {}", fleets.namespace),
        ));
    };
    if found.metadata.deleted.is_some() {
        return Err(CliError::failed(
            format!("group \"{name}\" is being deleted already"),
            format!("follow its fleet: kubectl rayfleet status {} -w", fleets.named(&fleet)),
        ));
    }
    Ok(Some(Target::Group(GroupTarget { name: name.to_owned(), fleet })))
}

async fn node(name: &str, fleets: &Fleets) -> Result<Option<Target>, CliError> {
    let text = fleets.find_at(nodes().get(name, &GetParams::default())).await?;
    Ok(text.map(|text| {
        let cordoned = lean(&text).spec.unschedulable.unwrap_or_default();
        Target::Node(NodeTarget { name: name.to_owned(), cordoned })
    }))
}

fn lean(text: &str) -> Lean {
    serde_json::from_str(text).unwrap_or_default()
}

fn missing(what: &str, name: &str, namespace: &str) -> CliError {
    let place =
        if what == "node" { String::new() } else { format!(" (groups: in namespace \"{namespace}\")") };
    CliError::failed(
        format!("there is no {what} \"{name}\"{place}"),
        "list groups: kubectl rayfleet status FLEET; nodes: kubectl get nodes",
    )
}
