//! Every call of `diagnose` to the API server: each within the time limit, each list in pages and bounded. An
//! object that is missing or may not be read is a fact. No conclusions here.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use futures::StreamExt;
use http::header::DATE;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseKind;
use k8s_openapi::api::core::v1::{Event as EventKind, Pod as PodKind};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{GetParams, ListParams};
use kube::client::Body;
use kube::core::Request;
use kube::{Error, Resource, ResourceExt};
use rayfleet_api::status::Phase;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_cli_kit::clock;
use rayfleet_text::cut;
use rayfleet_text::pieces::{Page, without_managed_fields};
use serde::de::DeserializeOwned;

use super::args::DiagnoseArgs;
use super::facts::{self, Answer, Cluster, Endpoint, Event, Facts, FleetFacts, NoAnswer, Pod};
use crate::error;
use crate::fleets::Fleets;

/// Objects per page, and pages per list: a fleet of 500 groups has fewer pods.
const PAGE: u32 = 250;
const PAGES: usize = 20;
/// Nodes of one fleet that are read: those of its first groups that do not serve.
const NODES: usize = 32;
/// Fleets that are read at a time.
const AT_ONCE: usize = 4;
/// Longest part of a refusal, in bytes.
const LONGEST: usize = 512;

/// Name and namespace of the orchestrator's lease, as in manifests/orchestrator.
pub(super) const LEASE: &str = "rayfleet-orchestrator";
pub(super) const SYSTEM: &str = "rayfleet-system";

/// Reads all that the chain needs.
pub(super) async fn facts(args: &DiagnoseArgs, fleets: &Fleets) -> Facts {
    let reader = Reader { fleets };
    let namespace = if args.all_namespaces { String::new() } else { fleets.namespace.clone() };
    let mut facts = Facts {
        now: clock::now(),
        server: fleets.server.clone(),
        namespace: namespace.clone(),
        asked: args.fleet.clone(),
        fleets: Err(NoAnswer::NotAsked),
        fleet_crd: Err(NoAnswer::NotAsked),
        rayclusters: Err(NoAnswer::NotAsked),
        kuberay: Err(NoAnswer::NotAsked),
        lease: Err(NoAnswer::NotAsked),
        orchestrators: Err(NoAnswer::NotAsked),
    };
    match reader.server_time().await {
        Ok(time) => facts.now = time.unwrap_or(facts.now),
        Err(none) => {
            facts.fleets = Err(none);
            return facts;
        }
    }
    let found = reader.fleets_of(&namespace, args.fleet.as_deref()).await;
    facts.fleets = match found {
        Ok(found) => {
            let details = found.into_iter().map(|(fleet, written)| reader.details(fleet, written));
            Ok(futures::stream::iter(details).buffered(AT_ONCE).collect().await)
        }
        Err(none) => Err(none),
    };
    let cluster = (reader.fleet_crd(), reader.rayclusters(&namespace), reader.kuberay());
    (facts.fleet_crd, facts.rayclusters, facts.kuberay) = futures::join!(cluster.0, cluster.1, cluster.2);
    (facts.lease, facts.orchestrators) = futures::join!(reader.lease(), reader.orchestrators());
    facts
}

struct Reader<'a> {
    fleets: &'a Fleets,
}

