//! What `diagnose` asks the API server: that of the cluster, that of each namespace with fleets once for all of them,
//! that of each fleet, and the nodes. An object that is missing or may not be read is a fact. No conclusions here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseKind;
use k8s_openapi::api::core::v1::{Event as EventKind, Pod as PodKind, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::core::Request;
use kube::{Resource, ResourceExt};
use rayfleet_api::status::Phase;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_text::pieces::without_managed_fields;

use super::answer::{Answer, List, NoAnswer};
use super::answer::{items, shares};
use super::args::DiagnoseArgs;
use super::calls::{Asked, Calls, in_namespace, read};
use super::facts::{Facts, FleetFacts};
use super::objects::{self, Cluster, Endpoint, Event, LEASE, Meta, Named, Pod, SYSTEM};
use crate::error;
use crate::fleets::{Fleets, KUBERAY_OPERATOR};

/// Nodes that are read, and how many at a time: those of the first groups that do not serve.
const NODES: usize = 256;
const NODES_AT_ONCE: usize = 16;
/// Namespaces, and fleets of each, that are read at a time.
const AT_ONCE: usize = 4;

/// How long a lease of an odd time is watched: an orchestrator renews its own every two seconds.
const WATCH: Duration = Duration::from_secs(8);

/// A fleet, and when its spec was last written.
type Found = (RayClusterFleet, Option<Timestamp>);

/// Reads all that the chain needs.
pub(super) async fn facts(args: &DiagnoseArgs, fleets: &Fleets) -> Facts {
    let reader = Reader { calls: Calls::new(fleets) };
    let namespace = if args.all_namespaces { String::new() } else { fleets.namespace.clone() };
    let mut facts = Facts {
        now: fleets.now(),
        server: fleets.server.clone(),
        namespace: namespace.clone(),
        asked: args.fleet.clone(),
        fleets: Err(NoAnswer::NotAsked),
        unreadable: Vec::new(),
        fleet_crd: Err(NoAnswer::NotAsked),
        rayclusters: Err(NoAnswer::NotAsked),
        kuberay: Err(NoAnswer::NotAsked),
        lease: Err(NoAnswer::NotAsked),
        renews: None,
        orchestrators: Err(NoAnswer::NotAsked),
        nodes: BTreeMap::new(),
    };
    if let Err(none) = reader.calls.server_time().await {
        facts.fleets = Err(none);
        return facts;
    }
    facts.lease = reader.lease().await;
    // Right behind the lease, whose age it measures: the rest takes as long as it takes.
    facts.now = reader.calls.server_time().await.ok().flatten().unwrap_or_else(|| fleets.now());
    (facts.fleet_crd, facts.rayclusters, facts.kuberay, facts.orchestrators, facts.renews) = futures::join!(
        reader.fleet_crd(),
        reader.rayclusters(&namespace),
        reader.kuberay(),
        reader.orchestrators(),
        reader.renews(&facts.lease, facts.now)
    );
    let found = reader.fleets_of(&namespace, args.fleet.as_deref()).await;
    let found = found.map(|(found, unreadable)| {
        facts.unreadable = unreadable;
        found
    });
    facts.fleets = match found {
        Ok(found) => Ok(reader.all(found).await),
        Err(none) => Err(none),
    };
    facts.nodes = reader.nodes(items(&facts.fleets)).await;
    facts
}

struct Reader<'a> {
    calls: Calls<'a>,
}

