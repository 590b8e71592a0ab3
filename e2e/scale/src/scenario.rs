//! What is done: fleets are brought up, perhaps upgraded, and then left alone. Everything is read at the edges of these times.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube::{Api, Client};
use rayfleet_e2e::clock;
use rayfleet_e2e::console::print_error;
use tokio::time::{interval, sleep, timeout};

use crate::Args;
use crate::containers::Containers;
use crate::fleets::{self, Fleets};
use crate::groups::{Count, Groups};
use crate::meters::Meters;
use crate::process;
use crate::progress::Progress;
use crate::report::{Report, Upgrade};
use crate::rollout::Rollout;
use crate::server;
use crate::traffic::Traffic;
use crate::watches::{self, Followed};

/// What a controller still does after the last fleet is ready belongs to bringing it up, and the same of an upgrade.
const TAIL: Duration = Duration::from_secs(5);
/// Time between signs of life.
const SIGN: Duration = Duration::from_secs(10);

/// Brings up the fleets, upgrades them if that is asked for, and watches them at rest.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let client = Client::try_default().await.context("connect to the API server")?;
    let fleets = Fleets::read(client.clone(), &args.manifest, args.groups, args.upgrade).await?;
    let number = if args.groups.is_some() { 1 } else { args.fleets };
    let groups = args.groups.unwrap_or(1);
    let names: Vec<String> = (1..=number).map(fleets::name).collect();

    let (traffic, containers) = (Arc::new(Traffic::default()), Containers::new());
    server::start(&containers.wire(), &traffic).await?;
    let progress = Progress::new(names.iter().cloned(), args.pods * usize::from(groups));
    let followed = Arc::new(Followed::new(progress, Groups::new(args.pods)));
    tokio::spawn(watches::pods(Api::all(client), containers, followed.clone()));
    tokio::spawn(watches::fleets(fleets.api.clone(), followed.clone()));

    let mut meters = Meters::new(args, traffic);
    meters.settle().await?;
    process::forget_peak(args.pid)?;
    let start = meters.read().await?;
    match args.groups {
        None => print_error(format_args!("Making {number} fleets")),
        Some(groups) => print_error(format_args!("Making a fleet of {groups} groups")),
    }
    fleets.create(&names, |name| followed.progress().created(name, clock::instant())).await?;
    let sign = |followed: &Followed| {
        let (pods, status) = followed.progress().ready();
        format!("of {number} fleets {pods} are ready by pods, {status} by status")
    };
    until(args, &followed, |followed| followed.progress().is_done(), sign).await?;
    sleep(TAIL).await;
    let bring_up = meters.since(&start).await?;
    let times = followed.progress().times().context("the fleets are up, and it is not known since when")?;
    let group_start = followed.groups().first_starts();

    let upgrade = match args.upgrade {
        Some(rollout) => Some(upgrade(args, rollout, &fleets, &names, &followed, &mut meters).await?),
        None => None,
    };
    let rest = if args.rest == 0 {
        None
    } else {
        print_error(format_args!("All are up; {} min at rest", args.rest));
        let start = meters.read().await?;
        sleep(Duration::from_secs(60 * args.rest)).await;
        Some(meters.since(&start).await?)
    };
    Ok(Report { fleets: number, groups, times, group_start, bring_up, upgrade, rest })
}

/// Changes the template of the one fleet, and waits until all of its groups are of it.
async fn upgrade(
    args: &Args,
    rollout: Rollout,
    fleets: &Fleets,
    names: &[String],
    followed: &Followed,
    meters: &mut Meters<'_>,
) -> anyhow::Result<Upgrade> {
    let wanted = args.groups.unwrap_or(1);
    print_error(format_args!("All are up; a new template with maxSurge/maxUnavailable {rollout}"));
    process::forget_peak(args.pid)?;
    let start = meters.read().await?;
    followed.groups().upgrade(wanted.into(), clock::instant());
    for name in names {
        fleets.upgrade(name).await?;
    }
    let sign = |followed: &Followed| {
        let Count { ready, ready_new, existing, .. } = followed.groups().count();
        format!("of {wanted} groups {ready_new} are new and ready; ready are {ready}, existing {existing}")
    };
    until(args, followed, |followed| followed.groups().upgraded().is_some(), sign).await?;
    sleep(TAIL).await;
    let work = meters.since(&start).await?;
    let groups = followed.groups();
    let observed = groups.upgraded().context("groups did not stay upgraded")?;
    let waves = rollout.waves(wanted);
    let start = groups.first_starts().context("no group has started")?.median;
    Ok(Upgrade { rollout: rollout.to_string(), waves, ideal: f64::from(waves) * start, observed, work })
}

/// Waits until it is so, with signs of life; fails after the limit, or when the controller ends.
async fn until(
    args: &Args,
    followed: &Followed,
    is_so: impl Fn(&Followed) -> bool,
    sign: impl Fn(&Followed) -> String,
) -> anyhow::Result<()> {
    let signs = async {
        let mut signs = interval(SIGN);
        loop {
            signs.tick().await;
            print_error(format_args!("  {}", sign(followed)));
            if let Err(ended) = process::cpu(args.pid) {
                return ended;
            }
        }
    };
    let limit = Duration::from_secs(60 * args.limit);
    tokio::select! {
        done = timeout(limit, followed.until(is_so)) => {
            done.map_err(|_| anyhow!("after {} min {}", args.limit, sign(followed)))
        }
        ended = signs => Err(ended),
    }
}
