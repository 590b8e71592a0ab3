//! Observes one cluster and its engine in as few calls as the state allows, and returns one value.

mod placed;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join, join3, ready};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bridge::{Bridge, Target};
use crate::dashboard::{Actor, Dashboard, Filter, Job, JobStatus, Node};
use crate::engine::{EngineClient, Health, Load, Phase, failure_cause, parse_phases, plan_of, this_launch};
use crate::http::found;
use crate::placement::{Difference, GroupState, Placement, RayNode};
use crate::{CallError, NodeId, SubmissionId};

/// How much to observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserveOptions {
    /// Time limit of the whole observation. It takes at most three rounds of calls, a third of this each.
    pub deadline: Duration,
    /// How much is read of an engine that is there.
    pub depth: Depth,
    /// Also ask how many GPUs are in use. Without that all GPUs of a node count as free.
    pub gpu_use: bool,
    /// The most nodes that may be alive: a dashboard that lists more belongs to another cluster, or lies.
    pub most_nodes: usize,
}

/// How much is read of an engine that Ray knows. One that has ended is read in full, as that explains its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Its job and its port: two calls, or three.
    Brief,
    /// These while it serves; else also its log, its ranks and all nodes.
    #[default]
    UntilServing,
    /// Everything.
    Full,
}

/// How many of the dead nodes that Ray remembers are kept.
const MOST_DEAD: usize = 256;

impl Default for ObserveOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(9), depth: Depth::default(), gpu_use: true, most_nodes: 4096 }
    }
}

impl ObserveOptions {
    /// Observes everything.
    pub fn full() -> Self {
        Self { depth: Depth::Full, ..Self::default() }
    }
}

/// One Ray cluster and its engine, as observed.
#[derive(Debug, Clone, PartialEq)]
pub struct RayState {
    /// The Ray cluster; `None` if it was not read, see [`Depth`].
    pub cluster: Option<ClusterState>,
    /// The requested engine; `None` if none was requested, or if Ray knows no job of its name.
    pub engine: Option<EngineState>,
}

/// The state of the Ray cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterState {
    /// Ray's version.
    pub version: String,
    /// Ray's session; a new one means that the head has restarted and lost its state.
    pub session: String,
    /// All nodes, also dead ones.
    pub nodes: Vec<RayNode>,
}

/// The state of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineState {
    /// Name of its job.
    pub submission_id: SubmissionId,
    /// State of its job.
    pub status: JobStatus,
    /// Ray's message about the job.
    pub message: Option<String>,
    /// When it was submitted.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The plan it was launched with; `None` if the job has none that can be parsed.
    pub plan: Option<Placement>,
    /// Ranks compared with the plan; `None` if not read.
    pub placed: Option<Placed>,
    /// Dead ranks that were not restarted, also those of an ended engine; empty if not read.
    pub deaths: Vec<RankState>,
    /// Health of its port; `None` if the target has no engine address or the job has ended.
    pub health: Option<Health>,
    /// Its load; `None` unless it serves and reports its load.
    pub load: Option<Load>,
    /// The last phase that the launcher reported; only while the job runs and does not serve.
    pub phase: Option<Phase>,
    /// Why it ended; only if the job has ended.
    pub cause: Option<String>,
}

/// Ranks and placement group of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// State of the placement group; `None` if there is none of the engine's name. With data parallelism the first
    /// state of several that is not `Created`.
    pub group: Option<GroupState>,
    /// Rank actors of that group, in rank order; for a restarted rank its dead actor is listed too.
    pub ranks: Vec<RankState>,
    /// Every difference from the plan; empty if there is none, or no plan to compare with.
    pub differences: Vec<Difference>,
}

/// One rank actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankState {
    /// Rank in the engine.
    pub rank: u32,
    /// Its data-parallel engine; `None` without data parallelism.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_rank: Option<u32>,
    /// Rank within its stage.
    pub tensor_rank: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Node, `None` while it has none.
    pub node_id: Option<NodeId>,
    /// Its actor runs.
    pub alive: bool,
    /// Ray's cause of its death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub death: Option<String>,
}

