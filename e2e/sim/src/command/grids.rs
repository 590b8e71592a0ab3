//! `grid`, `soak` and `walk`: many runs, of which only the failing ones are reported in full.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::ensure;
use rayfleet_sim::run::grid::{in_parallel, judged, plans, random};
use rayfleet_sim::run::scenario::standard;
use rayfleet_sim::run::walk::{walk, walked};
use rayfleet_sim::run::{Plan, Report, Scenario, simulated};

use super::arguments::{Grid, Seeds};
use super::say;

/// Runs of the grid by default: what two cores do in half a minute.
const RUNS: usize = 200;
/// Number of failing runs that are reported in full.
const REPORTED: usize = 3;

/// Result of many runs.
#[derive(Default)]
struct Sum {
    passed: usize,
    failed: usize,
    calls: u64,
    writes: usize,
    simulated: Duration,
}

impl Sum {
    fn enter(&mut self, report: &Report) {
        self.calls += report.calls;
        self.writes += report.writes.len();
        self.simulated += report.took;
        if report.failures.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        if self.failed <= REPORTED {
            say(report.text());
        } else {
            say(format_args!("FAILED: {} {}: {}", report.scenario, report.plan, report.failures.join("; ")));
        }
    }

    fn close(&self) -> bool {
        say(format_args!(
            "{} runs, {} API calls, {} writes, {} h simulated",
            self.passed + self.failed,
            self.calls,
            self.writes,
            self.simulated.as_secs() / 3600
        ));
        say(format_args!("{} passed, {} failed, 0 skipped", self.passed, self.failed));
        self.failed == 0
    }
}

fn threads() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Scenario>> {
    let mut all = standard()?;
    for name in names {
        ensure!(
            all.iter().any(|scenario| scenario.name == *name),
            "there is no scenario {name} in e2e/sim/scenarios"
        );
    }
    all.retain(|scenario| names.is_empty() || names.contains(&scenario.name));
    Ok(all)
}

/// The runs without faults, in the order of the scenarios.
fn baselines(scenarios: &[Scenario], seed: u64, sum: &mut Sum) -> Vec<Report> {
    let mut reports = Vec::new();
    let run = |scenario: &Scenario| simulated(scenario, seed, &Plan::default());
    in_parallel(threads(), scenarios, run, |report| reports.push(report));
    reports.sort_by(|a: &Report, b| a.scenario.cmp(&b.scenario));
    for report in &reports {
        sum.enter(report);
    }
    reports
}

fn named<'a>(scenarios: &'a [Scenario], baseline: &Report) -> Option<&'a Scenario> {
    scenarios.iter().find(|scenario| scenario.name == baseline.scenario)
}

pub(super) fn grid(arguments: &Grid) -> anyhow::Result<bool> {
    let scenarios = chosen(&arguments.scenario)?;
    let mut sum = Sum::default();
    let baselines = baselines(&scenarios, arguments.seed, &mut sum);
    let every: usize = baselines.iter().map(|baseline| plans(baseline, 1, 0).len()).sum();
    let stride = if arguments.stride == 0 { u64::try_from(every.div_ceil(RUNS))? } else { arguments.stride };
    let all: Vec<(&Scenario, &Report, Plan)> = baselines
        .iter()
        .filter(|baseline| baseline.failures.is_empty())
        .filter_map(|baseline| Some((named(&scenarios, baseline)?, baseline)))
        .flat_map(|(scenario, baseline)| {
            plans(baseline, stride, arguments.offset).into_iter().map(move |plan| (scenario, baseline, plan))
        })
        .collect();
    say(format_args!(
        "{} scenarios; {every} places for a fault, of which every {stride}. is tried (offset {}): {}",
        scenarios.len(),
        arguments.offset % stride.max(1),
        all.len()
    ));
    let run = |(scenario, baseline, plan): &(&Scenario, &Report, Plan)| judged(scenario, baseline, plan);
    in_parallel(threads(), &all, run, |report| {
        sum.enter(&report);
        if (sum.passed + sum.failed) % 100 == 0 {
            say(format_args!("{} of {} runs, {} failed", sum.passed + sum.failed, all.len(), sum.failed));
        }
    });
    Ok(sum.close())
}

pub(super) fn soak(arguments: &Seeds) -> anyhow::Result<bool> {
    let scenarios = chosen(&arguments.scenario)?;
    let mut sum = Sum::default();
    let seeds: Vec<u64> = (arguments.from..arguments.from.saturating_add(arguments.count)).collect();
    let run = |seed: &u64| {
        let index = usize::try_from(*seed).unwrap_or_default() % scenarios.len();
        let scenario = scenarios.get(index)?;
        let baseline = simulated(scenario, *seed, &Plan::default());
        let plan = random(&baseline, *seed);
        Some(judged(scenario, &baseline, &plan))
    };
    in_parallel(threads(), &seeds, run, |report| {
        if let Some(report) = report {
            sum.enter(&report);
        }
    });
    Ok(sum.close())
}

pub(super) fn walks(arguments: &Seeds) -> anyhow::Result<bool> {
    let base = chosen(&["create".to_owned()])?.remove(0);
    let mut sum = Sum::default();
    let seeds: Vec<u64> = (arguments.from..arguments.from.saturating_add(arguments.count)).collect();
    let run = |seed: &u64| walked(&walk(&base, *seed), *seed);
    in_parallel(threads(), &seeds, run, |report| sum.enter(&report));
    Ok(sum.close())
}
