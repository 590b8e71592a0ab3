//! Chooses the units that hold the stages of one pipeline: the cheapest choice, by dynamic programming over
//! the tree. It works with capacities in stages, not with GPUs.
//!
//! A hop costs 2ⁿ, where n is the level of the innermost domain that contains both ends; within a unit it is
//! free. For a given set of units, no order of stages is cheaper than traversing the tree domain by domain:
//! each used domain must be entered at least once, and this order enters each exactly once, on all levels.
//! The hops of that order cost one `hop(d)` for each used item of each used domain `d`, less one: a sum over
//! the tree. So
//!
//! ```text
//! cost(d, s) = min over rooms that add up to s or more of
//!              Σ used items (cost(item, room) + hop(d))  −  hop(d)
//! ```
//!
//! is exact, and minimising over the items one after the other (a knapsack) takes O(items × stages). Costs
//! are compared as `(nodes to avoid, hops, head not used, tie-breaker)`; each part is a sum of the same form,
//! so each is minimal given those before it.

use std::collections::HashMap;
use std::ops::Add;

use super::Strategy;
use super::topology::{CLUSTER, Item, Topology};

/// How many stages a unit can hold if `avoided` of its avoided nodes are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) stages: u32,
    pub(super) avoided: u32,
}

/// A unit as the search knows it. `rooms` is increasing in both numbers and may be empty.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    pub(super) head: bool,
    pub(super) rooms: Vec<Room>,
}

/// A unit chosen for the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) unit: usize,
    /// Stages that it holds.
    pub(super) stages: u32,
    /// How many of its avoided nodes may be used.
    pub(super) avoided: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    avoided: i64,
    hops: i64,
    head: i64,
    tie: i64,
}

/// Least cost of a domain for 0, 1, 2… stages, up to its capacity.
struct Table {
    best: Vec<Cost>,
    /// For each item and number of stages: 0 if the item is not used, else 1 + the index of its candidate.
    picks: Vec<Vec<u16>>,
}

struct Candidate {
    stages: usize,
    cost: Cost,
}

/// The cheapest units for a pipeline of `stages`, in pipeline order; `None` if they do not fit. Every unit
/// holds as many stages as it can, the last one the rest.
pub(super) fn choose(
    tree: &Topology<'_>,
    rooms: &[Rooms],
    stages: u32,
    strategy: Strategy,
) -> Option<Vec<Chosen>> {
    let run = |most| Run { tree, rooms, stages: stages as usize, most, strategy };
    let free = run(stages);
    let tables = free.tables();
    let least = tables[CLUSTER].best.get(free.stages)?;
    if strategy == Strategy::Pack {
        return Some(free.chosen(&tables));
    }
    // The fewest stages on the fullest unit that need no more avoided nodes.
    let (mut low, mut high) = (1, stages);
    let fits =
        |most| run(most).tables()[CLUSTER].best.get(free.stages).is_some_and(|c| c.avoided <= least.avoided);
    while low < high {
        let middle = u32::midpoint(low, high);
        if fits(middle) { high = middle } else { low = middle + 1 }
    }
    let even = run(high);
    Some(even.chosen(&even.tables()))
}

/// One search.
struct Run<'r> {
    tree: &'r Topology<'r>,
    rooms: &'r [Rooms],
    stages: usize,
    /// The most stages that any unit may hold.
    most: u32,
    strategy: Strategy,
}

