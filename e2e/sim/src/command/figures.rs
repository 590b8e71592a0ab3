//! `figures`: what a group costs in writes, and how fast the simulation is.

use std::time::Duration;

use anyhow::Context;
use rayfleet_sim::run::scenario::{Length, Step, standard};
use rayfleet_sim::run::world::{Rest, run};
use rayfleet_sim::run::{Plan, Report, Scenario, simulated};
use serde_json::json;

use super::say;

/// Number of runs over which the speed is measured.
const SPEED: u64 = 10;

/// Groups of the fleets whose writes are counted.
const SIZES: [u32; 3] = [1, 2, 10];

pub(super) fn figures() -> anyhow::Result<bool> {
    let scenarios = standard()?;
    let named =
        |name: &str| scenarios.iter().find(|scenario| scenario.name == name).with_context(|| name.to_owned());
    let (create, upgrade, swap) = (named("create")?, named("upgrade-surge")?, named("engine-only")?);
    say("writes per group          created  upgraded, other pods  upgraded, engine alone");
    let mut failures = Vec::new();
    for size in SIZES {
        let mut cost = |scenario: &Scenario| {
            let report = simulated(&sized(scenario, size), 1, &Plan::default());
            let writes = writes(&report);
            failures.extend(report.failures);
            writes
        };
        let made = cost(create);
        let upgraded = [cost(upgrade), cost(swap)].map(|all| per(all.saturating_sub(made), size));
        let [other_pods, engine_alone] = upgraded;
        let of = if size == 1 { "fleet of 1 group".to_owned() } else { format!("fleet of {size} groups") };
        say(format_args!("{of:<24}  {:>7.1}  {other_pods:>20.1}  {engine_alone:>22.1}", per(made, size)));
    }
    let resting = run(create, 1, &Plan::default(), Rest::Long);
    let rest = resting.failures.iter().filter(|failure| failure.contains("at rest")).count();
    say(format_args!("writes in nine minutes at rest          {:>8}", if rest == 0 { "0" } else { "some" }));
    failures.extend(resting.failures);
    speed(upgrade);
    for failure in &failures {
        say(format_args!("FAILED: {failure}"));
    }
    Ok(failures.is_empty())
}

/// The scenario with `groups` groups, all created at once, and with room for one more.
fn sized(scenario: &Scenario, groups: u32) -> Scenario {
    let mut sized = scenario.unbounded();
    sized.fleet["spec"]["replicas"] = json!(groups);
    sized.expect.ready = groups;
    for step in &mut sized.steps {
        if let Step::Until(until) = step {
            until.updated = until.updated.map(|_| groups);
            until.groups = until.groups.and_then(|_| usize::try_from(groups).ok());
        }
    }
    for nodes in &mut sized.nodes {
        nodes.count = groups + 1;
    }
    // A small fleet is complete before its first request is answered.
    sized.steps.push(Step::Wait(Length(Duration::from_secs(10))));
    sized
}

/// Number of writes in a run, without Events.
fn writes(report: &Report) -> usize {
    report.writes.iter().filter(|write| !write.is_event).count()
}

fn per(count: usize, groups: u32) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from) / f64::from(groups.max(1))
}

fn speed(scenario: &Scenario) {
    let watch = Stopwatch::start();
    let (mut calls, mut simulated_time) = (0, Duration::ZERO);
    for seed in 1..=SPEED {
        let report = simulated(scenario, seed, &Plan::default());
        calls += report.calls;
        simulated_time += report.took;
    }
    let seconds = watch.seconds();
    let calls = u32::try_from(calls).map_or(f64::MAX, f64::from);
    let runs = u32::try_from(SPEED).map_or(f64::MAX, f64::from);
    say(format_args!("API calls per second, on one core       {:>8.0}", calls / seconds));
    say(format_args!(
        "simulated seconds per second            {:>8.0}",
        simulated_time.as_secs_f64() / seconds
    ));
    say(format_args!("seeds per minute, on one core           {:>8.0}", runs * 60.0 / seconds));
}

/// Real time, for measurements of the simulation itself.
struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[allow(clippy::disallowed_methods, reason = "nothing in a run sees this time")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    #[allow(clippy::disallowed_methods, reason = "nothing in a run sees this time")]
    fn seconds(&self) -> f64 {
        std::time::Instant::now().saturating_duration_since(self.0).as_secs_f64()
    }
}