impl EngineState {
    /// Whether all ranks run where they were planned.
    pub fn is_placed(&self) -> bool {
        self.plan.is_some() && self.placed.as_ref().is_some_and(|p| p.differences.is_empty())
    }

    /// Whether the engine has ended, whatever state Ray reports.
    pub fn has_ended(&self) -> bool {
        self.status.has_ended()
    }
}

impl Bridge {
    /// Observes a cluster, and the engine `want` if given.
    ///
    /// An engine that serves costs three concurrent calls; what else is read says the [`Depth`]. Errors are those of the dashboard: an engine that does not answer is a
    /// state.
    pub async fn observe(
        &self,
        target: &Target,
        want: Option<&SubmissionId>,
        options: ObserveOptions,
    ) -> Result<RayState, CallError> {
        let limits = self.limits().at_most(options.deadline / 3);
        let dashboard = self.dashboard_within(target, limits);
        let Some(want) = want else {
            return Ok(RayState { cluster: Some(cluster(&dashboard, options).await?), engine: None });
        };
        let port = port(self.engine_within(target, limits), limits.call, options.depth);
        with_port(&dashboard, want, options, port).await
    }

    /// As [`observe`](Self::observe), of an engine whose health and load a watch has said: its port is not asked.
    pub async fn observe_watched(
        &self,
        target: &Target,
        want: &SubmissionId,
        options: ObserveOptions,
        port: (Health, Option<Load>),
    ) -> Result<RayState, CallError> {
        let dashboard = self.dashboard_within(target, self.limits().at_most(options.deadline / 3));
        with_port(&dashboard, want, options, ready(Some(port))).await
    }
}

/// Ray and the engine, whose port answers meanwhile.
async fn with_port(
    dashboard: &Dashboard,
    want: &SubmissionId,
    options: ObserveOptions,
    port: impl Future<Output = Option<(Health, Option<Load>)>>,
) -> Result<RayState, CallError> {
    if options.depth == Depth::Full {
        let (cluster, job, port) = join3(cluster(dashboard, options), dashboard.job(want), port).await;
        let state = match found(job)? {
            Some(job) => Some(follow(dashboard, want, job, port, true).await?),
            None => None,
        };
        return Ok(RayState { cluster: Some(cluster?), engine: state });
    }

    let (job, port) = join(dashboard.job(want), port).await;
    let Some(job) = found(job)? else {
        return Ok(RayState { cluster: Some(cluster(dashboard, options).await?), engine: None });
    };
    let serves = job.status == JobStatus::Running && matches!(port, Some((Health::Serving, _)));
    if serves || (options.depth == Depth::Brief && !job.status.has_ended()) {
        let state = follow(dashboard, want, job, port, false).await?;
        return Ok(RayState { cluster: None, engine: Some(state) });
    }
    let (cluster, state) = join(cluster(dashboard, options), follow(dashboard, want, job, port, true)).await;
    Ok(RayState { cluster: Some(cluster?), engine: Some(state?) })
}

async fn cluster(dashboard: &Dashboard, options: ObserveOptions) -> Result<ClusterState, CallError> {
    // Before the other replies arrive: data that nobody needs is not kept in memory meanwhile.
    let nodes = async { dashboard.nodes().await.and_then(|nodes| few(dashboard, nodes, options.most_nodes)) };
    let gpu_use = async { if options.gpu_use { dashboard.gpu_use().await } else { Ok(BTreeMap::new()) } };
    let (version, nodes, gpu_use) = join3(dashboard.version(), nodes, gpu_use).await;
    let (version, gpu_use) = (version?, gpu_use?);
    Ok(ClusterState {
        version: version.ray_version,
        session: version.session_name,
        nodes: nodes?.into_iter().map(|n| n.into_ray_node(&gpu_use)).collect(),
    })
}

/// All living nodes, and a bounded number of dead ones. The labels of dead nodes are dropped.
fn few(dashboard: &Dashboard, mut nodes: Vec<Node>, most: usize) -> Result<Vec<Node>, CallError> {
    let alive = nodes.iter().filter(|node| node.state == "ALIVE").count();
    if alive > most {
        return Err(dashboard.lists_too_many(alive, most));
    }
    let mut dead = 0;
    nodes.retain_mut(|node| {
        if node.state != "ALIVE" {
            dead += 1;
            node.labels.clear();
        }
        node.state == "ALIVE" || dead <= MOST_DEAD
    });
    nodes.shrink_to_fit();
    Ok(nodes)
}