impl Reader<'_> {
    /// Whether anything answers, and its time: this machine's clock may be wrong. Any answer will do.
    async fn server_time(&self) -> Answer<Option<Timestamp>> {
        let request = http::Request::get("/version").body(Body::empty());
        let call = async {
            let request = request.map_err(Error::HttpError)?;
            self.fleets.client.send(request).await
        };
        let answer = match self.within(call).await {
            Err(NoAnswer::Missing | NoAnswer::Forbidden { .. }) => return Ok(None),
            answer => answer?,
        };
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(date.map(|date| date.timestamp()))
    }

    async fn fleets_of(
        &self,
        namespace: &str,
        name: Option<&str>,
    ) -> Answer<Vec<(RayClusterFleet, Option<Timestamp>)>> {
        let path = RayClusterFleet::url_path(&(), in_namespace(namespace));
        let one = name.map(|name| ListParams::default().fields(&format!("metadata.name={name}")));
        let asked = Asked { path, resource: "rayclusterfleets.orchestration.aibrix.ai", namespace };
        self.list(&asked, one.unwrap_or_default(), facts::fleet).await
    }

    /// What belongs to a fleet.
    async fn details(&self, fleet: RayClusterFleet, written: Option<Timestamp>) -> FleetFacts {
        let (namespace, name) = (fleet.namespace().unwrap_or_default(), fleet.name_any());
        let ours = || ListParams::default().labels(&format!("{}={name}", names::LABEL_FLEET));
        let clusters = Asked::rayclusters(&namespace);
        let clusters = self.list(&clusters, ours(), read::<Cluster>);
        let pods = Asked::core::<PodKind>("pods", &namespace);
        let pods = self.list(&pods, ours(), read::<Pod>);
        let (clusters, pods, events, replica_sets, endpoints) = futures::join!(
            clusters,
            pods,
            self.events(&namespace, &name),
            self.replica_sets(&fleet, &namespace),
            self.endpoints(&namespace, &name)
        );
        let nodes = self.nodes(&fleet, pods.as_deref().unwrap_or_default()).await;
        FleetFacts { fleet, written, clusters, pods, events, replica_sets, endpoints, nodes }
    }

    /// Warnings about the fleet itself, and about RayClusters and pods of the namespace that are named after it.
    async fn events(&self, namespace: &str, fleet: &str) -> Answer<Vec<Event>> {
        let asked = Asked::core::<EventKind>("events", namespace);
        let about = |kind: &str| format!("type=Warning,involvedObject.kind={kind}");
        let of_fleet = format!("{},involvedObject.name={fleet}", about(names::KIND));
        let mut all = Vec::new();
        for fields in [of_fleet, about("RayCluster"), about("Pod")] {
            let events = self.list(&asked, ListParams::default().fields(&fields), |text| {
                let event = read::<Event>(text)?;
                event.involved_object.name.starts_with(fleet).then_some(event)
            });
            all.extend(events.await?);
        }
        Ok(all)
    }

    async fn replica_sets(&self, fleet: &RayClusterFleet, namespace: &str) -> Answer<Vec<String>> {
        let (group, version) = (names::GROUP, names::VERSION);
        let path = format!("/apis/{group}/{version}/namespaces/{namespace}/rayclusterreplicasets");
        let asked = Asked { path, resource: "rayclusterreplicasets.orchestration.aibrix.ai", namespace };
        let uid = fleet.metadata.uid.clone().unwrap_or_default();
        let owned = |text: &str| {
            let set = read::<Cluster>(text)?.metadata;
            let is_owned = set.owner_references.iter().flatten().any(|owner| owner.uid == uid);
            is_owned.then_some(set.name)
        };
        match self.list(&asked, ListParams::default(), owned).await {
            // Nobody has installed AIBrix.
            Err(NoAnswer::Missing) => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn endpoints(&self, namespace: &str, fleet: &str) -> Answer<Vec<Endpoint>> {
        let path = EndpointSlice::url_path(&(), in_namespace(namespace));
        let asked = Asked { path, resource: "endpointslices.discovery.k8s.io", namespace };
        let of = ListParams::default().labels(&format!("kubernetes.io/service-name={fleet}"));
        let slice = |text: &str| read::<EndpointSlice>(&without_managed_fields(text)?);
        let slices = self.list(&asked, of, slice).await?;
        let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
        let addresses = endpoints.flat_map(|endpoint| {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            endpoint.addresses.into_iter().map(move |address| Endpoint { address, ready })
        });
        Ok(addresses.collect())
    }

    /// The nodes of the pods of groups that do not serve, and of groups that the fleet blames.
    async fn nodes(&self, fleet: &RayClusterFleet, pods: &[Pod]) -> BTreeMap<String, Answer<facts::Node>> {
        let groups = fleet.status.iter().flat_map(|status| &status.groups);
        let idle: BTreeSet<&str> =
            groups.filter(|group| group.phase != Phase::Ready).map(|group| group.name.as_str()).collect();
        let of_idle =
            |pod: &&Pod| pod.metadata.label(names::RAY_LABEL_CLUSTER).is_some_and(|g| idle.contains(g));
        let wanted: BTreeSet<&String> =
            pods.iter().filter(of_idle).filter_map(|pod| pod.spec.node_name.as_ref()).collect();
        let reads = wanted.into_iter().take(NODES).map(async |name| {
            let asked = Asked { path: "/api/v1/nodes".to_owned(), resource: "nodes", namespace: "" };
            (name.clone(), self.get(&asked, name, facts::node).await)
        });
        futures::future::join_all(reads).await.into_iter().collect()
    }

    async fn fleet_crd(&self) -> Answer<facts::Crd> {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned();
        let asked = Asked { path, resource: "customresourcedefinitions.apiextensions.k8s.io", namespace: "" };
        self.get(&asked, error::RESOURCE, facts::crd).await
    }

    /// Whether the API server knows RayClusters: one page of one object says so.
    async fn rayclusters(&self, namespace: &str) -> Answer<()> {
        let asked = Asked::rayclusters(namespace);
        let request = Request::new(&asked.path).list(&ListParams::default().limit(1));
        self.text("list", &asked, request).await.map(drop)
    }

    async fn kuberay(&self) -> Answer<Vec<Pod>> {
        let asked = Asked::core::<PodKind>("pods", "");
        let operator = ListParams::default().labels("app.kubernetes.io/name=kuberay-operator");
        self.list(&asked, operator, read).await
    }

    async fn lease(&self) -> Answer<facts::Lease> {
        let path = LeaseKind::url_path(&(), in_namespace(SYSTEM));
        let asked = Asked { path, resource: "leases.coordination.k8s.io", namespace: SYSTEM };
        self.get(&asked, LEASE, read).await
    }

    async fn orchestrators(&self) -> Answer<Vec<Pod>> {
        let asked = Asked::core::<PodKind>("pods", SYSTEM);
        let labels = "app.kubernetes.io/name=rayfleet,app.kubernetes.io/component=orchestrator";
        self.list(&asked, ListParams::default().labels(labels), read).await
    }

    /// One object.
    async fn get<T>(&self, asked: &Asked<'_>, name: &str, read: impl Fn(&str) -> Option<T>) -> Answer<T> {
        let request = Request::new(&asked.path).get(name, &GetParams::default());
        let text = self.text("get", asked, request).await?;
        read(&text).ok_or_else(|| unreadable(asked.resource))
    }

    /// A bounded list; objects that cannot be read are left out.
    async fn list<T>(
        &self,
        asked: &Asked<'_>,
        filter: ListParams,
        read: impl Fn(&str) -> Option<T>,
    ) -> Answer<Vec<T>> {
        let mut params = filter.limit(PAGE);
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let text = self.text("list", asked, Request::new(&asked.path).list(&params)).await?;
            let page = Page::of(&text).ok_or_else(|| unreadable(asked.resource))?;
            all.extend(page.items.iter().filter_map(|item| read(item)));
            match page.metadata.token {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => break,
            }
        }
        Ok(all)
    }

    async fn text(
        &self,
        verb: &'static str,
        asked: &Asked<'_>,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Answer<String> {
        let call = async { self.fleets.client.request_text(request.map_err(Error::BuildRequest)?).await };
        match self.within(call).await {
            Err(NoAnswer::Forbidden { words, .. }) => Err(NoAnswer::Forbidden {
                verb,
                resource: asked.resource,
                namespace: asked.namespace.to_owned(),
                words,
            }),
            answer => answer,
        }
    }

    /// One call within the time limit.
    async fn within<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Answer<T> {
        let Fleets { server, timeout, namespace, .. } = self.fleets;
        let failed = |fault: rayfleet_cli_kit::CliError| NoAnswer::Failed {
            what: cut(&fault.message, LONGEST),
            cure: fault.cure,
        };
        match tokio::time::timeout(*timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Error::Api(status))) if status.code == 404 => Err(NoAnswer::Missing),
            Ok(Err(Error::Api(status))) if status.code == 403 => Err(NoAnswer::Forbidden {
                verb: "",
                resource: "",
                namespace: String::new(),
                words: cut(&status.message, LONGEST),
            }),
            Ok(Err(fault)) => Err(failed(error::api(&fault, server, namespace, None))),
            Err(_) => Err(failed(error::no_answer(server, timeout.as_secs_f64()))),
        }
    }
}

/// Objects of a kind in a namespace; an empty one stands for all.
struct Asked<'a> {
    path: String,
    resource: &'static str,
    namespace: &'a str,
}

impl<'a> Asked<'a> {
    fn core<K: Resource<DynamicType = ()>>(resource: &'static str, namespace: &'a str) -> Self {
        Self { path: K::url_path(&(), in_namespace(namespace)), resource, namespace }
    }

    fn rayclusters(namespace: &'a str) -> Self {
        let path = match in_namespace(namespace) {
            Some(namespace) => format!("/apis/ray.io/v1/namespaces/{namespace}/rayclusters"),
            None => "/apis/ray.io/v1/rayclusters".to_owned(),
        };
        Self { path, resource: "rayclusters.ray.io", namespace }
    }
}

fn in_namespace(namespace: &str) -> Option<&str> {
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

fn unreadable(resource: &str) -> NoAnswer {
    NoAnswer::Failed { what: format!("the reply for {resource} cannot be read"), cure: None }
}

fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use http::{Request as HttpRequest, Response};
    use kube::Client;

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
