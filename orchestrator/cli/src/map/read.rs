//! Every call of `map` to the API server: the fleet, the pods of its groups, and the nodes that these or its ranks are on, each within
//! the time limit. What may not be read is a fact.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use kube::{Error, Resource};
use rayfleet_api::RayClusterFleet;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::CliError;

use super::facts::{self, Facts, NodeFact};
use crate::error::{self, RESOURCE};
use crate::fleets::Fleets;

/// Nodes that are read at a time, and at most.
const AT_ONCE: usize = 16;
const NODES: usize = 1_024;

/// Reads the fleet and what belongs to the groups that are wanted.
pub(super) async fn facts(fleets: &Fleets, name: &str, only: Option<&str>) -> Result<Facts, CliError> {
    let object = fleets.get(name).await?;
    let value = serde_json::to_value(&object).ok();
    let Some(fleet) = value.and_then(|value| serde_json::from_value::<RayClusterFleet>(value).ok()) else {
        return Err(CliError::plain(format!("{RESOURCE} \"{name}\" cannot be read")));
    };
    let groups = || fleet.status.iter().flat_map(|status| &status.groups);
    if let Some(only) = only.filter(|only| !groups().any(|group| group.name == **only)) {
        let names: Vec<&str> = groups().take(20).map(|group| group.name.as_str()).collect();
        let cure = if names.is_empty() {
            "it has none yet".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        return Err(CliError::failed(format!("fleet \"{name}\" has no group \"{only}\""), cure));
    }
    let at = Request::new(Pod::url_path(&(), Some(&fleets.namespace)));
    let of = ListParams::default().labels(&format!("{LABEL_FLEET}={name}"));
    let pods = fleets.all(&at, of, "pods", facts::pod).await.map_err(|fault| fault.message);
    let is_wanted = |group: &str| only.is_none_or(|only| only == group);
    let of_ranks = groups().filter(|group| is_wanted(group.name.as_str())).flat_map(|group| &group.placement);
    let of_pods =
        pods.iter().flatten().filter(|pod| is_wanted(&pod.group)).filter_map(|pod| pod.node.clone());
    let wanted: BTreeSet<String> = of_ranks.map(|rank| rank.node.to_string()).chain(of_pods).collect();
    let read = futures::stream::iter(wanted.into_iter().enumerate())
        .map(async |(number, name)| {
            let fact = if number < NODES {
                node(fleets, &name).await
            } else {
                NodeFact::Unknown(format!("only the first {NODES} are read"))
            };
            (name, fact)
        })
        .buffer_unordered(AT_ONCE);
    let nodes: BTreeMap<String, NodeFact> = read.collect().await;
    Ok(Facts { fleet, pods, nodes })
}

async fn node(fleets: &Fleets, name: &str) -> NodeFact {
    // A path is made of it.
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)) {
        return NodeFact::Unknown("a name that no node can have".to_owned());
    }
    let request = Request::new("/api/v1/nodes").get(name, &GetParams::default());
    let call = async { fleets.client.request_text(request.map_err(Error::BuildRequest)?).await };
    match tokio::time::timeout(fleets.timeout, call).await {
        Ok(Ok(text)) => facts::node(&text).map_or_else(
            || NodeFact::Unknown("one cannot be read".to_owned()),
            |room| NodeFact::Here(Box::new(room)),
        ),
        Ok(Err(Error::Api(status))) if status.is_not_found() => NodeFact::Gone,
        // The words name the node, and each reason is shown once.
        Ok(Err(Error::Api(status))) if status.is_forbidden() => {
            NodeFact::Unknown("you may not get nodes (a right of the whole cluster)".to_owned())
        }
        Ok(Err(error)) => NodeFact::Unknown(error::api(&error, &fleets.server, "", None).message),
        Err(_) => NodeFact::Unknown(error::no_answer(&fleets.server, fleets.timeout.as_secs_f64()).message),
    }
}
