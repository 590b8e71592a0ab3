//! Ranks and placement groups of one engine as Ray lists them: read, and compared with the plan.

use std::collections::BTreeMap;

use futures::future::join;

use super::{Placed, RankState};
use crate::dashboard::{Actor, Dashboard, Filter, Job, PlacementGroup};
use crate::placement::{GroupState, Life, Placement, Reported, ReportedBundle, ReportedRank, Shape, verify};
use crate::{CallError, SubmissionId};

/// How many of the ranks that Ray lists are kept: those of the largest engine, and as many dead ones.
const MOST_RANKS: usize = 2 * Shape::MOST_RANKS as usize;

/// Two calls, however many data-parallel engines there are.
pub(super) async fn placed(
    dashboard: &Dashboard,
    name: &SubmissionId,
    job: &Job,
    plan: Option<&Placement>,
) -> Result<Placed, CallError> {
    let shape = plan.map(|plan| plan.shape);
    let seen = match shape.filter(|shape| shape.data() > 1) {
        Some(shape) => of_all(dashboard, name, job, shape).await?,
        None => of_one(dashboard, name).await?,
    };
    let mut ranks: Vec<RankState> = seen.ranks.iter().map(|rank| state(rank, shape)).collect();
    ranks.sort_by_key(|r| (r.data_rank, r.stage, r.tensor_rank, !r.alive));
    let differences = plan.map(|plan| verify(plan, &seen)).unwrap_or_default();
    Ok(Placed { group: seen.group, ranks, differences })
}

fn state(rank: &ReportedRank, shape: Option<Shape>) -> RankState {
    let name = rank.name;
    let of_stages = || {
        let tensor = shape.map_or(1, Shape::tensor);
        name.stage.saturating_mul(tensor).saturating_add(name.tensor_rank)
    };
    RankState {
        rank: shape.and_then(|shape| name.rank_in(shape)).unwrap_or_else(of_stages),
        data_rank: name.data_rank.filter(|_| shape.is_some_and(|shape| shape.data() > 1)),
        tensor_rank: name.tensor_rank,
        stage: name.stage,
        node_id: rank.node_id.clone(),
        alive: rank.life == Life::Alive,
        death: match &rank.life {
            Life::Dead(words) => Some(words.clone()),
            Life::Starting | Life::Alive => None,
        },
    }
}

/// Without data parallelism: the placement group of the engine's name, and the actors in it.
async fn of_one(dashboard: &Dashboard, name: &SubmissionId) -> Result<Reported, CallError> {
    let groups = dashboard.placement_groups(&[Filter { key: "name", value: name.as_str() }]).await?;
    let Some(group) = current(groups.iter()) else { return Ok(Reported::default()) };
    let within = Filter { key: "placement_group_id", value: &group.placement_group_id };
    let actors = dashboard.actors(&[within]).await?;
    Ok(Reported {
        group: Some(group.state()),
        bundles: group.reported(),
        ranks: actors.iter().filter_map(Actor::rank).take(MOST_RANKS).collect(),
        foreign: actors.iter().filter_map(Actor::foreign).take(MOST_RANKS).collect(),
    })
}

/// With data parallelism: a placement group for each engine, all made by the launcher, whose Ray job has all actors.
async fn of_all(
    dashboard: &Dashboard,
    name: &SubmissionId,
    job: &Job,
    shape: Shape,
) -> Result<Reported, CallError> {
    // Before the launcher has connected to Ray it has made nothing.
    let Some(driver) = &job.job_id else { return Ok(Reported::default()) };
    let (groups, actors) = join(
        dashboard.placement_groups(&[Filter { key: "creator_job_id", value: driver }]),
        dashboard.actors(&[Filter { key: "job_id", value: driver }]),
    )
    .await;
    Ok(merged(name.as_str(), shape, &groups?, &actors?))
}

/// Of several of a name the one that is not removed: those stay listed.
fn current<'g>(
    mut named: impl DoubleEndedIterator<Item = &'g PlacementGroup> + Clone,
) -> Option<&'g PlacementGroup> {
    named.clone().find(|group| group.state() != GroupState::Removed).or_else(|| named.next_back())
}

/// The placement groups of data-parallel engines as one: the ranks' bundles of all, then those of their cores, then
/// the API server's.
fn merged(name: &str, shape: Shape, groups: &[PlacementGroup], actors: &[Actor]) -> Reported {
    let of = |data_rank: u32| {
        let name = format!("{name}/dp{data_rank}");
        current(groups.iter().filter(move |group| group.name == name))
    };
    let found: Vec<Option<&PlacementGroup>> = (0..shape.data()).map(of).collect();
    let mut seen = Reported { group: worst(&found), ..Reported::default() };
    let each = shape.ranks_each();
    let index = |data_rank: u32, bundle: u32| {
        let further = if bundle < each { None } else { Some(bundle - each) };
        match further {
            None => data_rank.saturating_mul(each).saturating_add(bundle),
            Some(0) => shape.ranks().saturating_add(data_rank),
            Some(more) => (shape.ranks() + shape.data() - 1).saturating_add(data_rank).saturating_add(more),
        }
    };
    let mut engine_of: BTreeMap<&str, u32> = BTreeMap::new();
    for (data_rank, group) in (0..).zip(&found) {
        let Some(group) = group else { continue };
        engine_of.insert(&group.placement_group_id, data_rank);
        seen.bundles.extend(
            group
                .reported()
                .into_iter()
                .map(|bundle| ReportedBundle { index: index(data_rank, bundle.index), ..bundle }),
        );
    }
    let within = actors.iter().filter_map(|actor| {
        let group = actor.placement_group_id.as_deref()?;
        Some((actor, *engine_of.get(group)?))
    });
    for (actor, data_rank) in within.take(2 * MOST_RANKS) {
        if let Some(mut rank) = actor.rank() {
            // By whose GPU it holds; the name is the engine's own.
            rank.name.data_rank = Some(data_rank);
            seen.ranks.push(rank);
        } else if let Some(mut foreign) = actor.foreign() {
            foreign.bundle = index(data_rank, foreign.bundle);
            seen.foreign.push(foreign);
        }
    }
    seen
}

/// The state of all placement groups: that of the first which is not created; `None` while one is missing.
fn worst(groups: &[Option<&PlacementGroup>]) -> Option<GroupState> {
    let states: Option<Vec<GroupState>> = groups.iter().map(|group| Some((*group)?.state())).collect();
    states?.into_iter().min_by_key(|state| *state == GroupState::Created)
}
