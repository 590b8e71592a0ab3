//! What all scenarios share: the cluster, a namespace of its own, what lay in it before anything was done,
//! and a load to run changes under.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::cluster::Cluster;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::fleet::{Fleet, delete_all};
use rayfleet_e2e::cluster::inventory::{Inventory, inventory, nothing_left};
use rayfleet_e2e::cluster::lowest::{Lowest, Seen};
use rayfleet_e2e::cluster::tools::Tools;
use rayfleet_e2e::cluster::{overhead, until};
use rayfleet_e2e::console::Console;
use rayfleet_e2e::load::{Load, Plan, Share, served_model};

const NAMESPACE: &str = "rayfleet-e2e";
const PATIENCE: Duration = Duration::from_secs(30);

/// Tokens of a stream; the light engine makes 20 a second, so a stream takes 15 s: far longer than a
/// drain takes that has nothing to wait for.
const STREAM_TOKENS: u32 = 300;
const SHORTEST_LONG_STREAM: f64 = 10.0;

pub(crate) struct Suite {
    pub(crate) cluster: Cluster,
    pub(crate) tools: Tools,
    pub(crate) console: Console,
    before: Inventory,
}

/// Which connections a load uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Half of the clients keep theirs.
    FreshAndKept,
    /// All are fresh.
    Fresh,
}

impl Suite {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let context = std::env::var("RAYFLEET_E2E_CONTEXT").ok();
        let cluster = Cluster::connect(context.clone(), Some(NAMESPACE.to_owned())).await?;
        overhead::overhead(&cluster).await?;
        // A run that was killed may have left fleets; they go first, while the orchestrator can end them well.
        delete_all(&cluster, Duration::from_mins(1)).await?;
        cluster.create_namespace(Duration::from_mins(2)).await?;
        let before = until("the namespace's own objects", Duration::from_secs(30), async || {
            let found = inventory(&cluster).await?;
            let there = |name: &str| found.contains(name);
            let complete = there("ConfigMap/kube-root-ca.crt") && there("ServiceAccount/default");
            Ok(complete.then_some(found))
        })
        .await?;
        Ok(Self { tools: Tools::new(context, NAMESPACE), console: Console::default(), cluster, before })
    }

    /// Ends: the namespace goes too, unless it is to be looked at.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        if std::env::var_os("RAYFLEET_E2E_KEEP").is_some() {
            return Ok(());
        }
        self.cluster.delete_namespace(Duration::from_mins(2)).await
    }

    pub(crate) fn fleet(&self, name: &str) -> Fleet {
        Fleet::new(&self.cluster, name)
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

    /// Runs a change while short requests and long streams go through a Service. None may fail. Gives the
    /// lowest numbers of ready groups.
    pub(crate) async fn under_load(
        &self,
        fleet: &Fleet,
        connections: Connections,
        change: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Seen> {
        let endpoint = Endpoint::of(&self.cluster, &fleet.name, &self.tools).await?;
        let model = served_model(&endpoint.target, PATIENCE).await?;
        let kept = |clients| if connections == Connections::FreshAndKept { clients } else { 0 };
        let plan = Plan {
            target: endpoint.target.clone(),
            model,
            short: Share { fresh: 2, kept: kept(2), pause: Duration::from_millis(500), tokens: 3 },
            stream: Share {
                fresh: 2,
                kept: kept(2),
                pause: Duration::from_millis(100),
                tokens: STREAM_TOKENS,
            },
            patience: PATIENCE,
        };
        let load = Load::start(&plan);
        let lowest = Lowest::watch(fleet, &fleet.name);
        until("the load to be under way", PATIENCE, async || {
            let report = load.so_far();
            ensure!(report.failed == 0, "requests fail before anything was changed:\n{report}");
            Ok((report.sent > 10 && lowest.so_far().addresses.is_some()).then_some(()))
        })
        .await?;
        let outcome = change().await;
        let seen = lowest.so_far();
        let report = load.stop(Duration::from_mins(1)).await;
        self.console.say(format_args!("{report}"));
        outcome.with_context(|| report.line())?;
        ensure!(report.failed == 0 && report.open == 0, "requests were lost:\n{report}");
        ensure!(
            report.longest_stream_seconds > SHORTEST_LONG_STREAM,
            "the longest stream took {:.1} s: too short to prove anything",
            report.longest_stream_seconds
        );
        Ok(seen)
    }
}

/// The lowest numbers of ready groups held against what is promised.
pub(crate) fn never_below(seen: &Seen, promised: i32) -> anyhow::Result<()> {
    ensure!(
        seen.ready.is_some_and(|ready| ready >= promised),
        "{:?} groups were ready by the fleet's status, {promised} are promised",
        seen.ready
    );
    let in_endpoints = seen.addresses.and_then(|ready| i32::try_from(ready).ok());
    ensure!(
        in_endpoints.is_some_and(|ready| ready >= promised),
        "{in_endpoints:?} groups were in the endpoints, {promised} are promised"
    );
    Ok(())
}

/// No more groups existed than may.
pub(crate) fn never_above(seen: &Seen, allowed: i32) -> anyhow::Result<()> {
    ensure!(seen.most <= allowed, "{} groups existed at a time, {allowed} may", seen.most);
    Ok(())
}
