//! `run`: one scenario, reported in full.

use rayfleet_sim::run::grid::judged;
use rayfleet_sim::run::shrink::{kinds, shrink};
use rayfleet_sim::run::world::{Rest, run as play};
use rayfleet_sim::run::{Plan, Report, Scenario, simulated};

use super::arguments::Run;
use super::say;

pub(super) fn run(arguments: &Run) -> anyhow::Result<bool> {
    if arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new("info,kube_client=warn,kube_runtime=warn"))
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let mut scenario = Scenario::read(&arguments.file)?;
    let numbers = 1..=scenario.steps.len();
    let steps = numbers.zip(scenario.steps).filter(|(number, _)| !arguments.skip_steps.contains(number));
    scenario.steps = steps.map(|(_, step)| step).collect();
    let report = one(&scenario, arguments.seed, &arguments.faults, arguments.rest);
    say(report.text());
    if report.failures.is_empty() {
        let writes = report.writes.len();
        say(format_args!("well: {writes} writes, {} calls, {:.0?} simulated", report.calls, report.took));
        return Ok(true);
    }
    if arguments.shrink {
        let wrong = kinds(&report.failures);
        let fails = |scenario: &Scenario, plan: &Plan| {
            !kinds(&one(scenario, arguments.seed, plan, arguments.rest).failures).is_disjoint(&wrong)
        };
        let (smaller, plan) = shrink(&scenario, &arguments.faults, fails);
        say(format_args!("it still fails with the faults {plan:?} and these steps:"));
        for step in &smaller.steps {
            say(format_args!("  {step:?}"));
        }
        say(one(&smaller, arguments.seed, &plan, arguments.rest).text());
    }
    Ok(false)
}

/// One run, compared with the one without faults if there are any.
fn one(scenario: &Scenario, seed: u64, plan: &Plan, rest: bool) -> Report {
    if plan.0.is_empty() {
        return play(scenario, seed, plan, if rest { Rest::Long } else { Rest::Short });
    }
    judged(scenario, &simulated(scenario, seed, &Plan::default()), plan)
}
