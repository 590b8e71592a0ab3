//! Plays one scenario in the simulation and on the real cluster, and reports failures and differences.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::dump::dump;
use rayfleet_e2e::cluster::room::{self, Room, Wanted};
use rayfleet_e2e::cluster::{ready, until};
use rayfleet_sim::run::divergence::{another_end, another_order};
use rayfleet_sim::run::environment::{Environment, play};
use rayfleet_sim::run::oracle::{expected, reached};
use rayfleet_sim::run::{Plan, Report, Scenario, simulated};
use tokio::time::timeout;

use crate::clients::Clients;
use crate::end;
use crate::environment::RealEnvironment;
use crate::fixture::Fixture;

/// Longest time of a scenario, from its creation to the expected final state.
const LIMIT: Duration = Duration::from_mins(20);
/// Longest time from the last step to that state.
const CONVERGES: Duration = Duration::from_mins(8);
/// Longest time until everything has settled: terminating pods, recorded requests in flight.
const RESTS: Duration = Duration::from_secs(90);
/// Seed of the simulation to compare with.
const SEED: u64 = 0;

/// Result of the comparison.
pub(crate) enum Outcome {
    /// No differences.
    Alike,
    /// The scenario cannot be played, and why.
    Skipped(String),
    /// Failures and differences, and diagnostics.
    Different { failures: Vec<String>, dump: String },
}

/// Plays a scenario. An error is a problem of the environment: it could not be set up or cleaned up.
pub(crate) async fn held(fixture: &Fixture, scenario: &Scenario) -> anyhow::Result<Outcome> {
    if let Some(reason) = &scenario.only_simulated {
        return Ok(Outcome::Skipped(reason.clone()));
    }
    let simulation = simulation(scenario).await?;
    if !simulation.failures.is_empty() {
        let failures = vec![format!("the simulation fails by itself: {}", simulation.failures.join("; "))];
        return Ok(Outcome::Different { failures, dump: simulation.text() });
    }
    let room = match Room::shape(&fixture.cluster.client, &wanted(scenario)).await {
        Ok(Ok(room)) => room,
        Ok(Err(too_small)) => return Ok(Outcome::Skipped(too_small.to_string())),
        Err(error) => {
            room::undo(&fixture.cluster.client).await.context("giving the nodes their shape back")?;
            return Err(error.context("shaping the nodes"));
        }
    };
    fixture.console.say(room.words());
    let name = scenario.fleet["metadata"]["name"].as_str().context("the fleet has no metadata.name")?;
    let mut environment = RealEnvironment::new(fixture, name, room, clock::instant());
    let failures = compared(scenario, &simulation, &mut environment).await;
    let dump = if failures.is_empty() { String::new() } else { dump(&fixture.cluster).await };
    tidied(fixture, &mut environment).await.context("tidying up")?;
    if failures.is_empty() { Ok(Outcome::Alike) } else { Ok(Outcome::Different { failures, dump }) }
}

async fn tidied(fixture: &Fixture, environment: &mut RealEnvironment<'_>) -> anyhow::Result<()> {
    let mended = environment.mend_all().await;
    let cleared = fixture.clear(&environment.services).await;
    let undone = room::undo(&fixture.cluster.client).await;
    mended.and(cleared).and(undone)
}

/// The simulation creates its own runtime, so it runs on its own thread.
async fn simulation(scenario: &Scenario) -> anyhow::Result<Report> {
    let scenario = scenario.clone();
    let run = tokio::task::spawn_blocking(move || simulated(&scenario, SEED, &Plan::default()));
    run.await.map_err(|error| anyhow!("the simulation panicked: {error}"))
}

fn wanted(scenario: &Scenario) -> Vec<Wanted> {
    let of = |nodes: &rayfleet_sim::run::scenario::Node| {
        let (gpus, cordoned) = (nodes.gpus, nodes.cordoned);
        nodes.names().into_iter().map(move |name| Wanted { name, gpus, cordoned })
    };
    scenario.nodes.iter().flat_map(of).collect()
}

async fn compared(
    scenario: &Scenario,
    simulation: &Report,
    environment: &mut RealEnvironment<'_>,
) -> Vec<String> {
    let clients =
        Clients::begin(&scenario.load, environment.fixture, &environment.fleet.name, environment.start);
    let mut failures = Vec::new();
    let played = timeout(LIMIT, async {
        play(scenario, environment).await.map_err(|stuck| stuck.to_string())?;
        reached(scenario, environment, CONVERGES).await
    });
    match played.await {
        Ok(Ok(())) => {}
        Ok(Err(stuck)) => failures.push(stuck),
        Err(_) => {
            let now = environment.fleet.find().await.ok().flatten();
            failures.push(format!(
                "not over after {} min, at: {}; the fleet:\n{}",
                LIMIT.as_secs() / 60,
                environment.last_reported,
                now.as_ref().map_or_else(|| "does not exist".to_owned(), ready::words)
            ));
        }
    }
    let is_over = failures.is_empty();
    let addresses = environment.watches.kept().addresses.clone();
    let (tally, words) = clients.stop(&environment.killed, &addresses).await;
    let extremes = environment.watches.kept().extremes;
    environment.log(format!(
        "the end is reached: {words}; at least {:?} groups took traffic, at most {} existed",
        extremes.fewest, extremes.most
    ));
    let status = environment.fleet.find().await.ok().flatten().and_then(|fleet| fleet.status);
    let lost = status.and_then(|status| status.rollout).map_or(0, |rollout| rollout.lost_requests);
    failures.extend(
        expected(scenario, extremes, tally, lost).into_iter().map(|wrong| format!("{wrong} ({words})")),
    );
    if is_over {
        failures.extend(another_end_at_last(simulation, environment).await);
        let kept = environment.watches.kept();
        let order = another_order(&simulation.history, &kept.history);
        if !order.is_empty() && !kept.breaks.is_empty() {
            failures.push(format!("a watch broke, states may have been missed: {}", kept.breaks.join("; ")));
        }
        failures.extend(order);
    }
    failures
}

/// Differences between the final states once everything has settled.
async fn another_end_at_last(simulation: &Report, environment: &RealEnvironment<'_>) -> Vec<String> {
    let mut last = Vec::new();
    let waited = until("the same end", RESTS, async || {
        last = another_end(&simulation.end, &end::picture(&environment.fleet).await?);
        Ok(last.is_empty().then_some(()))
    })
    .await;
    match waited {
        Ok(()) => Vec::new(),
        Err(error) if last.is_empty() => vec![format!("the final state cannot be read: {error:#}")],
        Err(_) => last.into_iter().map(|line| format!("another end: {line}")).collect(),
    }
}
