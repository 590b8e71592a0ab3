//! Every history of small fleets, not a sample: each order of groups that start, fail and go, of passes,
//! crashes and late observations of the controller, and of spec changes. Every pass is the real `decide`. In
//! each reachable state all guarantees hold, and from each of them the fleet settles at its spec, or reports
//! why it cannot.

mod check;
mod happen;
mod world;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use rayfleet_api::ValidFleet;
use rayfleet_api::spec::{OnFailure, StrategyType, WhenNoRoom};
use stateright::{Checker, Model, Property};

use crate::testing::fleet;
use happen::{Action, Change};
use world::{Left, Spec, State};

/// One kind of fleet, and its possible events.
struct Case {
    name: &'static str,
    fleet: ValidFleet,
    /// Number of whole groups for which the nodes have room.
    room: usize,
    left: Left,
    /// The possible specs, in any order.
    changes: Vec<Change>,
    /// Also from the start, not only from a serving fleet.
    from_nothing: bool,
    /// A controller may decide from the state before the last event.
    late: bool,
    /// States from which the fleet is known to settle.
    rests: Mutex<HashSet<u64>>,
}

impl Case {
    /// A fleet of `replicas` groups with these bounds and room for `room` groups, changed to new pods once.
    fn new(name: &'static str, replicas: u32, surge: u32, unavailable: u32, room: usize) -> Self {
        let mut fleet = fleet(replicas);
        let strategy = &mut fleet.strategy;
        (strategy.max_surge, strategy.max_unavailable) = (surge, unavailable);
        // Only waits of seconds pass in the model.
        let never = Duration::from_hours(24_000);
        (fleet.drain_timeout, fleet.failure.hung_after, fleet.progress_deadline) =
            (never, never, Some(never));
        fleet.failure.engine_restarts = 0;
        if let Some(model) = &mut fleet.model {
            model.start_timeout = never;
        }
        let left = Left { changes: 1, faults: 0, crashes: 0 };
        let changes = vec![Change::Pods("pods2")];
        Self { name, fleet, room, left, changes, from_nothing: false, late: false, rests: Mutex::default() }
    }

    fn may(mut self, changes: u8, faults: u8, crashes: u8) -> Self {
        self.left = Left { changes, faults, crashes };
        self
    }

    fn changes(mut self, changes: &[Change]) -> Self {
        self.changes = changes.to_vec();
        self
    }

    fn with(mut self, edit: impl FnOnce(&mut ValidFleet)) -> Self {
        edit(&mut self.fleet);
        self
    }

    fn starting_from_nothing(mut self) -> Self {
        self.from_nothing = true;
        self
    }

    fn late(mut self) -> Self {
        self.late = true;
        self
    }
}

impl Model for Case {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let spec = Spec {
            generation: 1,
            replicas: self.fleet.replicas,
            partition: 0,
            pods: "pods1",
            engine: "eng1",
            paused: false,
        };
        let mut state = State {
            spec,
            status: rayfleet_api::RayClusterFleetStatus::default(),
            groups: std::collections::BTreeMap::new(),
            before: None,
            left: self.left,
            breach: None,
        };
        let empty = self.from_nothing.then(|| state.clone());
        while self.go_on(&mut state) {}
        state.spec.partition = self.fleet.strategy.partition;
        empty.into_iter().chain([state]).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.happen(&mut state, &action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no promise is broken", |_, state: &State| {
                state.breach.as_ref().inspect(|breach| println!("{breach}")).is_none()
            }),
            Property::always("it comes to rest", |case: &Self, state: &State| {
                case.comes_to_rest(state).inspect_err(|why| println!("{why}")).is_ok()
            }),
        ]
    }
}

/// Explores a case completely; returns the number of its states.
fn explore(case: Case) -> usize {
    let name = case.name;
    let checker = case.checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("model: {states:>8} states, depth {depth:>3}: {name}");
    let found = checker.discoveries().into_iter().map(|(property, path)| {
        let actions: Vec<String> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
        format!("{name}: not so: {property}, after\n  {}\n", actions.join("\n  "))
    });
    let found: String = found.collect();
    assert!(found.is_empty(), "{found}");
    states
}

