//! What breaks in a scenario, in the simulation. What is repaired, and what users do, does not belong here.

use std::sync::Arc;
use std::time::Duration;

use rayfleet_sim_kube::api::Kind;
use rayfleet_sim_ray::DashboardState;
use serde_json::{Value, json};

use super::SimEnvironment;
use crate::run::environment::Environment as _;
use crate::run::scenario::{Member, Victim};
use crate::run::world::foreign_changes;

/// Longest time until a group's head is there.
const HEAD: Duration = Duration::from_mins(5);

impl SimEnvironment {
    pub(super) async fn strike(&mut self, victim: &Victim) -> Result<(), String> {
        match victim {
            Victim::Orchestrator => {
                let leader = self.leader()?;
                self.shared.mark_dead(&leader);
                self.replicas.replace(&leader, false).await;
            }
            Victim::Kuberay(length) => self.kubernetes.kuberay_down(length.0),
            Victim::NodeOf(member) => {
                let node = self.node_of(*member).await?;
                self.log(format!("{node} loses its power"));
                self.kubernetes.kill_node(&node);
                self.lost = Some(node);
            }
            Victim::Notice { group, head, taint, after } => {
                let node = self.node_of(Member { group: *group, head: *head }).await?;
                self.log(format!("{node} gets the taint {taint}"));
                self.kubernetes.taint(&node, taint, true).map_err(|refusal| refusal.message)?;
                self.lost = Some(node.clone());
                self.announced = Some(taint.clone());
                let (kubernetes, after) = (self.kubernetes.clone(), after.0);
                self.ends.spawn(async move {
                    tokio::time::sleep(after).await;
                    kubernetes.kill_node(&node);
                });
            }
            Victim::Shutdown(member) => {
                let node = self.node_of(*member).await?;
                self.log(format!("{node} is shut down"));
                self.kubernetes.shut_down(&node);
                self.lost = Some(node);
            }
            Victim::Rank { group, rank } => {
                let cluster = self.cluster(*group).await?;
                self.ray.kill_rank(&cluster, *rank);
            }
            Victim::Engine(group) => {
                let cluster = self.cluster(*group).await?;
                self.ray.kill_engine(&cluster);
            }
            Victim::Hang(group) => {
                let cluster = self.cluster(*group).await?;
                self.ray.hang_engine(&cluster);
            }
            Victim::Container(member) => {
                let pod = self.pod_name(*member).await?;
                self.kubernetes.kill_container(self.namespace, &pod);
            }
            Victim::Pod(member) => {
                let pod = self.pod_name(*member).await?;
                let deleted = self.kubernetes.delete_pod_behind_back(self.namespace, &pod, false);
                deleted.map_err(|refusal| refusal.message)?;
            }
            Victim::RayCluster(group) => {
                let name = self.group(*group).await?;
                let deleted = self.api.delete(&Kind::RAY_CLUSTER, self.namespace, &name);
                deleted.map_err(|refusal| refusal.message)?;
            }
            Victim::Dashboard(group) => {
                let cluster = self.cluster(*group).await?;
                self.ray.set_dashboard(&cluster, DashboardState::Silent);
            }
            Victim::Ray(member) => {
                let pod = self.pod(*member).await?;
                self.ray.stop_ray(pod["status"]["podIP"].as_str().ok_or("the pod has no address")?);
            }
            Victim::Finalizer(group) => {
                let name = self.group(*group).await?;
                self.finalizers(&name, &json!(["example.com/backup"]))?;
            }
            Victim::Suspend(group) => {
                let name = self.group(*group).await?;
                foreign_changes::suspend(&self.api, self.namespace, &name, true)?;
            }
            Victim::Resize { group, replicas } => {
                let name = self.group(*group).await?;
                foreign_changes::resize(&self.api, self.namespace, &name, *replicas)?;
            }
            Victim::RemoveWorkers(group) => {
                let name = self.group(*group).await?;
                foreign_changes::regroup(&self.api, self.namespace, &name, foreign_changes::none)?;
            }
            Victim::AddWorkers(group) => {
                let name = self.group(*group).await?;
                foreign_changes::regroup(&self.api, self.namespace, &name, foreign_changes::one_more)?;
            }
            Victim::SecondHead(group) => {
                let head = self.head_to_be(*group).await?;
                foreign_changes::second_head(&self.api, &head)?;
            }
            Victim::FleetCrd => self.api.replace_fleet_crd(),
            Victim::Network(cut) => self.cut(*cut).await?,
        }
        Ok(())
    }

    /// The head of a group, as soon as there is one.
    async fn head_to_be(&mut self, group: usize) -> Result<Arc<Value>, String> {
        let end = self.now() + HEAD;
        loop {
            let head = self.pod(Member { group, head: true }).await;
            if head.is_ok() || self.now() >= end {
                return head;
            }
            self.pass(end.saturating_sub(self.now())).await;
        }
    }
}
