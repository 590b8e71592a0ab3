//! What is done: fleets are brought up, then one thing happens to them, and then they are left alone. Everything is read at the edges of
//! these times. What can happen is in files of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::{Api, Client};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use tokio::time::sleep;

use crate::Args;
use crate::churn;
use crate::containers::Containers;
use crate::fleets::{self, Fleets, NAMESPACE};
use crate::groups::{Count, Groups};
use crate::loss;
use crate::meters::Meters;
use crate::process;
use crate::progress::Progress;
use crate::report::{Report, Upgrade};
use crate::rollout::Rollout;
use crate::room;
use crate::run::{Run, TAIL};
use crate::server;
use crate::start;
use crate::traffic::Traffic;
use crate::watches::{self, Followed};

/// Waits for the controller, brings up the fleets, does with them what is asked for, and watches them at rest.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let fleets = Fleets::read(client.clone(), &args.manifest, args.groups, args.upgrade).await?;
    let number = if args.groups.is_some() { 1 } else { args.fleets };
    let groups = args.groups.unwrap_or(1);
    let names: Vec<String> = (1..=number.into()).map(fleets::name).collect();

    let (traffic, containers) = (Arc::new(Traffic::default()), Containers::new());
    let ray = containers.ray();
    tokio::spawn(server::serve(ray.clone(), traffic.clone()));
    let progress = Progress::new(names.iter().cloned(), args.pods * usize::from(groups));
    let followed = Arc::new(Followed::new(progress, Groups::new(args.pods)));
    tokio::spawn(watches::pods(Api::namespaced(client.clone(), NAMESPACE), containers, followed.clone()));
    tokio::spawn(watches::fleets(fleets.api.clone(), followed.clone()));

    let meters = Meters::new(args, traffic);
    let mut run = Run { args, client, ray, fleets, followed, meters };
    let started = start::start(&mut run).await?;
    process::forget_peak(args.pid)?;
    let start = run.meters.read().await?;
    match args.groups {
        None => print_error(format_args!("Making {number} fleets")),
        Some(groups) => print_error(format_args!("Making a fleet of {groups} groups")),
    }
    run.fleets.create(&names, |name| run.followed.progress().created(name, clock::instant())).await?;
    let sign = |followed: &Followed| {
        let (pods, status) = followed.progress().ready();
        format!("of {number} fleets {pods} are ready by pods, {status} by status")
    };
    if args.no_room {
        room::quiet(&run, sign).await?;
    } else {
        run.until(|followed| followed.progress().is_done(), sign).await?;
        sleep(TAIL).await;
    }
    let bring_up = run.meters.since(&start).await?;
    let times = run.followed.progress().times();
    let group_start = run.followed.groups().first_starts();

    let upgrade = match args.upgrade {
        Some(rollout) => Some(upgrade(&mut run, rollout, &names).await?),
        None => None,
    };
    let churn = match args.churn {
        Some(minutes) => Some(churn::churn(&mut run, &names, minutes).await?),
        None => None,
    };
    let loss = match args.lose_nodes {
        Some(number) => Some(loss::lose(&mut run, number).await?),
        None => None,
    };
    let rest = if args.rest == 0 {
        None
    } else {
        print_error(format_args!("Now {} min at rest", args.rest));
        let start = run.meters.read().await?;
        sleep(Duration::from_secs(60 * args.rest)).await;
        Some(run.meters.since(&start).await?)
    };
    let no_room = if args.no_room { Some(room::said(&run).await?) } else { None };
    Ok(Report {
        fleets: number,
        groups,
        start: started,
        times,
        group_start,
        bring_up,
        upgrade,
        churn,
        loss,
        rest,
        no_room,
    })
}

/// Changes the template of the one fleet, and waits until all of its groups are of it.
async fn upgrade(run: &mut Run<'_>, rollout: Rollout, names: &[String]) -> anyhow::Result<Upgrade> {
    let wanted = run.args.groups.unwrap_or(1);
    print_error(format_args!("All are up; a new template with maxSurge/maxUnavailable {rollout}"));
    process::forget_peak(run.args.pid)?;
    let start = run.meters.read().await?;
    run.followed.groups().upgrade(wanted.into(), clock::instant());
    for name in names {
        run.fleets.upgrade(name).await?;
    }
    let sign = |followed: &Followed| {
        let Count { ready, ready_new, existing, .. } = followed.groups().count();
        format!("of {wanted} groups {ready_new} are new and ready; ready are {ready}, existing {existing}")
    };
    run.until(|followed| followed.groups().upgraded().is_some(), sign).await?;
    sleep(TAIL).await;
    let work = run.meters.since(&start).await?;
    let groups = run.followed.groups();
    let observed = groups.upgraded().context("groups did not stay upgraded")?;
    let waves = rollout.waves(wanted);
    let start = groups.first_starts().context("no group has started")?.median;
    Ok(Upgrade { rollout: rollout.to_string(), waves, ideal: f64::from(waves) * start, observed, work })
}
