//! Long runs under streaming load, which run only by name: every node is drained in turn, and operations
//! are made at random. No request may fail, and the bounds of rollouts hold throughout. `hack/soak` runs
//! both.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::pods::{nodes_by_group, pods};
use rayfleet_e2e::cluster::{KUBERAY_NAMESPACE, SYSTEM_NAMESPACE, call};
use rayfleet_e2e::demo::places;
use serde_json::json;

use crate::bounds::Bounds;
use crate::light::{self, REPLICAS, ROLLOUT};
use crate::suite::{Connections, Suite};
use crate::takeover;

/// Longest time of `kubectl drain` of one node: two groups move away, each after its last stream.
const DRAIN: Duration = Duration::from_mins(8);
const COMMAND: Duration = Duration::from_mins(1);
/// Longest time of a rollout of three groups that an earlier operation may have started.
const SETTLE: Duration = Duration::from_mins(10);

/// Each node is drained as for maintenance and uncordoned. The groups on it move first, within the bounds
/// of a rollout.
pub(crate) async fn every_node_drained(suite: &Suite) -> anyhow::Result<()> {
    let (fleet, _) = light::ensure_fleet(suite, &light::bounded(1, 0)?).await?;
    let bounds = Bounds { ready: REPLICAS, groups: REPLICAS + 1 };
    let nodes = nodes(suite).await?;
    ensure!(nodes.len() >= 3, "on {nodes:?} a group of two has nowhere to go");
    suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            for node in &nodes {
                emptied(suite, &fleet, node).await.with_context(|| format!("draining {node}"))?;
            }
            Ok(())
        })
        .await
        .map(drop)
}

async fn emptied(suite: &Suite, fleet: &Fleet, node: &str) -> anyhow::Result<()> {
    let drained = async {
        let limit = format!("--timeout={}s", DRAIN.as_secs());
        let args = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", limit.as_str()];
        let start = clock::instant();
        suite.tools.run(&args, None, DRAIN + COMMAND).await?;
        suite.console.say(format_args!("kubectl drain {node} took {:.0} s", clock::seconds_since(start)));
        let seen = light::settle(suite, fleet, ROLLOUT).await?;
        places::check(fleet, &seen).await?;
        let left = nodes_by_group(&pods(fleet).await?);
        ensure!(left.values().flatten().all(|used| used != node), "pods are still on {node}: {left:?}");
        Ok(())
    }
    .await;
    // The next drain needs the room, whatever the result.
    let back = suite.tools.run(&["uncordon", node], None, COMMAND).await;
    drained.and(back.map(drop))
}

async fn nodes(suite: &Suite) -> anyhow::Result<BTreeSet<String>> {
    let api: Api<Node> = Api::all(suite.cluster.client.clone());
    let nodes = call("list nodes", api.list_metadata(&ListParams::default())).await?;
    Ok(nodes.items.iter().map(ResourceExt::name_any).collect())
}

/// An operation that people and machines apply to a serving fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    EngineArguments,
    PodTemplate,
    Scale,
    RolloutRestart,
    RefusedSpec,
    KillOrchestrator,
    KillKubeRay,
    DrainNode,
}

const OPERATIONS: [Operation; 8] = [
    Operation::EngineArguments,
    Operation::PodTemplate,
    Operation::Scale,
    Operation::RolloutRestart,
    Operation::RefusedSpec,
    Operation::KillOrchestrator,
    Operation::KillKubeRay,
    Operation::DrainNode,
];

/// Random operations for `RAYFLEET_SOAK_MINUTES` (30), from `RAYFLEET_SOAK_SEED` (1). Half of them start
/// before the previous one has settled.
pub(crate) async fn random_operations(suite: &Suite) -> anyhow::Result<()> {
    let limit = Duration::from_mins(number("RAYFLEET_SOAK_MINUTES", 30)?);
    let seed = number("RAYFLEET_SOAK_SEED", 1)?;
    let manifest = light::bounded(1, 0)?;
    let (fleet, _) = light::ensure_fleet(suite, &manifest).await?;
    suite.console.say(format_args!("seed {seed}, {} min", limit.as_secs() / 60));
    let mut soak = Soak { suite, fleet: fleet.clone(), manifest, dice: Dice(seed), count: 0 };
    let bounds = Bounds { ready: REPLICAS, groups: REPLICAS + 2 };
    let start = clock::instant();
    suite
        .under_load(&fleet, Connections::FreshAndKept, bounds, async || {
            while clock::seconds_since(start) < limit.as_secs_f64() {
                soak.one().await?;
            }
            let settled = light::settle(suite, &fleet, SETTLE).await?;
            places::check(&fleet, &settled).await.map(drop)
        })
        .await?;
    ensure!(soak.count > 0, "no operation was made");
    suite.console.say(format_args!("{} operations", soak.count));
    Ok(())
}

