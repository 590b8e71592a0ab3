//! Plays the scenarios of the simulation on the real local cluster, and compares the two: the final state
//! and the order of phases must be the same.
//!
//! `hack/e2e --scenarios` brings up a cluster, installs Rayfleet and runs them; without `RAYFLEET_E2E=1`
//! they report that they were skipped. Arguments are parts of names, as for `cargo test`; `--list` lists
//! the tests.

mod clients;
mod divergence;
mod end;
mod environment;
mod fixture;
mod runner;
mod victims;
mod watches;

use std::process::ExitCode;

use fixture::Fixture;
use rayfleet_e2e::console::{line, print_error};
use rayfleet_e2e::test_filter::chosen;
use rayfleet_sim::run::scenario::standard;
use runner::run_all;

#[tokio::main]
async fn main() -> ExitCode {
    let all = match standard() {
        Ok(all) => all,
        Err(error) => {
            print_error(format_args!("error: {error}"));
            line("0 passed, 1 failed, 0 skipped");
            return ExitCode::FAILURE;
        }
    };
    let Some(chosen) = chosen(all, |scenario| &scenario.name, |_| false, "hack/e2e --scenarios") else {
        return ExitCode::SUCCESS;
    };
    let fixture = match Fixture::start().await {
        Ok(fixture) => fixture,
        Err(error) => {
            print_error(format_args!("error: the scenarios cannot begin: {error:#}"));
            line(format_args!("0 passed, {} failed, 0 skipped", chosen.len()));
            return ExitCode::FAILURE;
        }
    };
    run_all(&fixture, &chosen).await
}
