//! The observing process: one loop per group, with the intervals of the orchestrator's agents.

use std::error::Error;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ray_bridge::engine::Health;
use ray_bridge::observe::{Depth, ObserveOptions, RayState};
use ray_bridge::{Bridge, Limits, SubmissionId, Target};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

use crate::usage::usage;
use crate::{Figures, clock, replies};

/// Interval for a healthy group.
const STEADY: Duration = Duration::from_secs(1);
/// Interval for any other group.
const QUICK: Duration = Duration::from_millis(300);
/// Interval of reading nodes and ranks too.
const DEEP: Duration = Duration::from_secs(5);
/// Time limit of one observation.
const LOOK: Duration = Duration::from_secs(9);
/// Not measured: all groups start at the same time, and connections are opened.
const SETTLE: Duration = Duration::from_secs(5);

/// Observations of one group.
#[derive(Default)]
struct Tally {
    periods: Vec<Duration>,
    wrong: usize,
}

/// Observes for `time`; the figures are those of the groups that never fail.
pub(crate) fn run(groups: usize, sick: bool, time: Duration) -> Result<Figures, Box<dyn Error>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut server = Command::new(std::env::current_exe()?)
            .args(["serve", &groups.to_string(), if sick { "1" } else { "0" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut line).await?;
        let urls: Vec<url::Url> = serde_json::from_str(&line)?;

        let bridge = Bridge::new(Limits::default())?;
        let engine = SubmissionId::new(replies::ENGINE)?;
        let (from, (cpu, _)) = (clock::now() + SETTLE, usage()?);
        let watched: Vec<_> = urls
            .into_iter()
            .enumerate()
            .map(|(n, url)| {
                let target = Target {
                    name: format!("group-{n}"),
                    dashboard: url.clone(),
                    engine: Some(url),
                    token: None,
                    trusts_engine: false,
                };
                tokio::spawn(watch(bridge.clone(), target, engine.clone(), from, from + time))
            })
            .collect();
        let (mut periods, mut wrong) = (Vec::new(), 0);
        for (n, group) in watched.into_iter().enumerate() {
            if n % 2 == 0 {
                let tally = group.await?;
                periods.extend(tally.periods);
                wrong += tally.wrong;
            }
        }
        periods.sort();
        let at =
            |share: usize| periods.get((periods.len() * share / 100).min(periods.len().saturating_sub(1)));
        let ms = |period: Option<&Duration>| period.map_or(f64::NAN, |p| p.as_secs_f64() * 1e3);
        let (cpu_after, peak_rss_mib) = usage()?;
        Ok(Figures {
            observations: periods.len(),
            wrong,
            p50_ms: ms(at(50)),
            p99_ms: ms(at(99)),
            max_ms: ms(periods.last()),
            cpu_seconds: cpu_after - cpu,
            peak_rss_mib,
        })
    })
}

async fn watch(bridge: Bridge, target: Target, engine: SubmissionId, from: Instant, until: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut last_deep: Option<Instant> = None;
    let mut before: Option<Instant> = None;
    loop {
        let began = clock::now();
        if began >= until {
            return tally;
        }
        if let Some(before) = before.replace(began).filter(|before| *before >= from) {
            tally.periods.push(began - before);
        }
        let deep = last_deep.is_none_or(|last| began - last >= DEEP);
        let depth = if deep { Depth::Full } else { Depth::UntilServing };
        let options = ObserveOptions { deadline: LOOK, depth, ..ObserveOptions::default() };
        let well =
            bridge.observe(&target, Some(&engine), options).await.is_ok_and(|state| is_well(&state, deep));
        if deep && well {
            last_deep = Some(began);
        }
        if !well && began >= from {
            tally.wrong += 1;
        }
        sleep(if well { STEADY } else { QUICK }).await;
    }
}

fn is_well(state: &RayState, deep: bool) -> bool {
    let serves = |engine: &ray_bridge::observe::EngineState| engine.health == Some(Health::Serving);
    state.engine.as_ref().is_some_and(|engine| serves(engine) && (!deep || engine.is_placed()))
}
