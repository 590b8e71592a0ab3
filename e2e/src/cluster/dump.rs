//! Diagnostics after a failure: the fleets' status, events, pods, and the last log lines of the
//! orchestrator and KubeRay. Never fails: parts that cannot be read are named.

use std::fmt::Write;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use rayfleet_api::RayClusterFleet;

use super::{Cluster, KUBERAY_NAMESPACE, SYSTEM_NAMESPACE, call, ready};

const EVENTS: usize = 40;
const LOG_LINES: i64 = 50;

/// The state of the cluster's namespace, as text.
pub async fn dump(cluster: &Cluster) -> String {
    let mut text = String::new();
    for (title, part) in [
        ("fleets", fleets(cluster).await),
        ("pods", pods(cluster).await),
        ("last events", events(cluster).await),
        ("orchestrator", logs(cluster, SYSTEM_NAMESPACE).await),
        ("KubeRay", logs(cluster, KUBERAY_NAMESPACE).await),
    ] {
        let part = part.unwrap_or_else(|error| format!("cannot be read: {error:#}"));
        let _ = writeln!(text, "--- {title}\n{}", part.trim_end());
    }
    text
}

async fn fleets(cluster: &Cluster) -> anyhow::Result<String> {
    let api: Api<RayClusterFleet> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let list = call("list fleets", api.list(&ListParams::default())).await?;
    let one = |fleet: &RayClusterFleet| format!("{}\n{}\n", fleet.name_any(), ready::words(fleet));
    Ok(list.items.iter().map(one).collect())
}

async fn pods(cluster: &Cluster) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let list = call("list pods", api.list(&ListParams::default())).await?;
    Ok(list.items.iter().map(|pod| pod_line(pod) + "\n").collect())
}

fn pod_line(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
    let deleting = if pod.metadata.deletion_timestamp.is_some() { " (ending)" } else { "" };
    let mut line =
        format!("{} {}{deleting} on {node}", pod.name_any(), status.phase.as_deref().unwrap_or("-"));
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    for container in containers {
        let waiting = container.state.and_then(|state| state.waiting);
        if let Some(waiting) = waiting {
            let (reason, message) = (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default());
            let _ = write!(line, "; {} waits: {reason} {message}", container.name);
        }
        if container.restart_count > 0 {
            let _ = write!(line, "; {} restarted {} times", container.name, container.restart_count);
        }
    }
    let unmet = status.conditions.into_iter().flatten().filter(|condition| condition.status != "True");
    for condition in unmet {
        let _ = write!(line, "; {} {}", condition.type_, condition.message.unwrap_or_default());
    }
    line
}

async fn events(cluster: &Cluster) -> anyhow::Result<String> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut events = call("list events", api.list(&ListParams::default())).await?.items;
    let time = |event: &Event| {
        let series =
            event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        series
            .or(event.last_timestamp.as_ref().map(|time| time.0))
            .or(event.event_time.as_ref().map(|time| time.0))
    };
    events.sort_by_key(time);
    let skip = events.len().saturating_sub(EVENTS);
    let line = |event: &Event| {
        let when = time(event).map(|time| time.strftime("%H:%M:%S").to_string()).unwrap_or_default();
        let object = &event.involved_object;
        let words = event.message.as_deref().unwrap_or_default();
        format!(
            "{when} {} {}/{} {}: {words}\n",
            event.type_.as_deref().unwrap_or("-"),
            object.kind.as_deref().unwrap_or("-"),
            object.name.as_deref().unwrap_or("-"),
            event.reason.as_deref().unwrap_or("-"),
        )
    };
    Ok(events.iter().skip(skip).map(line).collect())
}

async fn logs(cluster: &Cluster, namespace: &str) -> anyhow::Result<String> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let list = call("list pods", api.list(&ListParams::default())).await?;
    let mut text = String::new();
    for pod in list {
        let name = pod.name_any();
        let params = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let log = call("read the log", api.logs(&name, &params)).await;
        let log = log.unwrap_or_else(|error| format!("{error:#}"));
        let _ = writeln!(text, "{}\n{}", pod_line(&pod), log.trim_end());
    }
    Ok(text)
}
