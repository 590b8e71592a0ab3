//! `kubectl rayfleet plan` before each of a row of changes, and what then happens: the same steps, as many groups ready and in
//! existence, and the time.

use std::time::Duration;

use anyhow::{Context, ensure};
use rayfleet_e2e::changes::compared::{Compared, Happened, table};
use rayfleet_e2e::changes::{Change, changes, first};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::availability::Availability;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::journal::Journal;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::plan_check::predict_any;
use rayfleet_e2e::cluster::ray_clusters::RayClusters;
use rayfleet_e2e::cluster::steps::What;
use rayfleet_e2e::cluster::until;

use crate::light::{self, BRING_UP};
use crate::suite::Suite;

const COMMAND: Duration = Duration::from_mins(1);
const FIRST_LOOK: Duration = Duration::from_secs(30);
const CHANGE: Duration = Duration::from_mins(5);

pub(crate) async fn agrees(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let mut manifest = first()?;
    let fleet = suite.fleet(manifest.name()?);
    apply(suite, &manifest).await?;
    light::settle(suite, &fleet, BRING_UP).await?;
    let mut all = Vec::new();
    let mut wrong = Vec::new();
    for change in changes() {
        manifest = change.applied_to(manifest)?;
        suite.console.say(format_args!("== {}", change.name));
        let (compared, journal) =
            carried_out(suite, &fleet, &change, &manifest).await.with_context(|| change.name)?;
        for difference in compared.differences() {
            wrong.push(format!("{}: {difference}\n{journal}", change.name));
        }
        all.push(compared);
    }
    for line in table(&all).lines() {
        suite.console.say(line);
    }
    fleet.delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await?;
    ensure!(wrong.is_empty(), "plans were wrong:\n{}", wrong.join("\n"));
    Ok(())
}

/// As people do it, so that the plan and the change start from the same: what was applied last.
async fn apply(suite: &Suite, manifest: &Manifest) -> anyhow::Result<()> {
    suite.tools.run(&["apply", "-f", "-"], Some(&manifest.fleet.to_string()), COMMAND).await.map(drop)
}

async fn carried_out(
    suite: &Suite,
    fleet: &Fleet,
    change: &Change,
    manifest: &Manifest,
) -> anyhow::Result<(Compared, String)> {
    let (journal, availability) = (Journal::watch(fleet), Availability::watch(fleet, &fleet.name));
    let clusters = RayClusters::watch(fleet);
    until("a first state of the fleet", FIRST_LOOK, async || {
        let all = journal.has_started() && availability.so_far().is_whole() && clusters.has_started();
        Ok(all.then_some(()))
    })
    .await?;
    let planned = predict_any(&suite.tools, manifest).await?;
    let start = clock::instant();
    apply(suite, manifest).await?;
    let what = format!("be {}", change.end.as_str());
    let ended =
        fleet.follow(&what, CHANGE, |seen| seen.filter(|seen| change.end.reached(seen)).cloned()).await;
    let seconds = clock::seconds_since(start);
    let ended = ended.with_context(|| journal.last_lines())?;
    let steps = journal.steps_up_to(&ended).await?;
    let extremes = availability.so_far();
    for (kind, seen) in [(What::Create, clusters.so_far().made), (What::Delete, clusters.so_far().deleted)] {
        let of_ledger: Vec<_> =
            steps.iter().filter(|step| step.what == kind).map(|step| step.group.clone()).collect();
        let (mut seen, mut ledger) = (seen, of_ledger);
        // Of those that were asked for together the ledger has its own order.
        seen.sort();
        ledger.sort();
        ensure!(seen == ledger, "{}: the status has {ledger:?}, the API server {seen:?}", kind.as_str());
    }
    let happened = Happened {
        steps,
        fewest_ready: extremes.ready.unwrap_or_default(),
        most_groups: extremes.most,
        seconds,
    };
    suite
        .console
        .say(format_args!("planned {} s, took {seconds:.1} s; {:?}", planned.seconds, planned.times));
    let end = change.end.as_str();
    let seen = planned.times_seen && planned.times.end_seen;
    Ok((Compared { change: change.name, end, seen, planned, happened }, journal.last_lines()))
}
