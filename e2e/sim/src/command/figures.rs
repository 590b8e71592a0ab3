//! `figures`: what a group costs, and how fast the simulation is.

use std::time::Duration;

use anyhow::Context;
use rayfleet_sim::run::scenario::standard;
use rayfleet_sim::run::world::{Rest, run};
use rayfleet_sim::run::{Plan, Report, Scenario, simulated};

use super::say;

/// Runs over which the speed is measured.
const SPEED: u64 = 10;

pub(super) fn figures() -> anyhow::Result<bool> {
    let scenarios = standard()?;
    let named =
        |name: &str| scenarios.iter().find(|scenario| scenario.name == name).with_context(|| name.to_owned());
    let create = run(named("create")?, 1, &Plan::default(), Rest::Long);
    let upgrade = simulated(named("upgrade-surge")?, 1, &Plan::default());
    let swap = simulated(named("engine-only")?, 1, &Plan::default());
    let made = writes(&create);
    say(format_args!("writes per group created                {:>8.1}", per(made, create.groups)));
    say(format_args!(
        "writes per group upgraded, other pods   {:>8.1}",
        per(writes(&upgrade).saturating_sub(made), 2)
    ));
    say(format_args!(
        "writes per group upgraded, engine alone {:>8.1}",
        per(writes(&swap).saturating_sub(made), 2)
    ));
    let rest = create.failures.iter().filter(|failure| failure.contains("at rest")).count();
    say(format_args!("writes in nine minutes at rest          {:>8}", if rest == 0 { "0" } else { "some" }));
    speed(named("upgrade-surge")?);
    let reports = [create, upgrade, swap];
    reports
        .iter()
        .flat_map(|report| &report.failures)
        .for_each(|failure| say(format_args!("FAILED: {failure}")));
    Ok(reports.iter().all(|report| report.failures.is_empty()))
}

/// Writes of a run, events left out.
fn writes(report: &Report) -> usize {
    report.writes.iter().filter(|write| !write.is_event).count()
}

fn per(count: usize, of: usize) -> f64 {
    let number = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
    number(count) / number(of).max(1.0)
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

/// The machine's own time, for what is measured of the simulation itself.
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
