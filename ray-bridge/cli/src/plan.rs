//! `plan`: where every rank would go, or what is missing and what would help.

use ray_bridge::SubmissionId;
use ray_bridge::engine::EngineSpec;
use ray_bridge::placement::{FreeGpus, Placement, Policy, RayNode, plan};
use serde::Serialize;
use url::Url;

use crate::args::ModelArgs;
use crate::connect::Session;
use crate::fault::Fault;
use crate::render::ranks;
use crate::terminal::Terminal;
use crate::view::{Slot, planned};
use crate::{Answer, model};

/// Whether and how an engine fits.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plan {
    /// Engine.
    pub(crate) name: String,
    /// Parallel shape.
    pub(crate) shape: String,
    /// It fits now.
    pub(crate) fits: bool,
    /// Node of the API server.
    pub(crate) api_server: Option<String>,
    /// Ranks, if it fits.
    pub(crate) ranks: Vec<Slot>,
    /// What is missing, in numbers, if it does not fit.
    pub(crate) missing: Option<String>,
    /// What would help.
    pub(crate) cure: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: &ModelArgs, session: &Session, terminal: &Terminal) -> Result<Answer, Fault> {
    let model = model::load(args)?;
    let nodes = nodes(session).await?;
    let (plan, _) = make(&model.spec, &nodes);
    terminal.result(&plan, &text(&plan))?;
    Ok(if plan.fits { Answer::Yes } else { Answer::No })
}

/// Nodes of the cluster.
pub(crate) async fn nodes(session: &Session) -> Result<Vec<RayNode>, Fault> {
    Ok(session.look(None, None).await?.cluster.map(|cluster| cluster.nodes).unwrap_or_default())
}

/// The plan for people, and for the bridge if there is one.
pub(crate) fn make(spec: &EngineSpec, nodes: &[RayNode]) -> (Plan, Option<Placement>) {
    let document = Plan {
        name: spec.name.to_string(),
        shape: spec.shape.to_string(),
        fits: false,
        api_server: None,
        ranks: Vec::new(),
        missing: None,
        cure: None,
    };
    match plan(spec.shape, nodes, &Policy::default()) {
        Ok(placement) => {
            let server = nodes.iter().find(|node| node.id == placement.api_server_node);
            let server = server.map(|node| format!("{}:{}", node.ip, spec.port));
            let ranks = planned(&placement, nodes);
            (Plan { fits: true, api_server: server, ranks, ..document }, Some(placement))
        }
        Err(unplaceable) => {
            let cure = Some(cure(spec, nodes));
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
        missing: None,
        cure: None,
    }
}

/// What would make room.
fn cure(spec: &EngineSpec, nodes: &[RayNode]) -> String {
    let (tensor, pipeline) = (spec.shape.tensor(), spec.shape.pipeline());
    let alive = || nodes.iter().filter(|node| node.alive);
    if !alive().any(|node| node.is_head) {
        return "start the head: `ray start --head`; the API server runs on its node".to_owned();
    }
    let all = Policy { free: FreeGpus::All, ..Policy::default() };
    if plan(spec.shape, nodes, &all).is_ok() {
        return "the GPUs are there but reserved: `ray-bridge doctor` says by whom; stop that, or add nodes"
            .to_owned();
    }
    let rooms: u64 = alive().map(|node| u64::from(node.gpus_total / tensor)).sum();
    let more = u64::from(pipeline).saturating_sub(rooms);
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

/// For people.
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
    format!("{head}\n\n{}", ranks::text(&plan.ranks))
}
