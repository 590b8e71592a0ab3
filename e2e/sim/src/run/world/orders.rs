//! What the world does about faults that are more than a call.

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::replicas::Replicas;
use crate::api::{ApiServer, Kind};
use crate::kubernetes::Kubernetes;
use crate::ray::{DashboardState, RayWorld};
use crate::run::faults::Order;

/// Carries out orders until the run is over.
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
        }
    }
}

fn set_all(api: &ApiServer, ray: &RayWorld, state: &DashboardState) {
    for cluster in api.list(&Kind::RAY_CLUSTER) {
        let part = |field: &str| cluster["metadata"][field].as_str().unwrap_or_default().to_owned();
        ray.set_dashboard(&format!("{}/{}", part("namespace"), part("name")), *state);
    }
}