#[test]
fn every_history_keeps_the_guarantees() {
    use Change::{Engine, Pods, Replicas};
    let back = |fleet: &mut ValidFleet| fleet.strategy.on_failure = OnFailure::Rollback;
    let cases = vec![
        Case::new("one group, surge", 1, 1, 0, 2).may(1, 1, 1).starting_from_nothing(),
        Case::new("one group, in place", 1, 0, 1, 1)
            .may(2, 1, 0)
            .changes(&[Pods("pods2"), Engine("eng2")])
            .starting_from_nothing(),
        Case::new("one group, undone or overtaken half way", 1, 1, 0, 2).may(2, 0, 1).changes(&[
            Pods("pods2"),
            Pods("pods1"),
            Pods("pods3"),
        ]),
        Case::new("two groups, surge", 2, 1, 0, 3).may(1, 1, 0),
        Case::new("two groups, in place", 2, 0, 1, 2).may(1, 1, 0),
        Case::new("two groups, surge and one unavailable", 2, 1, 1, 3).may(1, 0, 1),
        Case::new("two groups, room for none more, one unavailable", 2, 1, 1, 2).may(1, 1, 0),
        Case::new("two groups, room for none more, none unavailable", 2, 1, 0, 2).may(1, 1, 1),
        Case::new("two groups that wait for room", 2, 1, 1, 2)
            .may(1, 1, 0)
            .with(|fleet| fleet.strategy.when_no_room = WhenNoRoom::Wait),
        Case::new("two groups that pend for nodes that never come", 2, 1, 1, 2)
            .may(1, 1, 0)
            .with(|fleet| fleet.strategy.when_no_room = WhenNoRoom::Pend),
        Case::new("one group that pends and must not be missing", 1, 1, 0, 1)
            .may(1, 0, 0)
            .changes(&[Pods("pods2")])
            .with(|fleet| fleet.strategy.when_no_room = WhenNoRoom::Pend),
        Case::new("room for fewer groups than asked for", 2, 1, 1, 1).may(1, 1, 0),
        Case::new("engines alone, in place", 2, 0, 1, 2).may(1, 1, 0).changes(&[Engine("eng2")]),
        Case::new("engines alone, with a surge", 2, 1, 0, 3).may(1, 0, 1).changes(&[Engine("eng2")]),
        Case::new("engines, then pods, or the other way", 2, 0, 1, 2)
            .may(2, 0, 0)
            .changes(&[Engine("eng2"), Pods("pods2")]),
        Case::new("scaled half way", 2, 1, 0, 3).may(2, 0, 0).changes(&[
            Pods("pods2"),
            Replicas(1),
            Replicas(2),
        ]),
        Case::new("paused half way", 2, 0, 1, 2).may(2, 0, 0).changes(&[
            Pods("pods2"),
            Change::Paused(true),
            Change::Paused(false),
        ]),
        Case::new("a canary", 2, 0, 1, 2).may(1, 1, 0).with(|fleet| fleet.strategy.partition = 1),
        Case::new("a canary that goes on or is widened", 2, 0, 1, 2)
            .may(2, 0, 0)
            .changes(&[Pods("pods2"), Change::Partition(0), Change::Partition(2)])
            .with(|fleet| fleet.strategy.partition = 1),
        Case::new("recreate", 2, 0, 1, 2)
            .may(1, 1, 0)
            .with(|fleet| fleet.strategy.kind = StrategyType::Recreate),
        Case::new("a bad engine is rolled back", 2, 0, 1, 2)
            .may(1, 0, 1)
            .changes(&[Engine("bad")])
            .with(back),
        Case::new("bad pods are rolled back with a surge", 2, 1, 0, 3)
            .may(1, 0, 0)
            .changes(&[Pods("bad")])
            .with(back),
        Case::new("a rollback is undone or overtaken", 1, 0, 1, 1)
            .may(2, 0, 1)
            .changes(&[Engine("bad"), Pods("pods2"), Engine("eng1")])
            .with(back),
        Case::new("a late watch, surge", 1, 1, 0, 2).may(1, 1, 0).late(),
        Case::new("a late watch, in place", 1, 0, 1, 1).may(1, 1, 1).late(),
    ];
    let count = cases.len();
    let states: usize = cases.into_iter().map(explore).sum();
    println!("NOTE: model checking: {states} states of {count} kinds of fleets, every promise kept in each");
}
