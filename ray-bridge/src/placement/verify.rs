//! Compares a plan with a report.

use super::plan::Holder;
use super::{
    Difference, GroupState, Life, Placement, RankSlot, Reported, ReportedBundle, ReportedRank, Shape,
};

/// Every difference between plan and report; empty if every rank runs on its planned node and nothing else
/// holds its GPU.
pub fn verify(plan: &Placement, reported: &Reported) -> Vec<Difference> {
    let mut differences = Vec::new();
    match &reported.group {
        None => differences.push(Difference::NoGroup),
        Some(GroupState::Created) => {}
        Some(other) => differences.push(Difference::GroupNotCreated(other.clone())),
    }
    for slot in &plan.ranks {
        if reported.group.is_some() {
            differences.extend(bundle_difference(slot, &reported.bundles));
        }
        differences.extend(rank_difference(plan.shape, slot, &reported.ranks));
    }
    if reported.group.is_some() {
        differences.extend(bundles_beside_ranks(plan, &reported.bundles));
    }
    for rank in &reported.ranks {
        if rank.name.rank_in(plan.shape).is_none() && rank.life == Life::Alive {
            differences.push(Difference::RankUnplanned(rank.name));
        }
    }
    differences.extend(reported.foreign.iter().cloned().map(Difference::Foreign));
    differences
}

/// After the bundles of the ranks there are those of who is no rank, and no other.
fn bundles_beside_ranks(plan: &Placement, bundles: &[ReportedBundle]) -> Vec<Difference> {
    let further = plan.further_bundles();
    let known = (plan.shape.ranks()..).zip(&further);
    let elsewhere = known.filter_map(|(index, (holder, planned))| {
        let actual = bundles.iter().find(|b| b.index == index).and_then(|b| b.node_id.clone());
        let planned = (*planned).clone();
        (actual.as_ref() != Some(&planned)).then_some(match *holder {
            Holder::Core(data_rank) => Difference::CoreElsewhere { data_rank, planned, actual },
            Holder::Server => Difference::ServerElsewhere { planned, actual },
        })
    });
    let end = plan.shape.ranks() as usize + further.len();
    let unplanned = bundles.iter().filter(|b| b.index as usize >= end);
    elsewhere.chain(unplanned.map(|b| Difference::BundleUnplanned(b.index))).collect()
}

fn bundle_difference(slot: &RankSlot, bundles: &[ReportedBundle]) -> Option<Difference> {
    let actual = bundles.iter().find(|b| b.index == slot.rank).and_then(|b| b.node_id.clone());
    (actual.as_ref() != Some(&slot.node_id))
        .then(|| Difference::BundleElsewhere { planned: slot.clone(), actual })
}

/// A restarted rank has dead actors in the list, so the one that is most alive counts.
fn rank_difference(shape: Shape, slot: &RankSlot, ranks: &[ReportedRank]) -> Option<Difference> {
    let planned = slot.clone();
    let rest = || ranks.iter().filter(|r| r.name.rank_in(shape) == Some(slot.rank));
    let mut alive = rest().filter(|r| r.life == Life::Alive);
    if let Some(rank) = alive.next() {
        return if alive.next().is_some() {
            Some(Difference::RankTwice(planned))
        } else if rank.node_id.as_ref() == Some(&slot.node_id) {
            None
        } else {
            Some(Difference::RankElsewhere { planned, actual: rank.node_id.clone() })
        };
    }
    if rest().any(|r| r.life == Life::Starting) {
        return Some(Difference::RankStarting(planned));
    }
    match rest().next_back() {
        Some(ReportedRank { life: Life::Dead(cause), .. }) => {
            Some(Difference::RankDead { planned, cause: cause.clone() })
        }
        _ => Some(Difference::RankMissing(planned)),
    }
}
