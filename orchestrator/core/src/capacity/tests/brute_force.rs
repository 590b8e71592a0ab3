//! The search for room against all assignments of pods to nodes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{fits, group, stackable, with, zoned};
use crate::capacity::Capacity;
use crate::testing::{gpu_pod, nodes};

/// Whether any assignment of pods to nodes works.
fn brute_force(pods: &[(u32, bool)], free: &mut [u32], used: &mut Vec<(usize, bool)>) -> bool {
    let Some(((gpus, apart), rest)) = pods.split_first() else { return true };
    (0..free.len()).any(|node| {
        let kept_apart = used.iter().any(|(other, theirs)| *other == node && (*apart || *theirs));
        if free[node] < *gpus || kept_apart {
            return false;
        }
        free[node] -= gpus;
        used.push((node, *apart));
        let works = brute_force(rest, free, used);
        used.pop();
        free[node] += gpus;
        works
    })
}

/// The rule of a group's pods about zones.
#[derive(Clone, Copy, Debug)]
enum Zones {
    Spread(usize),
    Together,
    Apart,
}

impl Zones {
    fn rule(self, mut pod: Value) -> Value {
        match self {
            Self::Spread(skew) => {
                pod["topologySpreadConstraints"] = json!([{"topologyKey": "zone", "maxSkew": skew}]);
                pod
            }
            Self::Together => with(pod, "podAffinity", "zone"),
            Self::Apart => with(pod, "podAntiAffinity", "zone"),
        }
    }

    /// Whether these numbers of pods per zone obey the rule.
    fn kept(self, counts: &BTreeMap<&str, usize>) -> bool {
        let used = counts.values().filter(|count| **count > 0).count();
        let (least, most) = (counts.values().min().unwrap_or(&0), counts.values().max().unwrap_or(&0));
        match self {
            Self::Spread(skew) => most - least <= skew,
            Self::Together => used <= 1,
            Self::Apart => *most <= 1,
        }
    }
}

/// Whether any assignment of pods to nodes obeys a rule about zones.
fn brute_force_zones<'z>(
    pods: &[u32],
    nodes: &mut [(u32, &'z str)],
    counts: &mut BTreeMap<&'z str, usize>,
    rule: Zones,
) -> bool {
    let Some((gpus, rest)) = pods.split_first() else { return rule.kept(counts) };
    (0..nodes.len()).any(|at| {
        let (free, zone) = nodes[at];
        if free < *gpus {
            return false;
        }
        nodes[at].0 -= gpus;
        *counts.entry(zone).or_default() += 1;
        let works = brute_force_zones(rest, nodes, counts, rule);
        *counts.entry(zone).or_default() -= 1;
        nodes[at].0 += gpus;
        works
    })
}

fn zones() -> impl Strategy<Value = Zones> {
    prop_oneof![(1..3_usize).prop_map(Zones::Spread), Just(Zones::Together), Just(Zones::Apart)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_agrees_with_brute_force(
        pods in prop::collection::vec((0..5_u32, any::<bool>()), 1..5),
        mut free in prop::collection::vec(0..7_u32, 1..5),
    ) {
        let spec = |(gpus, apart): &(u32, bool)| if *apart { gpu_pod(*gpus) } else { stackable(*gpus) };
        let shape = group(&pods.iter().map(spec).collect::<Vec<_>>());
        let capacity: Capacity = nodes(&free);
        let found = fits(&shape, &capacity);
        prop_assert_eq!(found.is_ok(), brute_force(&pods, &mut free, &mut Vec::new()));
    }

    #[test]
    fn the_search_agrees_with_brute_force_about_zones(
        pods in prop::collection::vec(1..4_u32, 1..6),
        mut nodes in prop::collection::vec((0..7_u32, prop::sample::select(vec!["a", "b", "c"])), 1..6),
        rule in zones(),
    ) {
        let specs: Vec<Value> = pods.iter().map(|gpus| rule.rule(stackable(*gpus))).collect();
        let found = fits(&group(&specs), &zoned(&nodes));
        // Zones without room for any pod of the group do not count for the skew.
        let least = pods.iter().min().copied().unwrap_or_default();
        let mut counts: BTreeMap<_, _> =
            nodes.iter().filter(|(free, _)| *free >= least).map(|(_, zone)| (*zone, 0)).collect();
        if let Ok(places) = &found {
            let (mut counts, mut nodes) = (counts.clone(), nodes.clone());
            for (gpus, place) in pods.iter().zip(places) {
                let (free, zone) = &mut nodes[place.strip_prefix("node-").unwrap().parse::<usize>().unwrap()];
                *counts.entry(*zone).or_default() += 1;
                *free = free.checked_sub(*gpus).unwrap();
            }
            prop_assert!(rule.kept(&counts), "{counts:?}");
        }
        prop_assert_eq!(found.is_ok(), brute_force_zones(&pods, &mut nodes, &mut counts, rule));
    }
}
