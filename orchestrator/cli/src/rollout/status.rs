//! `rollout status`: waits, and prints each new step.

use std::time::Duration;

use rayfleet_cli_kit::{CliError, Terminal, age, clock};

use super::progress::{Progress, progress};
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::rollout::args::RolloutStatusArgs;
use crate::view::Fleet;

pub(crate) async fn run(
    args: &RolloutStatusArgs,
    fleets: &Fleets,
    terminal: &Terminal,
) -> Result<(), CliError> {
    // Nothing changes in a bundle.
    if !args.watch || fleets.recorded {
        return match progress(&Fleet::read(&fleets.get(&args.fleet).await?)) {
            // What would be waited for has not come.
            Progress::Waiting(line) if args.watch => {
                terminal.print(&format!("{line}\n")).and(Err(CliError::said()))
            }
            Progress::Complete(line) | Progress::Waiting(line) => terminal.print(&format!("{line}\n")),
            Progress::Failed(line) => Err(failed(fleets, &args.fleet, &line)),
        };
    }
    let mut last = String::new();
    let wait = wait(&args.fleet, fleets, terminal, &mut last);
    if args.timeout == Duration::ZERO {
        return wait.await;
    }
    if let Ok(outcome) = tokio::time::timeout(args.timeout, wait).await {
        return outcome;
    }
    let spent = age::span(args.timeout);
    Err(failed(fleets, &args.fleet, &format!("timed out after {spent}: {}", last.replace("\n  ", "; "))))
}

/// Waits for the end. `last` is the last printed line, also if this future is dropped.
async fn wait(name: &str, fleets: &Fleets, terminal: &Terminal, last: &mut String) -> Result<(), CliError> {
    let start = clock::now();
    let mut follow = Follow::new(fleets, Scope::One(name));
    loop {
        let Some(object) = follow.next().await?.values().next() else {
            return Err(error::gone(name, &fleets.namespace, !last.is_empty()));
        };
        match progress(&Fleet::read(object)) {
            Progress::Complete(line) => {
                let took = if last.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", age::since(Some(start), clock::now()))
                };
                return terminal.print(&format!("{line}{took}\n"));
            }
            Progress::Failed(line) => return Err(failed(fleets, name, &line)),
            Progress::Waiting(line) => {
                if line != *last {
                    let spent = age::since(Some(start), clock::now());
                    terminal.print(&format!("[{spent:>5}] {line}\n"))?;
                    *last = line;
                }
            }
        }
    }
}

fn failed(fleets: &Fleets, fleet: &str, line: &str) -> CliError {
    let fleet = fleets.named(fleet);
    CliError::failed(
        line,
        format!(
            "see the groups: kubectl rayfleet status {fleet}; go back: kubectl rayfleet rollout undo {fleet}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use rayfleet_cli_kit::Format;
    use rayfleet_cli_kit::testing::Kept;
    use rayfleet_sim_kube::api::Kind;
    use serde_json::json;

    use super::*;
    use crate::sample;
    use crate::simulated::Simulated;

    fn args(watch: bool, timeout: u64) -> RolloutStatusArgs {
        RolloutStatusArgs { fleet: "llama".into(), watch, timeout: Duration::from_secs(timeout) }
    }

    #[tokio::test(start_paused = true)]
    async fn rollout_status_waits_until_complete() {
        let server = Simulated::with([sample::upgrading()]);
        let completion = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let status = json!({
                "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "rollout": {"step": "Complete"}
            });
            server
                .0
                .merge_patch_status(&Kind::FLEET, "serving", "llama", &json!({"status": status}))
                .unwrap();
        };
        let (kept, fleets) = (Kept::default(), server.fleets());
        let terminal = kept.terminal(Format::Text);
        let (outcome, ()) = futures::future::join(run(&args(true, 60), &fleets, &terminal), completion).await;
        outcome.unwrap();
        let text = kept.out();
        assert!(text.contains("draining 3 requests\n"), "{text}");
        assert!(text.contains("\nfleet \"llama\" successfully rolled out ("), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_prints_the_last_step() {
        let server = Simulated::with([sample::upgrading()]);
        let fault = run(&args(true, 90), &server.fleets(), &Kept::default().terminal(Format::Text))
            .await
            .unwrap_err();
        insta::assert_snapshot!(fault);
    }

    #[tokio::test]
    async fn without_a_watch_rollout_status_returns_at_once() {
        let server = Simulated::with([sample::upgrading()]);
        run(&args(false, 0), &server.fleets(), &Kept::default().terminal(Format::Text)).await.unwrap();
    }

    #[tokio::test]
    async fn of_a_bundle_what_is_not_complete_is_said_by_the_exit_code() {
        let server = Simulated::with([sample::upgrading()]);
        let (kept, fleets) = (Kept::default(), Fleets { recorded: true, ..server.fleets() });
        let fault = run(&args(true, 0), &fleets, &kept.terminal(Format::Text)).await.unwrap_err();
        assert!(fault.code() == 1 && fault.message.is_empty(), "{fault}");
        assert!(kept.out().contains("draining 3 requests"), "{}", kept.out());
        run(&args(false, 0), &fleets, &kept.terminal(Format::Text)).await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_fleet_is_an_error() {
        let server = Simulated::with([]);
        let fault = run(&args(true, 0), &server.fleets(), &Kept::default().terminal(Format::Text))
            .await
            .unwrap_err()
            .to_string();
        assert!(fault.contains("\"llama\" not found in namespace \"serving\""), "{fault}");
    }
}
