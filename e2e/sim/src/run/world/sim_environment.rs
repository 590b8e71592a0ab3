//! The simulation as a environment.

mod victims;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayfleet_api::{RayClusterFleet, names};
use rayfleet_sim_kube::api::{ApiServer, Kind};
use rayfleet_sim_kube::kubernetes::Kubernetes;
use rayfleet_sim_ray::{DashboardState, RayWorld};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::aibrix;
use super::foreign_changes;
use super::replicas::Replicas;
use crate::run::environment::Environment;
use crate::run::faults::{Obstacle, Shared};
use crate::run::planned::Planner;
use crate::run::scenario::{Cut, Healed, Member, Patch, Refused, Victim};

/// Kinds that a fleet owns.
const OWNED: [Kind; 5] =
    [Kind::RAY_CLUSTER, Kind::POD, Kind::SERVICE, Kind::CONTROLLER_REVISION, Kind::BUDGET];
/// Interval at which `kubectl drain` retries, and its timeout.
const EVICT_AGAIN: Duration = Duration::from_secs(5);
const DRAINED: Duration = Duration::from_mins(30);

/// The parts of the world that a scenario touches.
pub(super) struct SimEnvironment {
    pub(super) namespace: &'static str,
    pub(super) fleet: String,
    pub(super) api: ApiServer,
    pub(super) ray: RayWorld,
    pub(super) kubernetes: Kubernetes,
    pub(super) replicas: Replicas,
    pub(super) shared: Shared,
    /// The node that last lost power, or is about to.
    pub(super) lost: Option<String>,
    /// The taint that announced it.
    pub(super) announced: Option<String>,
    /// Machines that end later.
    pub(super) ends: JoinSet<()>,
    /// Nodes that were cordoned by steps.
    pub(super) cordoned: Vec<String>,
    /// Addresses that are cut off.
    pub(super) cut: Vec<String>,
    /// The fleet as last read: it is read much more often than it changes.
    pub(super) last: Option<(Arc<Value>, Option<RayClusterFleet>)>,
    /// Plans each change, in a run that asks for that.
    pub(super) planner: Option<Arc<Mutex<Planner>>>,
}

impl SimEnvironment {
    /// The name of a group, by its index in the order of slots.
    async fn group(&mut self, index: usize) -> Result<String, String> {
        let mut groups = self.fleet().await.and_then(|fleet| fleet.status).unwrap_or_default().groups;
        groups.sort_by_key(|group| (group.slot, group.attempt));
        groups
            .get(index)
            .map(|group| group.name.to_string())
            .ok_or_else(|| format!("there is no group {index}"))
    }

    /// The RayCluster of a group, as Ray's world names it.
    async fn cluster(&mut self, index: usize) -> Result<String, String> {
        let group = self.group(index).await?;
        Ok(format!("{}/{group}", self.namespace))
    }