impl Reader<'_> {
    /// Fleets, and the names of those that cannot be read.
    async fn fleets_of(&self, namespace: &str, name: Option<&str>) -> Answer<(List<Found>, Vec<String>)> {
        let path = RayClusterFleet::url_path(&(), in_namespace(namespace));
        let one = name.map(|name| ListParams::default().fields(&format!("metadata.name={name}")));
        let asked = Asked { path, resource: "rayclusterfleets.orchestration.aibrix.ai", namespace };
        let named = |text: &str| {
            let Named { metadata } = read(text)?;
            (!metadata.name.is_empty()).then(|| format!("{}/{}", metadata.namespace, metadata.name))
        };
        let fleet = |text: &str| objects::fleet(text).map_or_else(|| named(text).map(Err), |it| Some(Ok(it)));
        let List { items, unreadable, ends } =
            self.calls.list(&asked, one.unwrap_or_default(), fleet).await?;
        let (found, odd): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
        let found = List { items: found.into_iter().flatten().collect(), unreadable, ends };
        Ok((found, odd.into_iter().filter_map(Result::err).collect()))
    }

    /// What belongs to each fleet, namespace by namespace.
    async fn all(&self, found: List<Found>) -> List<FleetFacts> {
        let mut namespaces: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for fleet in found.items {
            namespaces.entry(fleet.0.namespace().unwrap_or_default()).or_default().push(fleet);
        }
        let reads = namespaces.into_iter().map(async |(name, fleets)| {
            let read = Box::pin(self.namespace(&name, fleets)).await;
            (name, read)
        });
        // In any order: one namespace that takes long to read takes one place of them, and holds up no other.
        let mut read: Vec<_> = futures::stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
        read.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let items = read.into_iter().flat_map(|(_, fleets)| fleets).collect();
        List { items, unreadable: found.unreadable, ends: found.ends }
    }

    /// The fleets of a namespace: each kind is listed once, and shared out.
    async fn namespace(&self, namespace: &str, fleets: Vec<Found>) -> Vec<FleetFacts> {
        let names: Vec<String> = fleets.iter().map(|(fleet, _)| fleet.name_any()).collect();
        let selector = match &*names {
            [one] => format!("{}={one}", names::LABEL_FLEET),
            _ => names::LABEL_FLEET.to_owned(),
        };
        let ours = || ListParams::default().labels(&selector);
        let (clusters, pods) = (Asked::rayclusters(namespace), Asked::core::<PodKind>("pods", namespace));
        let (clusters, pods, events, sets) = futures::join!(
            self.calls.list(&clusters, ours(), read::<Cluster>),
            self.calls.list(&pods, ours(), read::<Pod>),
            self.events(namespace),
            self.replica_sets(namespace)
        );
        let labelled = |metadata: &Meta| {
            let fleet = metadata.label(names::LABEL_FLEET)?;
            names.iter().position(|name| name == fleet)
        };
        let clusters = shares(clusters, names.len(), |it| labelled(&it.metadata));
        let pods = shares(pods, names.len(), |it| labelled(&it.metadata));
        let about = subjects(&fleets, &pods);
        let events = shares(events, names.len(), |event| {
            let subject = &event.involved_object;
            about.get(&(subject.kind.clone(), subject.name.clone())).copied()
        });
        let sets = shares(sets, names.len(), |set| {
            let owners = set.owner_references.iter().flatten();
            let uids: Vec<&str> = owners.map(|owner| &*owner.uid).collect();
            let owns = |uid: &String| uids.contains(&uid.as_str());
            fleets.iter().position(|(fleet, _)| fleet.metadata.uid.as_ref().is_some_and(owns))
        });
        let lists = clusters.into_iter().zip(pods).zip(events.into_iter().zip(sets));
        let details = fleets.into_iter().zip(lists).map(async |((fleet, written), lists)| {
            let name = fleet.name_any();
            let (service, endpoints) =
                futures::join!(self.service(namespace, &name), self.endpoints(namespace, &name));
            let ((clusters, pods), (events, replica_sets)) = lists;
            FleetFacts { fleet, written, clusters, pods, events, replica_sets, service, endpoints }
        });
        futures::stream::iter(details).buffered(AT_ONCE).collect().await
    }

    /// Warnings about fleets, RayClusters and pods; those that were read count if others were not.
    async fn events(&self, namespace: &str) -> Answer<List<Event>> {
        let asked = Asked::core::<EventKind>("events", namespace);
        let about = |kind: &str| {
            let fields = format!("type=Warning,involvedObject.kind={kind}");
            self.calls.list(&asked, ListParams::default().fields(&fields), read::<Event>)
        };
        let (fleets, clusters, pods) = futures::join!(about(names::KIND), about("RayCluster"), about("Pod"));
        Ok(joined([fleets, clusters, pods]))
    }

    async fn replica_sets(&self, namespace: &str) -> Answer<List<Meta>> {
        let (group, version) = (names::GROUP, names::VERSION);
        let path = format!("/apis/{group}/{version}/namespaces/{namespace}/rayclusterreplicasets");
        let asked = Asked { path, resource: "rayclusterreplicasets.orchestration.aibrix.ai", namespace };
        let set = |text: &str| read::<Named>(text).map(|set| set.metadata);
        match self.calls.list(&asked, ListParams::default(), set).await {
            // Nobody has installed AIBrix.
            Err(NoAnswer::Missing) => Ok(List::default()),
            answer => answer,
        }
    }

    async fn service(&self, namespace: &str, fleet: &str) -> Answer<Named> {
        self.calls.get(&Asked::core::<Service>("services", namespace), fleet, read).await
    }

    async fn endpoints(&self, namespace: &str, fleet: &str) -> Answer<List<Endpoint>> {
        let path = EndpointSlice::url_path(&(), in_namespace(namespace));
        let asked = Asked { path, resource: "endpointslices.discovery.k8s.io", namespace };
        let of = ListParams::default().labels(&format!("kubernetes.io/service-name={fleet}"));
        let slice = |text: &str| read::<EndpointSlice>(&without_managed_fields(text)?);
        let List { items, unreadable, ends } = self.calls.list(&asked, of, slice).await?;
        let endpoints = items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
        let addresses = endpoints.flat_map(|endpoint| {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            endpoint.addresses.into_iter().map(move |address| Endpoint { address, ready })
        });
        Ok(List { items: addresses.collect(), unreadable, ends })
    }

    /// The nodes of the pods of groups that do not serve, each once.
    async fn nodes(&self, fleets: &[FleetFacts]) -> BTreeMap<String, Answer<objects::Node>> {
        let wanted: BTreeSet<&String> = fleets.iter().flat_map(idle_nodes).collect();
        let reads = wanted.into_iter().enumerate().map(async |(at, name)| {
            let asked = Asked { path: "/api/v1/nodes".to_owned(), resource: "nodes", namespace: "" };
            let node = if at < NODES {
                self.calls.get(&asked, name, objects::node).await
            } else {
                Err(NoAnswer::TooLong(NODES))
            };
            (name.clone(), node)
        });
        futures::stream::iter(reads).buffered(NODES_AT_ONCE).collect().await
    }

    async fn fleet_crd(&self) -> Answer<objects::Crd> {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned();
        let asked = Asked { path, resource: "customresourcedefinitions.apiextensions.k8s.io", namespace: "" };
        self.calls.get(&asked, error::RESOURCE, objects::crd).await
    }

    /// Whether the API server knows RayClusters: one page of one object says so.
    async fn rayclusters(&self, namespace: &str) -> Answer<()> {
        let asked = Asked::rayclusters(namespace);
        let request = Request::new(&asked.path).list(&ListParams::default().limit(1));
        self.calls.text("list", &asked, request).await.map(drop)
    }

    async fn kuberay(&self) -> Answer<List<Pod>> {
        let asked = Asked::core::<PodKind>("pods", "");
        let operator = ListParams::default().labels(KUBERAY_OPERATOR);
        self.calls.first_page(&asked, operator, read).await
    }

    async fn lease(&self) -> Answer<objects::Lease> {
        let path = LeaseKind::url_path(&(), in_namespace(SYSTEM));
        let asked = Asked { path, resource: "leases.coordination.k8s.io", namespace: SYSTEM };
        self.calls.get(&asked, LEASE, read).await
    }

    /// Whether a lease whose time is odd is written again: clocks differ, and who renews it leads all the same.
    async fn renews(&self, lease: &Answer<objects::Lease>, now: Timestamp) -> Option<bool> {
        let before = &lease.as_ref().ok()?.spec;
        if before.renewed().is_none() || before.is_fresh(now) {
            return None;
        }
        self.calls.wait(WATCH).await;
        Some(self.lease().await.ok()?.spec.renewed() != before.renewed())
    }

    async fn orchestrators(&self) -> Answer<List<Pod>> {
        let asked = Asked::core::<PodKind>("pods", SYSTEM);
        let labels = "app.kubernetes.io/name=rayfleet,app.kubernetes.io/component=orchestrator";
        self.calls.list(&asked, ListParams::default().labels(labels), read).await
    }
}

