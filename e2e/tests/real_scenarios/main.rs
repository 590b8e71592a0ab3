//! Plays the scenarios of the simulation on the real local cluster, and holds the two against each other: the end and the
//! order of phases must be the same.
//!
//! `hack/e2e --scenarios` brings up a cluster, installs Rayfleet and runs them; without `RAYFLEET_E2E=1` they say that they
//! were skipped. Arguments are parts of names, as for `cargo test`; `--list` lists.

mod clients;
mod end;
mod likeness;
mod runner;
mod stage;
mod stand;
mod victims;
mod watches;

use std::process::ExitCode;

use rayfleet_e2e::console::{complain, line};
use rayfleet_sim::run::scenario::standard;
use runner::run_all;
use stand::Stand;

const GATE: &str = "RAYFLEET_E2E";

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut chosen = match standard() {
        Ok(all) => all,
        Err(error) => {
            complain(format_args!("error: {error}"));
            line("0 passed, 1 failed, 0 skipped");
            return ExitCode::FAILURE;
        }
    };
    chosen.retain(|scenario| {
        wanted.is_empty() || wanted.iter().any(|part| scenario.name.contains(part.as_str()))
    });
    if args.iter().any(|arg| arg == "--list") {
        for scenario in &chosen {
            line(format_args!("{}: test", scenario.name));
        }
        return ExitCode::SUCCESS;
    }
    if std::env::var(GATE).as_deref() != Ok("1") {
        for scenario in &chosen {
            line(format_args!("test {} ... skipped", scenario.name));
        }
        line(format_args!(
            "skipped: these tests need a cluster: run hack/e2e --scenarios (it sets {GATE}=1)"
        ));
        line(format_args!("0 passed, 0 failed, {} skipped", chosen.len()));
        return ExitCode::SUCCESS;
    }
    let stand = match Stand::start().await {
        Ok(stand) => stand,
        Err(error) => {
            complain(format_args!("error: the scenarios can not begin: {error:#}"));
            line(format_args!("0 passed, {} failed, 0 skipped", chosen.len()));
            return ExitCode::FAILURE;
        }
    };
    run_all(&stand, &chosen).await
}
