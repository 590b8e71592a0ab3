//! What answers at an address and port, if anything.

use std::collections::BTreeSet;

use super::behaviour::DashboardState;
use super::container::Run;
use super::world::World;

/// Port of a head's dashboard.
pub(super) const DASHBOARD: u16 = 8265;
/// Port of a node's agent.
const AGENT: u16 = 52365;

/// What a connection finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// No answer at all.
    Silent,
    /// No machine has this address.
    NoRoute,
    /// A machine on which nothing listens on this port.
    Refused,
    /// The dashboard of this cluster.
    Dashboard(String),
    /// The agent of a node, and whether it reaches its head.
    Agent(bool),
    Engine,
}

impl World {
    /// What the orchestrator reaches.
    pub(super) fn reach(&self, ip: &str, port: u16) -> Reached {
        if self.cut.contains(ip) { Reached::Silent } else { self.reach_within(ip, port) }
    }

    /// What a client inside the cluster network reaches.
    pub(super) fn reach_within(&self, ip: &str, port: u16) -> Reached {
        let Some(container) = self.containers.get(ip) else { return Reached::NoRoute };
        if self.lost_hosts.contains(&container.pod.host_node) {
            return Reached::Silent;
        }
        let cluster = &container.pod.cluster;
        match container.run {
            Run::Gone => return Reached::NoRoute,
            Run::Ended(_) => return Reached::Refused,
            Run::Starting | Run::Up => {}
        }
        let head = self.heads.get(cluster);
        if port == DASHBOARD && head.is_some_and(|gcs| gcs.ip == ip) {
            return match self.dashboard_of(cluster) {
                DashboardState::Refusing => Reached::Refused,
                _ => Reached::Dashboard(cluster.clone()),
            };
        }
        if port == AGENT && container.raylet() && !self.raylet_is_dead(ip) {
            let joined = container.joined.as_ref().map(|(life, _)| *life);
            return Reached::Agent(head.is_some_and(|gcs| Some(gcs.life) == joined));
        }
        match self.engines.get(&(ip.to_owned(), port)) {
            Some(engine) if engine.listens() => Reached::Engine,
            _ => Reached::Refused,
        }
    }

    /// Every address and port that takes connections of the orchestrator.
    pub(super) fn listening(&self) -> BTreeSet<(String, u16)> {
        let ports = self.containers.keys().flat_map(|ip| [DASHBOARD, AGENT].map(|port| (ip, port)));
        let engines = self.engines.keys().map(|(ip, port)| (ip, *port));
        let listens = |(ip, port): &(&String, u16)| {
            matches!(self.reach(ip, *port), Reached::Dashboard(_) | Reached::Agent(_) | Reached::Engine)
        };
        ports.chain(engines).filter(listens).map(|(ip, port)| (ip.clone(), port)).collect()
    }

    pub(super) fn dashboard_of(&self, cluster: &str) -> DashboardState {
        self.dashboards.get(cluster).copied().unwrap_or(DashboardState::Well)
    }

    /// Whether the raylet was killed and its container has not ended yet.
    fn raylet_is_dead(&self, ip: &str) -> bool {
        let node = || {
            let container = self.containers.get(ip)?;
            let (life, id) = container.joined.as_ref()?;
            self.heads.get(&container.pod.cluster).filter(|gcs| gcs.life == *life)?.nodes.get(id)
        };
        node().is_some_and(|node| node.gone || node.dead.is_some())
    }
}
