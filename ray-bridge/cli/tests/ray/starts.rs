//! Failed starts: the cause is reported, and at once.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::cluster::{Cluster, RANK};
use crate::faults::first;
use crate::tool::{self, Ran};
use crate::{clock, engine, say, until};

/// Seconds from the failure to the end of `deploy`: the launcher gives an engine with a dead rank two, and
/// Ray's log adds some.
const REPORTED: f64 = 12.0;
/// Seconds of a whole `deploy` that fails: Ray starts the job, and reserved GPUs are waited for.
const WHOLE: f64 = 40.0;

pub(crate) async fn failing(cluster: &mut Cluster) -> anyhow::Result<()> {
    let settings = &cluster.settings;
    let tiny = settings.model.display().to_string();
    let missing = engine::file_of(settings, "missing", "/models/missing", (1, 2), 0)?;
    let wide = engine::file_of(settings, "wide", &tiny, (2, 4), 0)?;
    let slow = engine::file_of(settings, "slow", &tiny, (1, 2), 100)?;

    for (what, file, cause) in [
        ("too few GPUs", &wide, "TP2×PP4 needs room for 4 stages of 2 GPUs"),
        ("no model", &missing, "model path /models/missing does not exist on node 10.77.0.1"),
    ] {
        let start = clock::instant();
        let ran = tool::run(&["deploy", "-f", file, "--wait"], engine::START).await?;
        reported(what, (start, WHOLE), cause, &ran)?;
    }
    cluster.nothing_left("light", &engine::PROCESSES).await?;

    for (what, part, cause) in [
        ("SIGKILL of a rank that loads", RANK, "the last lines of this rank: loading its part of"),
        (
            "SIGKILL of the engine core meanwhile",
            "light_engine.core",
            "the engine core ended while it started",
        ),
    ] {
        let deploy = tokio::spawn({
            let slow = slow.clone();
            async move { tool::run(&["deploy", "-f", &slow, "--wait"], engine::START).await }
        });
        until("all ranks to load", engine::START, async || {
            let status = tool::done(&["status", "light"], Duration::from_secs(10)).await?;
            Ok((status["state"] == "loading").then_some(()))
        })
        .await?;
        let node = if part == RANK { cluster.worker_with_rank()? } else { &mut cluster.head };
        let start = clock::instant();
        first(node, part)?.signal("KILL")?;
        reported(what, (start, REPORTED), cause, &deploy.await??)?;
        cluster.nothing_left("light", &engine::PROCESSES).await?;
    }
    Ok(())
}

fn reported(what: &str, (start, limit): (Instant, f64), cause: &str, ran: &Ran) -> anyhow::Result<()> {
    let seconds = clock::seconds_since(start);
    ensure!(ran.code == Some(1), "{what}: {:?}: {}", ran.code, ran.said);
    ensure!(ran.said.contains(cause), "{what}: the cause is not reported: {}", ran.said);
    say(&format!("  {what}: reported after {seconds:.1} s: {cause}"));
    ensure!(seconds < limit, "{what}: reported after {seconds:.1} s only, {limit} s allowed");
    Ok(())
}
