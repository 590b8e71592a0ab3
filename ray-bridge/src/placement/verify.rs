//! Compares a plan with a report.

use super::{
    Difference, GroupState, Life, Placement, RankName, RankSlot, Reported, ReportedBundle, ReportedRank,
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
        differences.extend(rank_difference(slot, &reported.ranks));
    }
    if reported.group.is_some() {
        differences.extend(bundles_beside_ranks(plan, &reported.bundles));
    }
    for rank in &reported.ranks {
        let planned = plan.ranks.iter().any(|slot| is_of(rank, slot));
        if !planned && rank.life == Life::Alive {
            differences.push(Difference::RankUnplanned(rank.name));
        }
    }
    differences.extend(reported.foreign.iter().cloned().map(Difference::Foreign));
    differences
}

/// After the bundles of the ranks there is one for the API server if its node has no ranks, and no other.
fn bundles_beside_ranks(plan: &Placement, bundles: &[ReportedBundle]) -> Vec<Difference> {
    let own = plan.ranks.iter().all(|slot| slot.node_id != plan.api_server_node).then(|| plan.shape.ranks());
    let server = own.and_then(|own| {
        let actual = bundles.iter().find(|b| b.index == own).and_then(|b| b.node_id.clone());
        let planned = plan.api_server_node.clone();
        (actual.as_ref() != Some(&planned)).then_some(Difference::ServerElsewhere { planned, actual })
    });
    let unplanned = bundles.iter().filter(|b| b.index >= plan.shape.ranks() && Some(b.index) != own);
    server.into_iter().chain(unplanned.map(|b| Difference::BundleUnplanned(b.index))).collect()
}

fn bundle_difference(slot: &RankSlot, bundles: &[ReportedBundle]) -> Option<Difference> {
    let actual = bundles.iter().find(|b| b.index == slot.rank).and_then(|b| b.node_id.clone());
    (actual.as_ref() != Some(&slot.node_id))
        .then(|| Difference::BundleElsewhere { planned: slot.clone(), actual })
}

/// A restarted rank has dead actors in the list, so the one that is most alive counts.
fn rank_difference(slot: &RankSlot, ranks: &[ReportedRank]) -> Option<Difference> {
    let planned = slot.clone();
    let mut alive = ranks.iter().filter(|r| is_of(r, slot) && r.life == Life::Alive);
    if let Some(rank) = alive.next() {
        return if alive.next().is_some() {
            Some(Difference::RankTwice(planned))
        } else if rank.node_id.as_ref() == Some(&slot.node_id) {
            None
        } else {
            Some(Difference::RankElsewhere { planned, actual: rank.node_id.clone() })
        };
    }
    let rest = || ranks.iter().filter(|r| is_of(r, slot));
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

fn is_of(rank: &ReportedRank, slot: &RankSlot) -> bool {
    rank.name == RankName { tensor_rank: slot.tensor_rank, stage: slot.stage }
}
