//! The shape of a 405B model: sixteen ranks on two nodes of eight GPUs, exactly placed, and the report of a
//! dead one.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, RANK};
use crate::{clock, engine, faults, say, tool, until};

pub(crate) async fn sixteen(cluster: &mut Cluster) -> anyhow::Result<()> {
    let file = engine::file(&cluster.settings, 8, 2)?;
    let start = clock::instant();
    let engine = engine::deploy(&file).await?;
    say(&format!("  TP8×PP2 deployed, verified and answering in {:.1} s", clock::seconds_since(start)));
    let ranks = engine["ranks"].as_array().context("ranks")?;
    ensure!(ranks.len() == 16, "{} ranks", ranks.len());
    for (number, rank) in ranks.iter().enumerate() {
        ensure!(rank["rank"] == number, "rank {number}: {rank}");
        ensure!(rank["state"] == "alive", "rank {number}: {rank}");
        ensure!(rank["stage"] == number / 8 && rank["tensorRank"] == number % 8, "rank {number}: {rank}");
    }
    let nodes = |stage: &[Value]| -> BTreeSet<String> {
        stage.iter().map(|rank| rank["nodeIp"].to_string()).collect()
    };
    let (first, second) = ranks.split_at(8);
    let (first, second) = (nodes(first), nodes(second));
    ensure!(first.len() == 1 && second.len() == 1 && first != second, "stages on {first:?} and {second:?}");
    // Not only Ray reports them: the processes exist.
    for worker in &cluster.workers {
        let there = worker.processes(RANK)?.len();
        ensure!(there == 8, "{there} rank processes on {}", worker.kind.name);
    }

    faults::first(cluster.worker_with_rank()?, RANK)?.signal("KILL")?;
    explained().await?;
    cluster.nothing_left("light", &engine::PROCESSES).await
}

/// With a dead rank the launcher ends the engine soon, and reports the rank's last lines.
async fn explained() -> anyhow::Result<()> {
    until("the job to end with its cause", Duration::from_secs(15), async || {
        let status = tool::done(&["status", "light"], Duration::from_secs(10)).await?;
        let cause = status["cause"].as_str().unwrap_or_default();
        if cause.is_empty() {
            return Ok(None);
        }
        let last = cause.split("the last lines of this rank: ").nth(1).unwrap_or_default();
        ensure!(last.contains("loaded its part of"), "{cause}");
        Ok(Some(()))
    })
    .await
}