/// Both within one call's time limit, although reading the load may take two calls. For a brief look an engine that does not serve is
/// not asked for its load.
async fn port(engine: Option<EngineClient>, limit: Duration, depth: Depth) -> Option<(Health, Option<Load>)> {
    let engine = engine?;
    let load = || async { tokio::time::timeout(limit, engine.load()).await.ok().and_then(Result::ok) };
    if depth == Depth::Brief {
        let health = engine.health().await;
        let load = if health == Health::Serving { load().await } else { None };
        return Some((health, load));
    }
    Some(join(engine.health(), load()).await)
}

/// The state of a job, with the calls that it requires; with `in_full` also its ranks, and what explains a start that goes on.
async fn follow(
    dashboard: &Dashboard,
    want: &SubmissionId,
    job: Job,
    port: Option<(Health, Option<Load>)>,
    in_full: bool,
) -> Result<EngineState, CallError> {
    let plan = plan_of(&job);
    let ended = job.status.has_ended();
    let running = job.status == JobStatus::Running;
    let (health, load) = port.filter(|_| !ended).unzip();
    let serves = health == Some(Health::Serving);
    let (log, placed, supervisor) = join3(
        async {
            // The log explains a state that is known without it, so a failure to read it is no error.
            if ended || (in_full && running && !serves) {
                dashboard.log_tail_of(want, &job).await.unwrap_or_default()
            } else {
                String::new()
            }
        },
        async {
            if !in_full || !(ended || running) {
                return Ok(None);
            }
            match placed::placed(dashboard, want, &job, plan.as_ref()).await {
                // They only explain the end of an engine that is known without them.
                Err(_) if ended => Ok(None),
                found => found.map(Some),
            }
        },
        async {
            // An engine that serves has not ended.
            let look = in_full && running && !serves;
            if look { dead_supervisor(dashboard, want).await } else { Ok(None) }
        },
    )
    .await;
    let placed = placed?;
    let log = this_launch(&log, want, job.started);
    let job = match supervisor? {
        Some(death) => abandoned(job, &death),
        None => job,
    };
    let ended = job.status.has_ended();
    Ok(EngineState {
        submission_id: want.clone(),
        status: job.status,
        cause: ended.then(|| failure_cause(&job, log)),
        phase: if ended { None } else { parse_phases(log).pop() },
        message: job.message,
        started: job.started,
        ended: job.ended,
        plan,
        deaths: placed.as_ref().map(|placed| deaths(&placed.ranks)).unwrap_or_default(),
        placed: placed.filter(|_| !ended),
        health: health.filter(|_| !ended),
        load: load.flatten().filter(|_| serves && !ended),
    })
}

fn deaths(ranks: &[RankState]) -> Vec<RankState> {
    let again = |dead: &RankState| ranks.iter().any(|other| other.rank == dead.rank && other.death.is_none());
    ranks.iter().filter(|rank| rank.death.is_some() && !again(rank)).cloned().collect()
}

/// Ray's cause of death of the actor that runs the job's entrypoint; `None` while it lives, or if Ray lists
/// none.
///
/// If that actor is dead, the job has ended. Ray may report RUNNING until another job is submitted, after the
/// head restarted.
async fn dead_supervisor(dashboard: &Dashboard, job: &SubmissionId) -> Result<Option<String>, CallError> {
    let name = format!("_ray_internal_job_actor_{job}");
    let actors = dashboard.actors(&[Filter { key: "name", value: &name }]).await?;
    // The dead actor of an earlier job of the same name stays listed.
    let alive = actors.iter().any(|actor| actor.state != "DEAD");
    Ok(actors.last().filter(|_| !alive).map(Actor::death))
}

/// A job that Ray reports as RUNNING although its actor is dead.
fn abandoned(job: Job, death: &str) -> Job {
    let message = format!("Ray still reports RUNNING, but the actor that ran it is dead: {death}");
    Job { status: JobStatus::Failed, message: Some(message), ..job }
}
