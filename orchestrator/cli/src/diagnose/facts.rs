//! What was read from the API server, of the cluster and of each fleet, as plain data. No calls and no conclusions
//! here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayfleet_api::RayClusterFleet;

use super::answer::{Answer, List, is_cut, is_cut_list};
use super::objects::{Cluster, Crd, Endpoint, Event, Lease, Meta, Named, Node, Pod};

/// All that was read.
#[derive(Debug)]
pub(super) struct Facts {
    /// The API server's time when it was asked, else this machine's.
    pub(super) now: Timestamp,
    /// Address of the API server.
    pub(super) server: String,
    /// Namespace that was asked for; empty: all.
    pub(super) namespace: String,
    /// Fleet that was asked for.
    pub(super) asked: Option<String>,
    pub(super) fleets: Answer<List<FleetFacts>>,
    /// `namespace/name` of fleets whose objects cannot be read.
    pub(super) unreadable: Vec<String>,
    /// The CRD of fleets, and whether it keeps Rayfleet's fields.
    pub(super) fleet_crd: Answer<Crd>,
    /// Whether the API server knows RayClusters.
    pub(super) rayclusters: Answer<()>,
    /// Pods with the label of KubeRay's operator in all namespaces; anyone may set it.
    pub(super) kuberay: Answer<List<Pod>>,
    pub(super) lease: Answer<Lease>,
    /// Whether the lease was written again while it was watched; only watched if its time is odd.
    pub(super) renews: Option<bool>,
    /// The orchestrator's own pods.
    pub(super) orchestrators: Answer<List<Pod>>,
    /// The nodes of pods of groups that do not serve, as far as they were asked for.
    pub(super) nodes: BTreeMap<String, Answer<Node>>,
}

impl Facts {
    /// Whether bounds, time or an error have kept something from being read that a link asks for.
    pub(super) fn is_cut(&self) -> bool {
        // Without fleets there is nothing else to read.
        let Ok(fleets) = &self.fleets else { return false };
        let cluster = is_cut(&self.fleet_crd) || is_cut(&self.rayclusters) || is_cut(&self.lease);
        let nodes = self.nodes.values().any(is_cut);
        cluster || nodes || is_cut_list(&self.fleets) || fleets.items.iter().any(FleetFacts::is_cut)
    }
}

/// One fleet and what belongs to it.
#[derive(Debug)]
pub(super) struct FleetFacts {
    pub(super) fleet: RayClusterFleet,
    /// When its spec was last written, as far as its managed fields say.
    pub(super) written: Option<Timestamp>,
    pub(super) clusters: Answer<List<Cluster>>,
    pub(super) pods: Answer<List<Pod>>,
    /// Warnings about it, its RayClusters and its pods.
    pub(super) events: Answer<List<Event>>,
    /// RayClusterReplicaSets that it owns.
    pub(super) replica_sets: Answer<List<Meta>>,
    /// The Service of its name.
    pub(super) service: Answer<Named>,
    /// Addresses of that Service, with readiness; empty if it has no EndpointSlice.
    pub(super) endpoints: Answer<List<Endpoint>>,
}

impl FleetFacts {
    /// Whether the status is of the newest spec.
    pub(super) fn is_observed(&self) -> bool {
        let observed = self.fleet.status.as_ref().and_then(|status| status.observed_generation);
        observed.is_some_and(|observed| observed >= self.fleet.metadata.generation.unwrap_or_default())
    }
}

impl FleetFacts {
    fn is_cut(&self) -> bool {
        let groups = is_cut_list(&self.clusters) || is_cut_list(&self.pods) || is_cut_list(&self.events);
        let service = is_cut(&self.service) || is_cut_list(&self.endpoints);
        groups || service || is_cut_list(&self.replica_sets)
    }
}
