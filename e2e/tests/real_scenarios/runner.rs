//! Plays scenarios one after the other, and reports the results.

use std::process::ExitCode;

use rayfleet_e2e::clock;
use rayfleet_e2e::console::{line, print_error};
use rayfleet_sim::run::Scenario;

use crate::divergence::{Outcome, held};
use crate::fixture::Fixture;

pub(crate) async fn run_all(fixture: &Fixture, scenarios: &[Scenario]) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut times = Vec::new();
    for scenario in scenarios {
        let name = &scenario.name;
        line(format_args!("test {name} ... {}", scenario.about));
        let start = clock::instant();
        let outcome = held(fixture, scenario).await;
        let seconds = clock::seconds_since(start);
        let word = match &outcome {
            Ok(Outcome::Alike) => "ok",
            Ok(Outcome::Skipped(_)) => "skipped",
            Ok(Outcome::Different { .. }) | Err(_) => "FAILED",
        };
        line(format_args!("test {name} ... {word} ({seconds:.1} s)"));
        times.push(format!("{seconds:7.1} s  {word:<7}  {name}"));
        match outcome {
            Ok(Outcome::Alike) => passed += 1,
            Ok(Outcome::Skipped(reason)) => {
                skipped += 1;
                line(format_args!("  why: {reason}"));
                times.extend([format!("                      {reason}")]);
            }
            Ok(Outcome::Different { failures, dump }) => {
                failed += 1;
                for failure in failures {
                    print_error(format_args!("error: {name}: {failure}"));
                }
                print_error(format_args!(
                    "the simulated one, line by line: cargo run -p rayfleet-sim -- run e2e/sim/scenarios/{name}.yaml --seed 0"
                ));
                print_error(dump);
            }
            Err(error) => {
                let left = scenarios.len() - passed - failed - skipped;
                failed += left;
                print_error(format_args!("error: {name}: {error:#}"));
                print_error(format_args!(
                    "the namespace could not be cleared: the remaining {} are not run",
                    left - 1
                ));
                break;
            }
        }
    }
    if let Err(error) = fixture.end().await {
        print_error(format_args!("error: {error:#}"));
        failed += 1;
    }
    line("");
    times.iter().for_each(line);
    line(format_args!("{passed} passed, {failed} failed, {skipped} skipped"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