    /// A pod of a group.
    async fn pod(&mut self, member: Member) -> Result<Arc<Value>, String> {
        let group = self.group(member.group).await?;
        let role = if member.head { "head" } else { "worker" };
        let is = |pod: &Arc<Value>| {
            let (labels, owner) = (&pod["metadata"]["labels"], &pod["metadata"]["ownerReferences"][0]);
            // Foreign pods copy the labels.
            owner["kind"] == "RayCluster"
                && owner["name"] == *group
                && labels[names::RAY_LABEL_NODE_TYPE] == role
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let found = self.api.list(&Kind::POD).into_iter().find(is);
        found.ok_or_else(|| format!("group {group} has no {role}"))
    }

    fn finalizers(&self, cluster: &str, finalizers: &Value) -> Result<(), String> {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        let patched = self.api.merge_patch(&Kind::RAY_CLUSTER, self.namespace, cluster, &patch);
        patched.map(drop).map_err(|refusal| refusal.message)
    }

    async fn node_of(&mut self, member: Member) -> Result<String, String> {
        let pod = self.pod(member).await?;
        Ok(pod["spec"]["nodeName"].as_str().ok_or("the pod is on no node")?.to_owned())
    }

    /// Cordons the node of a pod; returns its name.
    async fn close_node(&mut self, member: Member) -> Result<String, String> {
        let node = self.node_of(member).await?;
        self.log(format!("{node} is cordoned"));
        self.kubernetes.cordon(&node).map_err(|refusal| refusal.message)?;
        self.cordoned.push(node.clone());
        Ok(node)
    }

    fn pods_on(&self, node: &str) -> Vec<String> {
        let pods = self.api.list(&Kind::POD);
        let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node);
        here.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    fn leader(&self) -> Result<String, String> {
        let lease = self.api.list(&Kind::LEASE).into_iter().next().unwrap_or_default();
        lease["spec"]["holderIdentity"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| "no replica leads".to_owned())
    }

    async fn cut(&mut self, cut: Cut) -> Result<(), String> {
        match cut {
            Cut::Leader => self.shared.cut_from_pods(Some(&self.leader()?)),
            Cut::Replicas => self.shared.cut_from_pods(None),
            Cut::Group(group) => {
                for head in [true, false] {
                    let pod = self.pod(Member { group, head }).await?;
                    let ip = pod["status"]["podIP"].as_str().ok_or("the pod has no address")?.to_owned();
                    self.ray.cut_path(&ip, true);
                    self.cut.push(ip);
                }
            }
        }
        Ok(())
    }

    async fn pod_name(&mut self, member: Member) -> Result<String, String> {
        let pod = self.pod(member).await?;
        Ok(pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }
}

impl Environment for SimEnvironment {
    fn now(&self) -> Duration {
        self.shared.trace.now()
    }

    fn log(&mut self, what: String) {
        self.shared.trace.add("scenario", what);
    }

    async fn create(&mut self, object: &Value) -> Result<(), String> {
        let kind = match object["kind"].as_str() {
            Some("RayClusterFleet") => Kind::FLEET,
            Some("Service") => Kind::SERVICE,
            other => return Err(format!("the simulation does not create a {other:?}")),
        };
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(self.namespace);
        self.api.create(&kind, object).map(drop).map_err(|refusal| refusal.message)
    }

    async fn create_as_aibrix(&mut self, fleet: &Value) -> Result<(), String> {
        self.create(fleet).await?;
        let made =
            self.api.get(&Kind::FLEET, self.namespace, &self.fleet).ok_or("the fleet does not exist")?;
        aibrix::works(&self.api, &made).map_err(|refusal| refusal.message)
    }

    async fn fleet(&mut self) -> Option<RayClusterFleet> {
        let found = self.api.get(&Kind::FLEET, self.namespace, &self.fleet)?;
        if let Some((before, fleet)) = &self.last
            && Arc::ptr_eq(before, &found)
        {
            return fleet.clone();
        }
        let fleet = RayClusterFleet::deserialize(&*found).ok();
        self.last = Some((found, fleet.clone()));
        fleet
    }

    async fn leftovers(&mut self) -> bool {
        let ours = |object: &Value| object["metadata"]["labels"][names::LABEL_FLEET] == *self.fleet;
        OWNED.iter().any(|kind| self.api.list(kind).iter().any(|object| ours(object)))
    }

    async fn apply(&mut self, patch: &Patch) -> Result<(), String> {
        let found = self.api.get(&Kind::FLEET, self.namespace, &self.fleet);
        let before = found.ok_or("the fleet does not exist")?;
        let mut fleet = Value::clone(&before);
        patch.apply(&mut fleet)?;
        if let Some(planner) = &self.planner {
            let mut planner = planner.lock().unwrap_or_else(PoisonError::into_inner);
            planner.plan(&self.api, &before, &fleet, self.now())?;
        }
        self.api.replace(&Kind::FLEET, fleet).map(drop).map_err(|refusal| refusal.message)
    }

    async fn delete(&mut self) -> Result<(), String> {
        self.api.delete(&Kind::FLEET, self.namespace, &self.fleet).map_err(|refusal| refusal.message)
    }

    async fn kill(&mut self, victim: &Victim) -> Result<(), String> {
        self.strike(victim).await
    }

    async fn heal(&mut self, healed: &Healed) -> Result<(), String> {
        match healed {
            Healed::Node => {
                let node = self.lost.take().ok_or("no node is lost")?;
                if let Some(taint) = self.announced.take() {
                    self.kubernetes.taint(&node, &taint, false).map_err(|refusal| refusal.message)?;
                }
                self.kubernetes.restore_node(&node);
            }
            Healed::Cordons => {
                for node in std::mem::take(&mut self.cordoned) {
                    self.kubernetes.uncordon(&node).map_err(|refusal| refusal.message)?;
                }
            }
            Healed::Dashboard(group) => {
                let cluster = self.cluster(*group).await?;
                self.ray.set_dashboard(&cluster, DashboardState::Well);
            }
            Healed::Finalizers => {
                for cluster in self.api.list(&Kind::RAY_CLUSTER) {
                    let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
                    self.finalizers(name, &Value::Null)?;
                }
            }
            Healed::Resume(group) => {
                let name = self.group(*group).await?;
                foreign_changes::suspend(&self.api, self.namespace, &name, false)?;
            }
            Healed::FleetCrd => self.api.restore_fleet_crd(),
            Healed::Network => {
                self.shared.reconnect_pods();
                for ip in std::mem::take(&mut self.cut) {
                    self.ray.cut_path(&ip, false);
                }
            }
        }
        Ok(())
    }

    async fn uncordon(&mut self, node: &str) -> Result<(), String> {
        self.kubernetes.uncordon(node).map_err(|refusal| refusal.message)
    }

    async fn refuse(&mut self, refused: Option<&Refused>) -> Result<(), String> {
        let Some(Refused { kinds, why, limit }) = refused else {
            self.shared.clear_the_way();
            return Ok(());
        };
        let known = |name: &String| {
            OWNED
                .iter()
                .find(|kind| kind.kind == *name)
                .copied()
                .ok_or_else(|| format!("no fleet owns a {name}"))
        };
        let kinds = kinds.iter().map(known).collect::<Result<_, _>>()?;
        self.shared.obstruct(Obstacle { kinds, why: *why, limit: *limit, until: None });
        Ok(())
    }

    async fn cordon(&mut self, member: Member) -> Result<(), String> {
        self.close_node(member).await.map(drop)
    }

    async fn drain(&mut self, member: Member) -> Result<(), String> {
        let node = self.close_node(member).await?;
        let end = self.now() + DRAINED;
        loop {
            let left = self.pods_on(&node);
            if left.is_empty() {
                return Ok(());
            }
            if end <= self.now() {
                return Err(format!("{node} cannot be drained: {} are still there", left.join(", ")));
            }
            for pod in left {
                let allowed =
                    self.kubernetes.evict(self.namespace, &pod).map_err(|refusal| refusal.message)?;
                if allowed {
                    self.log(format!("{pod} is evicted from {node}"));
                }
            }
            tokio::time::sleep(EVICT_AGAIN).await;
        }
    }

    async fn pass(&mut self, longest: Duration) {
        let change = async {
            let mut version = self.api.version();
            loop {
                let newer = self.api.changed_since(version).await;
                if self.api.may_have_changed(&[Kind::FLEET], version)
                    || self.api.may_have_changed(&OWNED, version)
                {
                    return;
                }
                version = newer;
            }
        };
        // A change or the end of the wait: the caller checks both.
        let _ = tokio::time::timeout(longest, change).await;
    }
}
