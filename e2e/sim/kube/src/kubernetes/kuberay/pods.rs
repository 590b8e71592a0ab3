//! The pods of a RayCluster: which are missing, surplus, or to be re-created. All by labels and names, as
//! KubeRay does it: pods of an earlier cluster of the same name count, and so do terminating ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::object::{is_deleting, is_true, items, label, name, namespace};
use super::super::quota;
use super::build::Builder;
use super::event;
use crate::api::{ApiServer, Kind};

/// A step of a reconciliation that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A pod could not be created or deleted: KubeRay reports it in `ReplicaFailure`.
    Replica(&'static str, String),
    /// Any other failure, which KubeRay does not report.
    Other,
}

/// All pods that are labelled as the cluster's.
pub(super) fn of(api: &ApiServer, cluster: &Value) -> Vec<Arc<Value>> {
    let is_its = |pod: &Arc<Value>| {
        namespace(pod) == namespace(cluster) && label(pod, "ray.io/cluster") == Some(name(cluster))
    };
    api.list(&Kind::POD).into_iter().filter(is_its).collect()
}

/// Whether a pod is the cluster's head.
pub(super) fn is_head(pod: &Value) -> bool {
    label(pod, "ray.io/node-type") == Some("head")
}

/// Number of pods that a worker group should have: KubeRay clamps `replicas` to the bounds.
pub(super) fn desired(group: &Value) -> u64 {
    if group["suspend"] == true {
        return 0;
    }
    let least = group["minReplicas"].as_u64().unwrap_or_default();
    let most = group["maxReplicas"].as_u64().unwrap_or(i32::MAX.unsigned_abs().into());
    let replicas = group["replicas"].as_u64().unwrap_or(least);
    let replicas = if replicas < least { least } else { replicas.min(most) };
    replicas.saturating_mul(hosts(group))
}

/// Number of pods of a replica.
pub(super) fn hosts(group: &Value) -> u64 {
    group["numOfHosts"].as_u64().unwrap_or(1).max(1)
}

/// Creates missing pods and deletes surplus ones.
pub(super) fn reconcile(
    api: &ApiServer,
    builder: &mut Builder,
    cluster: &Value,
    now: Timestamp,
) -> Result<(), Failure> {
    let pods = of(api, cluster);
    if is_true(cluster, "RayClusterSuspending") {
        return pods.iter().try_for_each(|pod| delete(api, cluster, pod, "FailedDeleteAllPods", now));
    }
    if is_true(cluster, "RayClusterSuspended") || cluster["spec"]["suspend"] == true {
        return Ok(());
    }
    let heads: Vec<&Value> = pods.iter().map(Arc::as_ref).filter(|pod| is_head(pod)).collect();
    match heads.as_slice() {
        [] => create(api, cluster, builder.head(cluster), "FailedCreateHeadPod", now)?,
        [head] if is_over(head) => {
            delete(api, cluster, head, "FailedDeleteHeadPod", now)?;
            return Err(Failure::Other);
        }
        [_] => {}
        _ => return Err(Failure::Other),
    }
    for group in items(&cluster["spec"]["workerGroupSpecs"]) {
        let group_name = group["groupName"].as_str().unwrap_or_default();
        let workers: Vec<&Value> = pods
            .iter()
            .map(Arc::as_ref)
            .filter(|pod| !is_head(pod) && label(pod, "ray.io/group") == Some(group_name))
            .collect();
        if group["suspend"] == true {
            workers.iter().try_for_each(|pod| delete(api, cluster, pod, "FailedDeleteWorkerPod", now))?;
        } else if hosts(group) > 1 {
            whole_replicas(api, builder, cluster, group, &workers, now)?;
        } else {
            single_hosts(api, builder, cluster, group, &workers, now)?;
        }
    }
    Ok(())
}

