//! What all scenarios share: the cluster, a namespace, its initial inventory, and a load to run changes
//! under.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rayfleet_e2e::cluster::Cluster;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::fleet::{Fleet, delete_all};
use rayfleet_e2e::cluster::inventory::{Inventory, inventory, nothing_left};
use rayfleet_e2e::cluster::tools::Tools;
use rayfleet_e2e::cluster::{call, overhead, processes, until};
use rayfleet_e2e::console::Console;
use rayfleet_e2e::load::{Load, Losses, Plan, Share, Target, served_model};

use crate::bounds::{Bounds, Observations, within};
use crate::deaths::Deaths;

const NAMESPACE: &str = "rayfleet-e2e";
/// Of scenarios that run beside others.
const SECOND: &str = "rayfleet-e2e-second";
const PATIENCE: Duration = Duration::from_secs(30);

/// Tokens of a stream; the light engine makes 20 a second, so a stream takes 6.5 s: longer than a drain takes
/// that has nothing to wait for, which is 3 to 4 s.
const STREAM_TOKENS: u32 = 130;
const SHORTEST_LONG_STREAM: f64 = 5.0;

pub(crate) struct Suite {
    pub(crate) cluster: Cluster,
    pub(crate) tools: Tools,
    pub(crate) console: Console,
    before: Inventory,
}

/// Which connections a load uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Half of the clients keep their connection.
    FreshAndKept,
    /// Every request has a fresh connection.
    Fresh,
}

impl Suite {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let suite = Self::start_in(NAMESPACE, Console::default()).await?;
        let second = Cluster { client: suite.cluster.client.clone(), namespace: SECOND.to_owned() };
        delete_all(&second, Duration::from_mins(1)).await?;
        Ok(suite)
    }

    /// The same cluster, another namespace.
    pub(crate) async fn second(&self) -> anyhow::Result<Self> {
        Self::start_in(SECOND, self.console.marked("| ")).await
    }

    async fn start_in(namespace: &str, console: Console) -> anyhow::Result<Self> {
        let context = std::env::var("RAYFLEET_E2E_CONTEXT").ok();
        let cluster = Cluster::connect(context.clone(), Some(namespace.to_owned())).await?;
        overhead::overhead(&cluster).await?;
        // A run that was killed may have left fleets; they are deleted first, while the orchestrator can
        // drain them.
        delete_all(&cluster, Duration::from_mins(1)).await?;
        cluster.create_namespace(Duration::from_mins(2)).await?;
        let before = until("the namespace's own objects", Duration::from_secs(30), async || {
            let found = inventory(&cluster).await?;
            let there = |name: &str| found.contains(name);
            let complete = there("ConfigMap/kube-root-ca.crt") && there("ServiceAccount/default");
            Ok(complete.then_some(found))
        })
        .await?;
        Ok(Self { tools: Tools::new(context, namespace), console, cluster, before })
    }

    /// Ends the suite: deletes the namespace, unless it is to be kept for inspection.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        if std::env::var_os("RAYFLEET_E2E_KEEP").is_some() {
            return Ok(());
        }
        self.cluster.delete_namespace(Duration::from_mins(2)).await
    }

    pub(crate) fn fleet(&self, name: &str) -> Fleet {
        Fleet::new(&self.cluster, name)
    }

    /// Restores power to nodes that a failed scenario has left without.
    pub(crate) async fn power_back(&self) -> anyhow::Result<()> {
        if !processes::is_local() {
            return Ok(());
        }
        let api: Api<Node> = Api::all(self.cluster.client.clone());
        for node in call("list nodes", api.list_metadata(&ListParams::default())).await? {
            // A node with power is unchanged.
            processes::cluster_tool(&["start-node", &node.name_any()]).await?;
        }
        Ok(())
    }

    /// Deletes all fleets and waits until nothing of them is left.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        delete_all(&self.cluster, Duration::from_mins(1)).await?;
        self.nothing_left().await
    }

    /// Waits until the namespace is as it was before all scenarios.
    pub(crate) async fn nothing_left(&self) -> anyhow::Result<()> {
        nothing_left(&self.cluster, &self.before, Duration::from_mins(2)).await
    }

    /// Runs a change within bounds while short requests and long streams are sent through a Service. None
    /// may fail.
    pub(crate) async fn under_load(
        &self,
        fleet: &Fleet,
        connections: Connections,
        bounds: Bounds,
        change: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Observations> {
        self.under_load_with_deaths(fleet, connections, bounds, async move |_: &Deaths| change().await).await
    }

    /// The same through another Service that leads to the fleet.
    pub(crate) async fn under_load_through(
        &self,
        service: &str,
        fleet: &Fleet,
        connections: Connections,
        bounds: Bounds,
        change: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Observations> {
        self.under_any_load(service, fleet, connections, bounds, async move |_: &Deaths| change().await).await
    }

    /// The same for a change in which engines die: requests that were, or may have been, sent to a dead
    /// engine may fail. They are counted and reported; no other may fail.
    pub(crate) async fn under_load_with_deaths(
        &self,
        fleet: &Fleet,
        connections: Connections,
        bounds: Bounds,
        change: impl AsyncFnOnce(&Deaths) -> anyhow::Result<()>,
    ) -> anyhow::Result<Observations> {
        self.under_any_load(&fleet.name, fleet, connections, bounds, change).await
    }

    async fn under_any_load(
        &self,
        service: &str,
        fleet: &Fleet,
        connections: Connections,
        bounds: Bounds,
        change: impl AsyncFnOnce(&Deaths) -> anyhow::Result<()>,
    ) -> anyhow::Result<Observations> {
        let endpoint = Endpoint::of(&self.cluster, service, &self.tools).await?;
        let model = served_model(&endpoint.target, PATIENCE).await?;
        let load = Load::start(&plan(endpoint.target.clone(), model, connections));
        let deaths = Deaths::new(fleet, load.started());
        let outcome = within(fleet, bounds, async || {
            until("the load to be under way", PATIENCE, async || {
                let report = load.so_far();
                ensure!(report.failed == 0, "requests fail before anything was changed:\n{report}");
                Ok((report.sent > 10).then_some(()))
            })
            .await?;
            change(&deaths).await
        })
        .await;
        let report = load.stop(Duration::from_mins(1)).await;
        self.console.say(format_args!("{report}"));
        let observations = outcome.with_context(|| report.line())?;
        let losses = Losses::of(&report, &deaths.all());
        if !losses.by_death.is_empty() {
            self.console.say(&losses);
        }
        let changes = &observations.last_changes;
        ensure!(
            losses.is_explained(),
            "requests were lost: {losses}\n{report}\nthe last changes:\n{changes}"
        );
        ensure!(report.open == 0, "requests have not ended:\n{report}\nthe last changes:\n{changes}");
        ensure!(
            report.longest_stream_seconds > SHORTEST_LONG_STREAM,
            "the longest stream took {:.1} s: too short to prove anything",
            report.longest_stream_seconds
        );
        Ok(observations)
    }
}

fn plan(target: Target, model: String, connections: Connections) -> Plan {
    let kept = if connections == Connections::FreshAndKept { 2 } else { 0 };
    let share = |pause, tokens| Share { fresh: 2, kept, pause: Duration::from_millis(pause), tokens };
    Plan { target, model, short: share(500, 3), stream: share(100, STREAM_TOKENS), patience: PATIENCE }
}