impl Run<'_> {
    fn tables(&self) -> Vec<Table> {
        let mut tables: Vec<Table> = Vec::new();
        tables.resize_with(self.tree.domains.len(), || Table { best: Vec::new(), picks: Vec::new() });
        // Inner domains are stored after outer ones.
        for domain in (0..tables.len()).rev() {
            tables[domain] = self.table(domain, &tables);
        }
        tables
    }

    fn table(&self, domain: usize, inner: &[Table]) -> Table {
        let of = &self.tree.domains[domain];
        let mut table = Table { best: vec![Cost::default()], picks: Vec::with_capacity(of.items.len()) };
        let mut alike: HashMap<(u32, u32, bool), usize> = HashMap::new();
        let mut candidates = Vec::new();
        let mut room = 0;
        for item in &of.items {
            candidates.clear();
            match *item {
                Item::Unit(unit) => {
                    let rooms = &self.rooms[unit];
                    room += rooms.rooms.last().map_or(0, |most| i64::from(most.stages));
                    if !self.is_one_too_many(rooms, &mut alike) {
                        candidates.extend(rooms.rooms.iter().map(|room| self.of_unit(*room, rooms.head)));
                    }
                }
                Item::Domain(id) => {
                    let costs = inner[id].best.iter().enumerate().skip(1);
                    candidates.extend(costs.map(|(stages, cost)| Candidate { stages, cost: *cost }));
                }
            }
            for candidate in &mut candidates {
                candidate.cost.hops += of.hop();
            }
            table.add(&candidates, self.stages);
        }
        for cost in table.best.iter_mut().skip(1) {
            cost.hops -= of.hop();
            if domain != CLUSTER && self.strategy == Strategy::Pack {
                cost.tie += room;
            }
        }
        table
    }

    /// Of units that are all alike a pipeline needs only a bounded number, so the first ones suffice.
    fn is_one_too_many(&self, rooms: &Rooms, alike: &mut HashMap<(u32, u32, bool), usize>) -> bool {
        let [room] = rooms.rooms.as_slice() else {
            return false;
        };
        let so_far = alike.entry((room.stages, room.avoided, rooms.head)).or_default();
        *so_far += 1;
        (*so_far - 1).saturating_mul(room.stages.min(self.most) as usize) >= self.stages
    }

    fn of_unit(&self, room: Room, head: bool) -> Candidate {
        let tie = match self.strategy {
            Strategy::Pack => i64::from(room.stages),
            Strategy::Spread => i64::from(u32::MAX) - i64::from(room.stages) + 1,
        };
        let cost = Cost { avoided: i64::from(room.avoided), hops: 0, head: -i64::from(head), tie };
        Candidate { stages: room.stages.min(self.most) as usize, cost }
    }

    /// Reads the cheapest choice back from the tables.
    fn chosen(&self, tables: &[Table]) -> Vec<Chosen> {
        let mut chosen = Vec::new();
        self.read(CLUSTER, self.stages, tables, &mut chosen);
        let mut left = u32::try_from(self.stages).unwrap_or(u32::MAX);
        // Found from the last to the first.
        chosen.reverse();
        for unit in &mut chosen {
            unit.stages = unit.stages.min(self.most).min(left);
            left -= unit.stages;
        }
        chosen
    }

    fn read(&self, domain: usize, stages: usize, tables: &[Table], chosen: &mut Vec<Chosen>) {
        let mut left = stages;
        let items = self.tree.domains[domain].items.iter().zip(&tables[domain].picks);
        for (item, picks) in items.rev() {
            let pick = usize::from(picks.get(left).copied().unwrap_or_default());
            if left == 0 || pick == 0 {
                continue;
            }
            match *item {
                Item::Unit(unit) => {
                    let room = self.rooms[unit].rooms[pick - 1];
                    chosen.push(Chosen { unit, stages: room.stages, avoided: room.avoided });
                    left = left.saturating_sub(room.stages.min(self.most) as usize);
                }
                Item::Domain(id) => {
                    self.read(id, pick, tables, chosen);
                    left -= pick;
                }
            }
        }
    }
}

impl Table {
    /// Adds one more item. On a tie the earlier items are kept.
    fn add(&mut self, candidates: &[Candidate], stages: usize) {
        let Some(largest) = candidates.iter().map(|c| c.stages).max() else {
            self.picks.push(Vec::new());
            return;
        };
        let most = (self.best.len() - 1 + largest).min(stages);
        let mut picks = vec![0; most + 1];
        let known = self.best.len();
        self.best.resize(most + 1, Cost::default());
        for wanted in (1..=most).rev() {
            let mut best = (wanted < known).then(|| self.best[wanted]);
            for (pick, candidate) in (1..).zip(candidates) {
                let before = wanted.saturating_sub(candidate.stages);
                if before >= known {
                    continue;
                }
                let cost = self.best[before] + candidate.cost;
                if best.is_none_or(|best| cost < best) {
                    best = Some(cost);
                    picks[wanted] = pick;
                }
            }
            self.best[wanted] = best.unwrap_or_default();
        }
        self.picks.push(picks);
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            avoided: self.avoided + other.avoided,
            hops: self.hops + other.hops,
            head: self.head + other.head,
            tie: self.tie + other.tie,
        }
    }
}
