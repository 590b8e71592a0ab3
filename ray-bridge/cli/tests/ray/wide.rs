//! The shape of a 405B model: sixteen ranks on two nodes of eight GPUs.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, RANK};
use crate::settings::Settings;
use crate::{clock, engine, say, tool};

pub(crate) async fn sixteen(settings: Settings) -> anyhow::Result<()> {
    let start = clock::instant();
    let file = engine::file(&settings, 8, 2)?;
    let cluster = Cluster::start(settings, &[8, 8]).await?;
    say(&format!("  head and two nodes of eight GPUs in after {:.1} s", clock::seconds_since(start)));

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
    // Not only Ray's word: the processes are there.
    for worker in &cluster.workers {
        let there = worker.processes(RANK)?.len();
        ensure!(there == 8, "{there} rank processes on {}", worker.kind.name);
    }

    tool::done(&["stop", "light"], Duration::from_mins(1)).await?;
    cluster.nothing_left("light", &engine::PROCESSES).await
}
