//! Location of every rank, from three sources that must agree: the fleet's status, Ray, and the pods.

use std::collections::BTreeSet;

use anyhow::ensure;
use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::GroupStatus;

use crate::cluster::fleet::Fleet;
use crate::cluster::pods::{FleetPod, nodes_by_group, pods};
use crate::cluster::ray::{RankAt, ranks};
use crate::cluster::ready;

/// Compares the placement in the status with Ray and the pods. Returns the groups with their ranks.
pub async fn check(fleet: &Fleet, seen: &RayClusterFleet) -> anyhow::Result<Vec<GroupStatus>> {
    let wanted = seen.spec.model.as_ref().map_or(0, |model| model.parallelism.ranks());
    let pods = pods(fleet).await?;
    for group in ready::groups(seen) {
        let by_ray = ranks(fleet, &group.name, &pods).await?;
        agree(group, &by_ray, &pods, wanted)?;
    }
    Ok(ready::groups(seen).to_vec())
}

fn agree(
    group: &GroupStatus,
    by_ray: &BTreeSet<RankAt>,
    pods: &[FleetPod],
    wanted: u64,
) -> anyhow::Result<()> {
    let name = &group.name;
    let by_status: BTreeSet<RankAt> = group
        .placement
        .iter()
        .map(|rank| (rank.data, rank.tensor, rank.stage, rank.node.to_string()))
        .collect();
    ensure!(
        by_status == *by_ray,
        "group {name}: its status has the ranks (data, tensor, stage, node) at {by_status:?}, Ray at {by_ray:?}"
    );
    ensure!(
        u64::try_from(by_ray.len()) == Ok(wanted),
        "group {name}: {} ranks where the model needs {wanted}",
        by_ray.len()
    );
    let of_ranks: BTreeSet<String> = by_ray.iter().map(|(.., node)| node.clone()).collect();
    let of_pods = nodes_by_group(pods).remove(name.as_str()).unwrap_or_default();
    ensure!(of_ranks == of_pods, "group {name}: its ranks are on {of_ranks:?}, its pods on {of_pods:?}");
    Ok(())
}

/// One line for each rank.
pub fn lines(groups: &[GroupStatus]) -> Vec<String> {
    let line = |group: &GroupStatus| {
        let name = group.name.clone();
        group
            .placement
            .iter()
            .map(move |rank| {
                let data = rank.data.map_or_else(String::new, |data| format!("data {data}, "));
                format!(
                    "{name}  rank {} ({data}tensor {}, stage {}) on {}",
                    rank.rank, rank.tensor, rank.stage, rank.node
                )
            })
            .collect::<Vec<_>>()
    };
    groups.iter().flat_map(line).collect()
}

#[cfg(test)]
mod tests {
    use rayfleet_api::status::RankPlacement;

    use super::*;

    fn pod(node: &str) -> FleetPod {
        FleetPod {
            name: node.into(),
            uid: node.into(),
            group: "g".into(),
            head: true,
            node: node.into(),
            ip: String::new(),
        }
    }

    #[test]
    fn a_rank_on_another_node_is_reported() {
        let rank =
            |rank, stage, node: &str| RankPlacement { rank, data: None, tensor: 0, stage, node: node.into() };
        let placement = vec![rank(0, 0, "a"), rank(1, 1, "b")];
        let group = GroupStatus { name: "g".into(), placement, ..GroupStatus::default() };
        let ray = BTreeSet::from([(None, 0, 0, "a".to_owned()), (None, 0, 1, "b".to_owned())]);
        let pods = [pod("a"), pod("b")];
        assert!(agree(&group, &ray, &pods, 2).is_ok());
        assert!(agree(&group, &ray, &pods, 4).is_err());
        assert!(agree(&group, &ray, &[pod("a"), pod("c")], 2).is_err());
        let moved = BTreeSet::from([(None, 0, 0, "b".to_owned()), (None, 0, 1, "a".to_owned())]);
        assert!(agree(&group, &moved, &pods, 2).is_err());
    }
}
