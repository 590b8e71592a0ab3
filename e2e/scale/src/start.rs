//! The controller's start: how long until it works, and what it has cost by then. Nobody has made a fleet yet.

use std::fmt;
use std::time::Duration;

use rayfleet_e2e::clock;
use serde::Serialize;
use tokio::time::sleep;

use crate::phase::{Phase, row};
use crate::run::Run;

/// Time between two questions whether it works.
const ASKS: Duration = Duration::from_millis(50);

/// A start.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    /// Pods and nodes that had been there before, and are no fleet's.
    pub(crate) foreign_pods: u32,
    pub(crate) foreign_nodes: u32,
    /// Seconds from the process' start until it said that it works; `None` if it says nothing about that.
    pub(crate) works: Option<f64>,
    /// From the process' start until it asked the API server for nothing more.
    pub(crate) work: Phase,
}

/// Waits until the controller has started.
pub(crate) async fn start(run: &mut Run<'_>) -> anyhow::Result<Start> {
    let args = run.args;
    let before = run.meters.at_start()?;
    let works = match &args.ready {
        Some(page) => {
            run.within_limit(says_so(page), || "the controller does not say that it works".to_owned())
                .await?;
            Some(clock::seconds_since(before.at))
        }
        None => None,
    };
    run.meters.settle().await?;
    let work = run.meters.since(&before).await?;
    Ok(Start { foreign_pods: args.foreign_pods, foreign_nodes: args.foreign_nodes, works, work })
}

/// Asks until the page is there and says yes.
async fn says_so(page: &str) {
    while !reqwest::get(page).await.is_ok_and(|reply| reply.status().is_success()) {
        sleep(ASKS).await;
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { foreign_pods, foreign_nodes, works, work } = self;
        writeln!(f, "\nSTART beside {foreign_pods} foreign pods and {foreign_nodes} foreign nodes")?;
        if let Some(works) = works {
            row(f, "works", format_args!("{works:.2} s after the start of its process"))?;
        }
        row(f, "CPU", format_args!("{:.2} s in the first {:.1} s", work.cpu, work.seconds))?;
        work.memory(f)?;
        row(f, "requests to the API server", work.requests.total)
    }
}
