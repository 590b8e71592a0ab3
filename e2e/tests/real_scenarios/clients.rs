//! The load of a scenario, with the outcome of its requests counted as in the simulation.

use std::time::{Duration, Instant};

use rayfleet_e2e::cluster::Cluster;
use rayfleet_e2e::cluster::addresses::Addresses;
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::tools::Tools;
use rayfleet_e2e::load::{Death, Failure, Load, Losses, Plan, Share, served_model};
use rayfleet_sim::run::report::Tally;
use rayfleet_sim::run::scenario;
use tokio::task::JoinHandle;

use crate::fixture::Fixture;

/// Longest wait for an answer, or for its next chunk.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for open requests when the load is stopped.
const LAST: Duration = Duration::from_mins(2);

/// A server that a scenario killed: its requests in flight may be lost.
#[derive(Clone, Debug)]
pub(crate) struct Killed {
    /// Name of the head pod.
    pub(crate) server: String,
    /// Its IP address.
    pub(crate) ip: String,
    /// Cause of its death.
    pub(crate) cause: String,
    /// Earliest possible time of its death.
    pub(crate) from: Instant,
}

/// A load that starts once requests are answered.
pub(crate) struct Clients {
    start: Instant,
    started: Option<JoinHandle<(Load, Endpoint)>>,
}

impl Clients {
    /// Starts as soon as the Service of this name answers. `start` is the start of the scenario.
    pub(crate) fn begin(load: &scenario::Load, fixture: &Fixture, service: &str, start: Instant) -> Self {
        let wanted = load.fresh + load.kept > 0;
        let started = wanted.then(|| {
            let task =
                when_taken(fixture.cluster.clone(), fixture.tools.clone(), service.to_owned(), load.clone());
            tokio::spawn(task)
        });
        Self { start, started }
    }

    /// Waits for open requests, counts outcomes, and reports failures.
    pub(crate) async fn stop(self, killed: &[Killed], addresses: &Addresses) -> (Tally, String) {
        let Some(task) = self.started else { return (Tally::default(), String::new()) };
        if !task.is_finished() {
            task.abort();
        }
        // No request was ever accepted: nothing was sent.
        let Ok((load, _endpoint)) = task.await else { return (Tally::default(), String::new()) };
        let started = seconds(self.start, load.started());
        let report = load.stop(LAST).await;
        let deaths: Vec<Death> =
            killed.iter().map(|killed| death(killed, self.start, started, addresses)).collect();
        let losses = Losses::of(&report, &deaths);
        // The simulation's clients wait while the Service has no address; these are rejected by the
        // network.
        let waited =
            |failure: &&Failure| failure.server.is_none() && addresses.may_be_empty(failure.at + started);
        let (nobody, others): (Vec<&Failure>, Vec<&Failure>) = losses.others.iter().partition(waited);
        let refused = others.iter().filter(|failure| failure.reason.starts_with("connect")).count();
        let died: usize = losses.by_death.iter().map(|cost| cost.cut_off + cost.unanswered).sum();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let whole = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let answered = whole(report.sent.saturating_sub(report.failed + report.open));
        // A request that never ends counts as cut off, and so does a failure that was not kept.
        let cut_off = count(others.len() - refused).saturating_add(whole(report.open + losses.unknown));
        let tally = Tally { answered, died: count(died), cut_off, refused: count(refused) };
        let first: String =
            others.iter().take(5).fold(String::new(), |text, failure| text + "\n  " + &failure.to_string());
        let words = format!(
            "{answered} requests answered, {died} lost by deaths, {} while no group was ready, {cut_off} cut off, \
             {refused} refused{first}",
            nobody.len()
        );
        (tally, words)
    }
}

fn death(killed: &Killed, start: Instant, started: f64, addresses: &Addresses) -> Death {
    let from = seconds(start, killed.from);
    Death {
        server: killed.server.clone(),
        cause: killed.cause.clone(),
        from: from - started,
        until: addresses.let_go(&killed.ip, from).map(|until| until - started),
    }
}

fn seconds(start: Instant, moment: Instant) -> f64 {
    moment.saturating_duration_since(start).as_secs_f64()
}

async fn when_taken(
    cluster: Cluster,
    tools: Tools,
    service: String,
    load: scenario::Load,
) -> (Load, Endpoint) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        let Ok(endpoint) = Endpoint::of(&cluster, &service, &tools).await else { continue };
        let Ok(model) = served_model(&endpoint.target, Duration::from_secs(3)).await else { continue };
        let none = Share { fresh: 0, kept: 0, pause: Duration::ZERO, tokens: 0 };
        let stream = Share { fresh: load.fresh, kept: load.kept, pause: load.pause.0, tokens: load.tokens };
        let target = endpoint.target.clone();
        let plan = Plan { target, model, short: none, stream, patience: PATIENCE };
        return (Load::start(&plan), endpoint);
    }
}