/// Kind and name of what the warnings of each fleet are about, and which fleet it is. The ledger knows RayClusters
/// that were never made.
fn subjects(fleets: &[Found], pods: &[Answer<List<Pod>>]) -> BTreeMap<(String, String), usize> {
    let mut subjects = BTreeMap::new();
    for (at, ((fleet, _), pods)) in fleets.iter().zip(pods).enumerate() {
        subjects.insert((names::KIND.to_owned(), fleet.name_any()), at);
        let groups = fleet.status.iter().flat_map(|status| &status.groups);
        subjects.extend(groups.map(|group| (("RayCluster".to_owned(), group.name.to_string()), at)));
        subjects.extend(items(pods).iter().map(|pod| (("Pod".to_owned(), pod.metadata.name.clone()), at)));
    }
    subjects
}

/// Lists as one that says what is missing from any.
fn joined<T>(lists: [Answer<List<T>>; 3]) -> List<T> {
    let mut all = List::default();
    for list in lists {
        match list {
            Ok(list) => {
                all.items.extend(list.items);
                all.unreadable = all.unreadable.saturating_add(list.unreadable);
                all.ends = all.ends.or(list.ends);
            }
            Err(none) => all.ends = all.ends.or(Some(none)),
        }
    }
    all
}

/// Nodes of the pods of groups that do not serve.
fn idle_nodes(of: &FleetFacts) -> impl Iterator<Item = &String> {
    let groups = of.fleet.status.iter().flat_map(|status| &status.groups);
    let idle: BTreeSet<&str> =
        groups.filter(|group| group.phase != Phase::Ready).map(|group| group.name.as_str()).collect();
    let pods = items(&of.pods).iter();
    let is_idle = move |pod: &&Pod| {
        pod.metadata.label(names::RAY_LABEL_CLUSTER).is_some_and(|group| idle.contains(group))
    };
    pods.filter(is_idle).filter_map(|pod| pod.spec.node_name.as_ref())
}

#[cfg(test)]
mod tests {
    use http::header::DATE;
    use http::{Request as HttpRequest, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::simulated::fleets;

    /// A server that knows nothing and says the time.
    fn bare(date: &'static str) -> Client {
        let answer = move |_: HttpRequest<Body>| {
            let body = Body::from(b"404 page not found".to_vec());
            std::future::ready(Response::builder().status(404).header(DATE, date).body(body))
        };
        Client::new(tower::service_fn(answer), "serving")
    }

    #[tokio::test]
    async fn the_time_is_the_servers() {
        let fleets = fleets(bare("Sun, 01 Mar 2026 12:10:00 GMT"));
        let facts = Box::pin(facts(&DiagnoseArgs::default(), &fleets)).await;
        assert_eq!(facts.now.to_string(), "2026-03-01T12:10:00Z");
        assert_eq!(facts.fleets.unwrap_err(), NoAnswer::Missing);
        let fleets = crate::simulated::fleets(bare("noon"));
        assert!(Box::pin(super::facts(&DiagnoseArgs::default(), &fleets)).await.now > facts.now);
    }
}
