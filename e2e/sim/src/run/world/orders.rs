//! Executes the faults that are more than a changed call.

use rayfleet_sim_kube::api::{ApiServer, Kind};
use rayfleet_sim_kube::kubernetes::Kubernetes;
use rayfleet_sim_ray::{DashboardState, RayWorld};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::foreign;
use super::foreign_changes;
use super::replicas::Replicas;
use crate::run::faults::Order;

/// Executes orders until the run is over.
pub(super) async fn obey(
    mut orders: mpsc::UnboundedReceiver<Order>,
    replicas: Replicas,
    api: ApiServer,
    ray: RayWorld,
    kubernetes: Kubernetes,
) {
    let mut tasks = JoinSet::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Replace { who, stale } => {
                let replicas = replicas.clone();
                tasks.spawn(async move { replicas.replace(&who, stale).await });
            }
            Order::Dashboards(length) => {
                let (api, ray) = (api.clone(), ray.clone());
                tasks.spawn(async move {
                    set_all(&api, &ray, &DashboardState::Silent);
                    tokio::time::sleep(length).await;
                    set_all(&api, &ray, &DashboardState::Well);
                });
            }
            Order::Kuberay(length) => kubernetes.kuberay_down(length),
            Order::Resize => {
                if let Some((namespace, name)) = first_cluster(&api) {
                    // It may be deleted a moment later.
                    drop(foreign_changes::resize(&api, &namespace, &name, 0));
                }
            }
            Order::Suspend(length) => {
                if let Some((namespace, name)) = first_cluster(&api) {
                    let api = api.clone();
                    tasks.spawn(async move {
                        drop(foreign_changes::suspend(&api, &namespace, &name, true));
                        tokio::time::sleep(length).await;
                        drop(foreign_changes::suspend(&api, &namespace, &name, false));
                    });
                }
            }
            Order::Foreign(length) => {
                let api = api.clone();
                tasks.spawn(async move {
                    let strays = foreign::come(&api);
                    tokio::time::sleep(length).await;
                    foreign::go(&api, &strays);
                });
            }
        }
    }
}

/// The first RayCluster that is not being deleted.
fn first_cluster(api: &ApiServer) -> Option<(String, String)> {
    let clusters = api.list(&Kind::RAY_CLUSTER);
    let first = clusters.iter().find(|cluster| cluster["metadata"]["deletionTimestamp"].is_null())?;
    let part = |field: &str| first["metadata"][field].as_str().map(str::to_owned);
    Some((part("namespace")?, part("name")?))
}

fn set_all(api: &ApiServer, ray: &RayWorld, state: &DashboardState) {
    for cluster in api.list(&Kind::RAY_CLUSTER) {
        let part = |field: &str| cluster["metadata"][field].as_str().unwrap_or_default().to_owned();
        ray.set_dashboard(&format!("{}/{}", part("namespace"), part("name")), *state);
    }
}
