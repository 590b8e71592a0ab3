//! A Ray cluster whose nodes are namespaces: a head without GPUs, and workers.

use std::time::Duration;

use anyhow::{Context, ensure};
use ray_bridge::dashboard::Filter;
use ray_bridge::engine::EngineClient;
use ray_bridge::observe::{ClusterState, ObserveOptions};
use ray_bridge::placement::GroupState;
use ray_bridge::{Bridge, Limits, SubmissionId, Target, Token};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{Kind, Node};
use crate::processes;
use crate::settings::{Settings, TOKEN};
use crate::{say, until};

pub(crate) const HEAD_IP: &str = "10.77.0.11";
const PORT: u16 = 8000;
/// A part of the command line of every rank.
pub(crate) const RANK: &str = "ray::RayWorkerProc";

/// Time limit from nothing to a complete cluster, on a busy machine.
const BRING_UP: Duration = Duration::from_mins(3);
/// Time limit until an engine is gone and Ray's report of free GPUs, up to 5 s old, shows it.
const CLEARED: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) head: Node,
    pub(crate) workers: Vec<Node>,
    pub(crate) bridge: Bridge,
    pub(crate) target: Target,
}

impl Cluster {
    /// Starts a head without GPUs and a worker for each number of GPUs, and waits for all of them.
    pub(crate) async fn start(settings: Settings, gpus: &[u32]) -> anyhow::Result<Self> {
        let bridge = Bridge::new(Limits::default())?;
        let target = Target {
            name: "the cluster of the tests".to_owned(),
            dashboard: format!("http://{HEAD_IP}:8265").parse()?,
            engine: Some(format!("http://{HEAD_IP}:{PORT}").parse()?),
            token: Some(Token::new(TOKEN)?),
            trusts_engine: false,
        };
        let workers = gpus.iter().enumerate().map(|(number, gpus)| Ok(Node::new(worker(number, *gpus)?)));
        let workers = workers.collect::<anyhow::Result<_>>()?;
        let mut cluster = Self { settings, head: Node::new(head()), workers, bridge, target };
        cluster.start_missing().await?;
        Ok(cluster)
    }

    /// Whether its workers have exactly these GPUs.
    pub(crate) fn has(&self, gpus: &[u32]) -> bool {
        self.workers.iter().map(|node| node.kind.gpus).eq(gpus.iter().copied())
    }

    /// GPUs of all workers.
    pub(crate) fn gpus(&self) -> u32 {
        self.workers.iter().map(|node| node.kind.gpus).sum()
    }

    /// Starts every node that does not run, and waits until Ray reports it with its GPUs. A node that gives
    /// up is restarted, as a container would be.
    pub(crate) async fn start_missing(&mut self) -> anyhow::Result<()> {
        let gpus = self.gpus();
        until("all nodes to be in", BRING_UP, async || {
            for node in std::iter::once(&mut self.head).chain(&mut self.workers) {
                if node.gave_up() {
                    say(&format!("    Ray on {} gave up; once more", node.kind.name));
                }
                if !node.runs() {
                    node.start(&self.settings).await?;
                }
            }
            let seen = self.look().await?;
            let alive = || seen.nodes.iter().filter(|node| node.alive);
            let there: u32 = alive().map(|node| node.gpus_total).sum();
            Ok((alive().count() == self.workers.len() + 1 && there == gpus).then_some(()))
        })
        .await
    }

    /// Power loss of all nodes.
    pub(crate) async fn cut_power(&mut self) -> anyhow::Result<()> {
        for node in std::iter::once(&mut self.head).chain(&mut self.workers) {
            if node.runs() {
                node.cut_power().await?;
            }
        }
        Ok(())
    }

    /// The cluster as Ray reports it.
    pub(crate) async fn look(&self) -> anyhow::Result<ClusterState> {
        let seen = self.bridge.observe(&self.target, None, ObserveOptions::default()).await?;
        seen.cluster.context("Ray does not describe its cluster")
    }

    /// The last worker that has a rank.
    pub(crate) fn worker_with_rank(&mut self) -> anyhow::Result<&mut Node> {
        let with_rank = |node: &&mut Node| node.processes(RANK).is_ok_and(|found| !found.is_empty());
        self.workers.iter_mut().rev().find(with_rank).context("no worker has a rank")
    }

    /// A client of the engine's API server.
    pub(crate) fn engine(&self) -> anyhow::Result<EngineClient> {
        self.bridge.engine(&self.target).context("no address of the engine")
    }

    /// The text of the engine's metrics.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let mut connection = TcpStream::connect((HEAD_IP, PORT)).await?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Waits until an engine is gone: no process, no living actor, no placement group, no GPU in use.
    pub(crate) async fn nothing_left(&self, name: &str, of_engine: &[&str]) -> anyhow::Result<()> {
        until(&format!("the last of engine {name} to go"), CLEARED, async || {
            for part in of_engine {
                let left = processes::all(part);
                ensure!(left.is_empty(), "processes: {left:?}");
            }
            let dashboard = self.bridge.dashboard(&self.target);
            let groups = dashboard.placement_groups(&[Filter { key: "name", value: name }]).await?;
            let left: Vec<_> = groups.iter().filter(|group| group.state() != GroupState::Removed).collect();
            ensure!(left.is_empty(), "placement groups: {left:?}");
            let actors = dashboard.actors(&[]).await?;
            let left: Vec<_> = actors.iter().filter(|actor| actor.state != "DEAD").collect();
            ensure!(left.is_empty(), "actors: {left:?}");
            if let Ok(job) = dashboard.job(&SubmissionId::new(name)?).await {
                ensure!(job.status.has_ended(), "job: {:?}", job.status);
            }
            let nodes = self.look().await?.nodes;
            let used: u32 = nodes.iter().filter(|n| n.alive).map(|n| n.gpus_total - n.gpus_free).sum();
            ensure!(used == 0, "{used} GPUs are in use");
            Ok(Some(()))
        })
        .await
    }
}

/// The head, without GPUs.
fn head() -> Kind {
    Kind { name: "head".to_owned(), ip: HEAD_IP.to_owned(), head_ip: HEAD_IP.to_owned(), gpus: 0 }
}

fn worker(number: usize, gpus: u32) -> anyhow::Result<Kind> {
    let letter = ["a", "b", "c", "d"].get(number).context("at most four workers")?;
    Ok(Kind {
        name: format!("worker-{letter}"),
        ip: format!("10.77.0.{}", 12 + number),
        head_ip: HEAD_IP.to_owned(),
        gpus,
    })
}
