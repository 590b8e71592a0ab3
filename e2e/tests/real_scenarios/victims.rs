//! How the faults and repairs of a scenario are carried out on the real cluster.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use rayfleet_api::status::GroupStatus;
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::pods::{FleetPod, pods};
use rayfleet_e2e::cluster::processes::{self, Process, cluster_tool, the_one};
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::room::set_cordoned;
use rayfleet_e2e::cluster::{KUBERAY_NAMESPACE, SYSTEM_NAMESPACE, call, leader, ray_cluster_resource};
use rayfleet_sim::run::environment::Environment;
use rayfleet_sim::run::scenario::{Healed, Member, Victim};
use serde_json::json;

use crate::clients::Killed;
use crate::environment::RealEnvironment;

const RANK: &str = "ray::RayWorkerProc";
const CORE: &str = "light_engine.core";
const DASHBOARD: &str = "dashboard/dashboard.py";
/// Interval at which `kubectl drain` retries, and its timeout.
const EVICT_AGAIN: Duration = Duration::from_secs(5);
const DRAINED: Duration = Duration::from_mins(20);
const KUBERAY: &str = "kuberay-operator";
/// The process that holds a pod's namespaces; not one of the containers that a scenario means.
const SANDBOX: &str = "/pause";

impl RealEnvironment<'_> {
    pub(crate) async fn strike(&mut self, victim: &Victim) -> anyhow::Result<()> {
        match victim {
            Victim::Orchestrator => self.kill_leader().await,
            Victim::Kuberay(length) => self.send_kuberay_away(length.0).await,
            Victim::NodeOf(member) => self.cut_power(*member).await,
            Victim::Rank { group, rank } => {
                let pod = self.pod_of_rank(*group, *rank).await?;
                self.dies(*group, &format!("the death of rank {rank}")).await?;
                the_one(&pod, RANK)?.signal("KILL")
            }
            Victim::Engine(group) => {
                let head = self.pod(Member { group: *group, head: true }).await?;
                self.dies(*group, "the death of the engine's core").await?;
                the_one(&head, CORE)?.signal("KILL")
            }
            Victim::Hang(group) => {
                // A stopped rank: the engine answers health checks, and makes no steps.
                let worker = self.pod(Member { group: *group, head: false }).await?;
                self.dies(*group, "a hung engine").await?;
                the_one(&worker, RANK)?.signal("STOP")
            }
            Victim::Container(member) => {
                let pod = self.pod(*member).await?;
                self.dies(member.group, &format!("the death of the container of {}", pod.name)).await?;
                kill_all(processes::of_pod(&pod, "").into_iter().filter(|process| !process.is(SANDBOX)), &pod)
            }
            Victim::Pod(member) => {
                let pod = self.pod(*member).await?;
                self.dies(member.group, &format!("the deletion of pod {}", pod.name)).await?;
                let api: Api<Pod> = Api::namespaced(self.client(), &self.fixture.cluster.namespace);
                let what = format!("delete pod {}", pod.name);
                call(&what, api.delete(&pod.name, &DeleteParams::default())).await.map(drop)
            }
            Victim::RayCluster(group) => {
                let name = self.group(*group).await?.name;
                self.dies(*group, &format!("the deletion of RayCluster {name}")).await?;
                let namespace = &self.fixture.cluster.namespace;
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client(), namespace, &ray_cluster_resource());
                let what = format!("delete RayCluster {name}");
                call(&what, api.delete(&name, &DeleteParams::background())).await.map(drop)
            }
            Victim::Dashboard(group) => {
                let head = self.pod(Member { group: *group, head: true }).await?;
                let all = processes::of_pod(&head, DASHBOARD);
                ensure!(!all.is_empty(), "pod {} has no process of `{DASHBOARD}`", head.name);
                all.iter().try_for_each(|process| process.signal("STOP"))?;
                self.stopped.insert(*group, all);
                Ok(())
            }
            Victim::Ray(_)
            | Victim::Finalizer(_)
            | Victim::SecondHead(_)
            | Victim::Network(_)
            | Victim::Notice { .. }
            | Victim::Shutdown(_) => {
                bail!("only the simulation does that")
            }
            Victim::Suspend(group) => {
                self.dies(*group, "the suspension of its RayCluster").await?;
                self.patch_cluster(*group, json!({"suspend": true})).await
            }
            Victim::Resize { group, replicas } => {
                self.dies(*group, "the resize of its RayCluster").await?;
                let cluster = self.cluster(*group).await?;
                let mut groups = cluster.data["spec"]["workerGroupSpecs"].clone();
                for workers in groups.as_array_mut().into_iter().flatten() {
                    workers["replicas"] = json!(replicas);
                    workers["minReplicas"] = json!(0);
                }
                self.patch_cluster(*group, json!({"workerGroupSpecs": groups})).await
            }
            Victim::RemoveWorkers(group) => self.patch_cluster(*group, json!({"workerGroupSpecs": []})).await,
            Victim::AddWorkers(group) => {
                let cluster = self.cluster(*group).await?;
                let mut groups = cluster.data["spec"]["workerGroupSpecs"].clone();
                let mut more = groups[0].clone();
                more["groupName"] = json!("more");
                groups.as_array_mut().context("the RayCluster has no worker groups")?.push(more);
                self.patch_cluster(*group, json!({"workerGroupSpecs": groups})).await
            }
            Victim::FleetCrd => bail!("the CRD of a real cluster is shared"),
        }
    }

    fn clusters(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), &self.fixture.cluster.namespace, &ray_cluster_resource())
    }

    async fn cluster(&self, group: usize) -> anyhow::Result<DynamicObject> {
        let name = self.group(group).await?.name;
        call(&format!("get RayCluster {name}"), self.clusters().get(&name)).await
    }

    async fn patch_cluster(&self, group: usize, spec: serde_json::Value) -> anyhow::Result<()> {
        let name = self.group(group).await?.name;
        let patch = Patch::Merge(json!({"spec": spec}));
        let (api, parameters) = (self.clusters(), PatchParams::default());
        call(&format!("patch RayCluster {name}"), api.patch(&name, &parameters, &patch)).await.map(drop)
    }

    pub(crate) async fn mend(&mut self, healed: &Healed) -> anyhow::Result<()> {
        match healed {
            Healed::Node => {
                let node = self.lost.take().context("no node is lost")?;
                cluster_tool(&["start-node", &node]).await
            }
            Healed::Cordons => self.open_nodes().await,
            Healed::Dashboard(group) => {
                let stopped = self.stopped.remove(group).context("this dashboard is not stopped")?;
                stopped.iter().try_for_each(|process| process.signal("CONT"))
            }
            Healed::Finalizers | Healed::Network => bail!("only the simulation does that"),
            Healed::Resume(group) => self.patch_cluster(*group, json!({"suspend": false})).await,
            Healed::FleetCrd => bail!("the CRD of a real cluster is shared"),
        }
    }

    /// Cordons the node of a pod; returns its name.
    pub(crate) async fn close_node(&mut self, member: Member) -> anyhow::Result<String> {
        let node = self.pod(member).await?.node;
        self.cordoned.push(node.clone());
        set_cordoned(&self.client(), &node, true).await?;
        Ok(node)
    }

    /// Evicts the pods of the scenario's namespace, as `kubectl drain` does.
    pub(crate) async fn empty_node(&mut self, member: Member) -> anyhow::Result<()> {
        let node = self.close_node(member).await?;
        let api: Api<Pod> = Api::namespaced(self.client(), &self.fixture.cluster.namespace);
        let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let end = clock::seconds_since(self.start) + DRAINED.as_secs_f64();
        loop {
            let left = call("list pods", api.list(&here)).await?.items;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                clock::seconds_since(self.start) < end,
                "{node} cannot be drained: {} pods are left",
                left.len()
            );
            for pod in left.iter().filter_map(|pod| pod.metadata.name.as_deref()) {
                // 429: its budget does not allow it yet.
                drop(api.evict(pod, &EvictParams::default()).await);
            }
            tokio::time::sleep(EVICT_AGAIN).await;
        }
    }

    async fn open_nodes(&mut self) -> anyhow::Result<()> {
        for node in std::mem::take(&mut self.cordoned) {
            set_cordoned(&self.client(), &node, false).await?;
        }
        Ok(())
    }

    /// Repairs everything, whatever the result of the scenario.
    pub(crate) async fn mend_all(&mut self) -> anyhow::Result<()> {
        for process in std::mem::take(&mut self.stopped).into_values().flatten() {
            // Its pod may be deleted, and the process with it.
            drop(process.signal("CONT"));
        }
        self.open_nodes().await?;
        if let Some(node) = self.lost.take() {
            cluster_tool(&["start-node", &node]).await?;
        }
        if !self.kuberay_away.is_empty() {
            self.kuberay_away.shutdown().await;
            scale_kuberay(&self.client(), 1).await?;
        }
        Ok(())
    }

    fn client(&self) -> Client {
        self.fixture.cluster.client.clone()
    }

    /// A group, by its index in the order of slots.
    async fn group(&self, index: usize) -> anyhow::Result<GroupStatus> {
        let mut all = groups(&self.fleet.get().await?).to_vec();
        all.sort_by_key(|group| (group.slot, group.attempt));
        all.get(index).cloned().with_context(|| format!("there is no group {index} of {}", all.len()))
    }

    async fn pod(&self, member: Member) -> anyhow::Result<FleetPod> {
        let group = self.group(member.group).await?.name;
        let role = if member.head { "head" } else { "worker" };
        let found =
            pods(&self.fleet).await?.into_iter().find(|pod| group == pod.group && pod.head == member.head);
        found.with_context(|| format!("group {group} has no {role}"))
    }

    /// The pod in which a rank runs, by the placement in the status.
    async fn pod_of_rank(&self, group: usize, rank: usize) -> anyhow::Result<FleetPod> {
        let group = self.group(group).await?;
        let is = |placed: &&rayfleet_api::status::RankPlacement| usize::try_from(placed.rank) == Ok(rank);
        let placed = group.placement.iter().find(is);
        let node = &placed
            .with_context(|| format!("the status of group {} has no place of rank {rank}", group.name))?
            .node;
        let mut there = pods(&self.fleet).await?;
        there.retain(|pod| group.name == pod.group && *node == pod.node);
        match there.as_slice() {
            [pod] => Ok(pod.clone()),
            many => bail!("group {} has {} pods on {node}: which has rank {rank}?", group.name, many.len()),
        }
    }

    /// From now on, requests in flight to a group's engine may fail.
    async fn dies(&mut self, group: usize, cause: &str) -> anyhow::Result<()> {
        let head = self.pod(Member { group, head: true }).await?;
        self.loses(&head, cause);
        Ok(())
    }

    fn loses(&mut self, head: &FleetPod, cause: &str) {
        self.log(format!("{cause}, of the group of {}", head.name));
        let (server, ip) = (head.name.clone(), head.ip.clone());
        self.killed.push(Killed { server, ip, cause: cause.to_owned(), from: clock::instant() });
    }

    async fn cut_power(&mut self, member: Member) -> anyhow::Result<()> {
        let node = self.pod(member).await?.node;
        ensure!(!node.is_empty(), "the pod is on no node");
        // The simulation's orchestrator is on no node: its loss with a node is another scenario.
        let leads = leader::keep_off(&self.fixture.cluster, &node).await?;
        let all = pods(&self.fleet).await?;
        let hit = |group: &str| all.iter().any(|pod| pod.group == group && pod.node == node);
        for head in all.iter().filter(|pod| pod.head && hit(&pod.group)) {
            self.loses(head, &format!("the power loss of {node} ({} leads)", leads.pod));
        }
        self.lost = Some(node.clone());
        cluster_tool(&["kill-node", &node]).await
    }

    async fn kill_leader(&mut self) -> anyhow::Result<()> {
        let leads = leader::leader(&self.fixture.cluster).await?.context("no replica leads")?;
        let api: Api<Pod> = Api::namespaced(self.client(), SYSTEM_NAMESPACE);
        let pod = call("get the leader", api.get(&leads.pod)).await?;
        let uid = pod.metadata.uid.context("a pod without a UID")?;
        for process in processes::of_uid(&uid, "") {
            // A process may end with an earlier one of the list.
            drop(process.signal("KILL"));
        }
        let at_once = DeleteParams::default().grace_period(0);
        call("delete the leader", api.delete(&leads.pod, &at_once)).await.map(drop)
    }

    async fn send_kuberay_away(&mut self, length: Duration) -> anyhow::Result<()> {
        let client = self.client();
        scale_kuberay(&client, 0).await?;
        let console = self.fixture.console;
        self.kuberay_away.spawn(async move {
            tokio::time::sleep(length).await;
            if let Err(error) = scale_kuberay(&client, 1).await {
                console.say(format_args!("KubeRay does not come back: {error:#}"));
            }
        });
        Ok(())
    }
}

async fn scale_kuberay(client: &Client, replicas: u32) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), KUBERAY_NAMESPACE);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let what = format!("scale KubeRay to {replicas}");
    call(&what, api.patch_scale(KUBERAY, &PatchParams::default(), &patch)).await.map(drop)
}

fn kill_all(all: impl Iterator<Item = Process>, pod: &FleetPod) -> anyhow::Result<()> {
    let mut any = false;
    for process in all {
        any = true;
        // A process may end with an earlier one of the list.
        drop(process.signal("KILL"));
    }
    ensure!(any, "pod {} has no processes", pod.name);
    Ok(())
}