/// Whether a pod has ended and cannot restart: KubeRay replaces it.
fn is_over(pod: &Value) -> bool {
    let status = &pod["status"];
    if matches!(status["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return true;
    }
    let ray = &pod["spec"]["containers"][0]["name"];
    let ended = items(&status["containerStatuses"])
        .iter()
        .any(|container| container["name"] == *ray && container["state"]["terminated"].is_object());
    ended && status["phase"] == "Running" && pod["spec"]["restartPolicy"] == "Never"
}

fn single_hosts(
    api: &ApiServer,
    builder: &mut Builder,
    cluster: &Value,
    group: &Value,
    workers: &[&Value],
    now: Timestamp,
) -> Result<(), Failure> {
    let over: Vec<&&Value> = workers.iter().filter(|pod| is_over(pod)).collect();
    for pod in &over {
        delete(api, cluster, pod, "FailedDeleteWorkerPod", now)?;
    }
    if !over.is_empty() {
        return Err(Failure::Other);
    }
    let wanted = usize::try_from(desired(group)).unwrap_or(usize::MAX);
    let mut taken: Vec<u64> = workers.iter().filter_map(|pod| index(pod)).collect();
    for _ in workers.len()..wanted {
        let free = first_free(&mut taken);
        let pod = builder.worker(cluster, group, free, None);
        create(api, cluster, pod, "FailedCreateWorkerPod", now)?;
    }
    // With Ray's autoscaler, only that decides which pod is surplus.
    let surplus = if cluster["spec"]["enableInTreeAutoscaling"] == true {
        0
    } else {
        workers.len().saturating_sub(wanted)
    };
    for pod in workers.iter().take(surplus) {
        delete(api, cluster, pod, "FailedDeleteWorkerPod", now)?;
    }
    Ok(())
}

/// A multi-host replica is created and deleted as a whole.
fn whole_replicas(
    api: &ApiServer,
    builder: &mut Builder,
    cluster: &Value,
    group: &Value,
    workers: &[&Value],
    now: Timestamp,
) -> Result<(), Failure> {
    let mut replicas: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for pod in workers {
        if let Some(replica) = label(pod, "ray.io/worker-group-replica-name") {
            replicas.entry(replica).or_default().push(pod);
        }
    }
    let size = usize::try_from(hosts(group)).unwrap_or(usize::MAX);
    if let Some(pods) = replicas.values().find(|pods| pods.len() < size) {
        for pod in pods {
            delete(api, cluster, pod, "FailedDeleteWorkerPod", now)?;
        }
        return Err(Failure::Other);
    }
    let (over, whole): (Vec<_>, Vec<_>) =
        replicas.values().partition(|pods| pods.iter().any(|pod| is_over(pod)));
    for pod in over.into_iter().flatten() {
        delete(api, cluster, pod, "FailedDeleteWorkerPod", now)?;
    }
    let wanted = usize::try_from(desired(group) / hosts(group)).unwrap_or(usize::MAX);
    let mut taken: Vec<u64> =
        whole.iter().filter_map(|pods| pods.first().and_then(|pod| index(pod))).collect();
    for _ in whole.len()..wanted {
        let free = first_free(&mut taken);
        let replica = builder.replica_name(group);
        for host in 0..hosts(group) {
            let pod = builder.worker(cluster, group, free, Some((&replica, host)));
            create(api, cluster, pod, "FailedCreateWorkerPod", now)?;
        }
    }
    for pod in whole.iter().take(whole.len().saturating_sub(wanted)).flat_map(|pods| pods.iter()) {
        delete(api, cluster, pod, "FailedDeleteWorkerPod", now)?;
    }
    Ok(())
}

fn index(pod: &Value) -> Option<u64> {
    label(pod, "ray.io/worker-group-replica-index")?.parse().ok()
}

fn first_free(taken: &mut Vec<u64>) -> u64 {
    let mut free = 0;
    while taken.contains(&free) {
        free += 1;
    }
    taken.push(free);
    free
}

fn create(
    api: &ApiServer,
    cluster: &Value,
    pod: Value,
    reason: &'static str,
    now: Timestamp,
) -> Result<(), Failure> {
    let made = quota::admit(api, &pod)
        .and_then(|()| api.create(&Kind::POD, pod).map(drop).map_err(|refusal| refusal.message));
    made.map_err(|refusal| {
        let (namespace, name) = (namespace(cluster), name(cluster));
        let (kind, reported) = if reason == "FailedCreateHeadPod" {
            ("head", "FailedToCreateHeadPod")
        } else {
            ("worker", "FailedToCreateWorkerPod")
        };
        let message = format!("Failed to create {kind} Pod for the cluster {namespace}/{name}, {refusal}");
        event::warn(api, cluster, reported, &message, now);
        Failure::Replica(reason, format!("{reason}\n{refusal}"))
    })
}

/// A terminating pod is not deleted again.
fn delete(
    api: &ApiServer,
    cluster: &Value,
    pod: &Value,
    reason: &'static str,
    now: Timestamp,
) -> Result<(), Failure> {
    if is_deleting(pod) {
        return Ok(());
    }
    match api.delete(&Kind::POD, namespace(pod), name(pod)) {
        Err(refusal) if refusal.code != 404 => {
            let message =
                format!("Failed deleting Pod {}/{}, {}", namespace(pod), name(pod), refusal.message);
            event::warn(api, cluster, "FailedToDeletePod", &message, now);
            Err(Failure::Replica(reason, format!("{reason}\n{}", refusal.message)))
        }
        _ => Ok(()),
    }
}
