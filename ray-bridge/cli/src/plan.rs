//! `plan`: shows the node of every rank, or what is missing and how to fix it.

use std::collections::BTreeSet;

use ray_bridge::SubmissionId;
use ray_bridge::engine::EngineSpec;
use ray_bridge::placement::{FreeGpus, Hop, Placement, Policy, RayNode, hops, plan};
use rayfleet_cli_kit::{CliError, Terminal};
use serde::Serialize;
use url::Url;

use crate::args::ModelArgs;
use crate::connect::Session;
use crate::render::picture::Row;
use crate::render::{picture, ranks};
use crate::view::{Slot, planned};
use crate::{Answer, model};

/// Whether and how an engine fits.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) shape: String,
    /// It fits now.
    pub(crate) fits: bool,
    /// Node of the API server.
    pub(crate) api_server: Option<String>,
    /// Ranks, if it fits.
    pub(crate) ranks: Vec<Slot>,
    /// The hop from each stage to the next one.
    pub(crate) hops: Vec<StageHop>,
    /// Nodes that have ranks although they should be avoided.
    pub(crate) avoided: Vec<String>,
    /// What is missing, with numbers, if it does not fit.
    pub(crate) missing: Option<String>,
    /// What the reader can do.
    pub(crate) cure: Option<String>,
    /// Nodes that have ranks, with all their GPUs.
    #[serde(skip)]
    pub(crate) rows: Vec<Row>,
}

/// The hop from one stage to the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StageHop {
    /// Level of the innermost domain that contains both stages, if there is one; `None` within a node or
    /// tensor domain.
    pub(crate) level: Option<String>,
    /// That domain.
    pub(crate) domain: Option<String>,
    /// Its cost.
    pub(crate) cost: u64,
}

pub(crate) async fn run(
    args: &ModelArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let model = model::load(args)?;
    let nodes = nodes(session).await?;
    let (plan, _) = make(&model.spec, &model.policy, &nodes);
    terminal.result(&plan, &text(&plan))?;
    Ok(if plan.fits { Answer::Yes } else { Answer::No })
}

/// Reads the nodes of the cluster.
pub(crate) async fn nodes(session: &Session) -> Result<Vec<RayNode>, CliError> {
    Ok(session.look(None, None).await?.cluster.map(|cluster| cluster.nodes).unwrap_or_default())
}

/// The plan as a document, and for the bridge if it fits.
pub(crate) fn make(spec: &EngineSpec, policy: &Policy, nodes: &[RayNode]) -> (Plan, Option<Placement>) {
    let document = Plan { name: spec.name.to_string(), shape: spec.shape.to_string(), ..Plan::default() };
    match plan(spec.shape, nodes, policy) {
        Ok(placement) => {
            let server = nodes.iter().find(|node| node.id == placement.api_server_node);
            let server = server.map(|node| format!("{}:{}", node.ip, spec.port));
            let ranks = planned(&placement, nodes);
            let hops = hops(&placement, nodes, policy).into_iter().map(StageHop::of).collect();
            let avoided = placement.avoided(nodes, policy).iter().map(|node| node.name.clone()).collect();
            let rows = picture::rows(&ranks, nodes);
            let document = Plan { fits: true, api_server: server, ranks, hops, avoided, rows, ..document };
            (document, Some(placement))
        }
        Err(unplaceable) => {
            let cure = Some(cure(spec, policy, nodes));
            (Plan { missing: Some(unplaceable.to_string()), cure, ..document }, None)
        }
    }
}

/// The plan that an engine was launched with.
pub(crate) fn of(
    name: &SubmissionId,
    placement: &Placement,
    engine: Option<&Url>,
    nodes: &[RayNode],
) -> Plan {
    Plan {
        name: name.to_string(),
        shape: placement.shape.to_string(),
        fits: true,
        api_server: engine
            .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))),
        ranks: planned(placement, nodes),
        ..Plan::default()
    }
}

impl StageHop {
    fn of(hop: Hop) -> Self {
        let cost = hop.cost();
        match hop {
            Hop::Within { level, domain, .. } => Self { level: Some(level), domain: Some(domain), cost },
            Hop::Free | Hop::Beyond { .. } => Self { level: None, domain: None, cost },
        }
    }
}

/// The note about a node that has ranks although it should be avoided.
pub(crate) fn avoided(node: &str) -> String {
    format!("note: {node} has ranks although it should be avoided: the others have no room")
}

/// What would make room.
fn cure(spec: &EngineSpec, policy: &Policy, nodes: &[RayNode]) -> String {
    let (tensor, stages) = (spec.shape.tensor(), spec.shape.stages());
    let alive = || nodes.iter().filter(|node| node.alive);
    if !alive().any(|node| node.is_head) {
        return "start the head: `ray start --head`; the API server runs on its node".to_owned();
    }
    let without = Policy { exclude: BTreeSet::new(), ..policy.clone() };
    if !policy.exclude.is_empty() && plan(spec.shape, nodes, &without).is_ok() {
        return "it fits with the excluded nodes: --avoid in place of --exclude takes them where there is no other way"
            .to_owned();
    }
    let all = Policy { free: FreeGpus::All, ..policy.clone() };
    if plan(spec.shape, nodes, &all).is_ok() {
        return "the GPUs are there but reserved: `ray-bridge doctor` says by whom; stop that, or add nodes"
            .to_owned();
    }
    let fabric = policy.levels.first().into_iter().flat_map(|level| &level.labels);
    let fits_within = |label: &&String| {
        let within = Policy { tensor_domain: Some((*label).clone()), ..policy.clone() };
        plan(spec.shape, nodes, &within).is_ok()
    };
    if let Some(label) = fabric.filter(|_| policy.tensor_domain.is_none()).find(fits_within) {
        return format!(
            "it fits if a stage may lie on several nodes of one fabric: --tensor-domain {label}, or placement.tensorDomain in the file"
        );
    }
    let rooms: u64 = alive().map(|node| u64::from(node.gpus_total / tensor)).sum();
    let more = u64::from(stages).saturating_sub(rooms);
    let gpus: u64 = alive().map(|node| u64::from(node.gpus_total)).sum();
    let largest = alive().map(|node| node.gpus_total).max().unwrap_or_default();
    let join = format!("add room for {more} more stages: nodes with a multiple of {tensor} GPUs");
    if gpus >= u64::from(spec.shape.ranks()) && largest > 0 {
        format!(
            "the {tensor} ranks of a stage never leave a node, and the largest has {largest} GPUs: choose a parallelism that fits that, or {join}"
        )
    } else {
        join
    }
}

/// The text form.
pub(crate) fn text(plan: &Plan) -> String {
    if let Some(missing) = &plan.missing {
        let cure = plan.cure.as_ref().map(|cure| format!("cure: {cure}\n")).unwrap_or_default();
        return format!("{} does not fit: {missing}\n{cure}", plan.name);
    }
    let mut nodes: Vec<&str> = plan.ranks.iter().map(|rank| rank.node_id.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let server = plan.api_server.as_deref().unwrap_or("the head");
    let s = if nodes.len() == 1 { "" } else { "s" };
    let head =
        format!("{} fits: {} on {} node{s}, API server at {server}", plan.name, plan.shape, nodes.len());
    let reported: Vec<String> = plan.avoided.iter().map(|node| format!("\n{}", avoided(node))).collect();
    let reported = reported.concat();
    let picture = picture::text(&plan.rows, &plan.hops);
    let picture = if picture.is_empty() { picture } else { format!("\n{picture}") };
    format!("{head}{reported}\n\n{}{picture}", ranks::text(&plan.ranks))
}