struct Soak<'a> {
    suite: &'a Suite,
    fleet: Fleet,
    manifest: Manifest,
    dice: Dice,
    count: u64,
}

impl Soak<'_> {
    async fn one(&mut self) -> anyhow::Result<()> {
        let operation = OPERATIONS.get(self.dice.below(OPERATIONS.len())).copied().context("no operation")?;
        self.count += 1;
        let count = self.count;
        self.suite.console.say(format_args!("operation {count}: {operation:?}"));
        let done = self.perform(operation).await;
        done.with_context(|| format!("operation {count}: {operation:?}"))?;
        // An operation that needs all nodes, or an accepted spec, settles before the next one starts.
        let at_once =
            self.dice.below(2) == 0 && !matches!(operation, Operation::DrainNode | Operation::RefusedSpec);
        if !at_once {
            light::settle(self.suite, &self.fleet, SETTLE).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, operation: Operation) -> anyhow::Result<()> {
        let suite = self.suite;
        match operation {
            Operation::EngineArguments => {
                let speed = (20 + self.count % 5).to_string();
                self.manifest = self.manifest.clone().with_engine_arg("--tokens-per-second", &speed);
                self.fleet.apply(&self.manifest).await
            }
            Operation::PodTemplate => {
                self.manifest = self.manifest.clone().with_env(light::TEMPLATE, &self.count.to_string());
                self.fleet.apply(&self.manifest).await
            }
            Operation::Scale => {
                let replicas = REPLICAS + i32::from(self.dice.below(2) == 0);
                self.manifest = self.manifest.clone().with("/spec/replicas", json!(replicas))?;
                self.fleet.scale(replicas).await
            }
            Operation::RolloutRestart => {
                let args = ["rayfleet", "rollout", "restart", self.fleet.name.as_str()];
                suite.tools.run(&args, None, COMMAND).await.map(drop)
            }
            Operation::RefusedSpec => self.refused().await,
            Operation::KillOrchestrator => takeover::kill(suite, SYSTEM_NAMESPACE).await,
            Operation::KillKubeRay => takeover::kill(suite, KUBERAY_NAMESPACE).await,
            Operation::DrainNode => {
                light::settle(suite, &self.fleet, SETTLE).await?;
                let nodes: Vec<String> = nodes(suite).await?.into_iter().collect();
                let node = nodes.get(self.dice.below(nodes.len())).cloned().context("no node")?;
                emptied(suite, &self.fleet, &node).await
            }
        }
    }

    /// A spec that cannot be run, corrected once the orchestrator has reported it. Groups keep serving
    /// meanwhile.
    async fn refused(&mut self) -> anyhow::Result<()> {
        let name = self.fleet.name.clone();
        let patch =
            r#"{"spec":{"template":{"spec":{"headGroupSpec":{"template":{"spec":{"containers":[]}}}}}}}"#;
        let args = ["patch", "rayclusterfleet", name.as_str(), "--type=merge", "-p", patch];
        // The API server may refuse the spec itself: then nothing was changed, which is accepted too.
        if self.suite.tools.run(&args, None, COMMAND).await.is_ok() {
            let stalled = |fleet: &rayfleet_api::RayClusterFleet| {
                let conditions = &fleet.status.as_ref()?.conditions;
                let refused = |reason: &str| matches!(reason, "InvalidSpec" | "InvalidTemplate");
                conditions.iter().any(|condition| refused(&condition.reason)).then_some(())
            };
            self.fleet.follow("be refused", COMMAND, |fleet| fleet.and_then(stalled)).await?;
        }
        self.fleet.apply(&self.manifest).await
    }
}

fn number(variable: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}: must be a whole number")),
        Err(_) => Ok(default),
    }
}

/// Splitmix64: the same seed gives the same operations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}
