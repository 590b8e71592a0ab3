//! Data parallelism, operated only by `ray-bridge`: two engines of two ranks, each on a node of its own. With the light
//! engine, and with real vLLM, whose engines share the experts of one model.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use ray_bridge::engine::Probe;
use serde_json::Value;

use crate::cluster::{Cluster, RANK};
use crate::faults::first;
use crate::tool::{self, Watch, model_file};
use crate::{clock, say};

const CORE: &str = "ray::DPMoEEngineCoreActor";
const PROCESSES: [&str; 4] = [RANK, "ray::ApiServer", CORE, "rayfleet_launcher.py"];
const NAME: &str = "experts";

pub(crate) async fn light(cluster: &mut Cluster) -> anyhow::Result<()> {
    let settings = &cluster.settings;
    let text = format!(
        "name: {NAME}\nsource: {}\nparallelism: {{data: 2, tensor: 2}}\nstartTimeout: 2m\n\
         engine: {{type: custom, entrypoint: 'light_engine:serve'}}\nprobe: {{prompt: Hi, maxTokens: 4}}\n",
        settings.model.display(),
    );
    let file = model_file(settings, NAME, &text)?;
    all(cluster, &file).await
}

pub(crate) async fn share_experts(cluster: &mut Cluster) -> anyhow::Result<()> {
    let settings = &cluster.settings;
    let text = format!(
        "name: {NAME}\nsource: {}\nparallelism: {{data: 2, tensor: 2}}\nstartTimeout: 10m\n\
         engine:\n  args: [--enable-expert-parallel, --enforce-eager, --dtype, float32, --max-model-len, '256', \
         --max-num-seqs, '8', --kv-cache-memory-bytes, '67108864']\n  env:\n  - {{name: VLLM_CPU_RAY, value: '1'}}\n  \
         - {{name: GLOO_SOCKET_IFNAME, value: eth0}}\n  - {{name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}}\n  \
         - {{name: OMP_NUM_THREADS, value: '1'}}\n  - {{name: HF_HUB_OFFLINE, value: '1'}}\n  \
         - {{name: VLLM_NO_USAGE_STATS, value: '1'}}\n  - {{name: VLLM_CACHE_ROOT, value: {}}}\n\
         probe: {{prompt: Hello, maxTokens: 8}}\n",
        settings.experts.display(),
        settings.notes.display(),
    );
    let file = model_file(settings, NAME, &text)?;
    all(cluster, &file).await
}

async fn all(cluster: &mut Cluster, file: &str) -> anyhow::Result<()> {
    let start = clock::instant();
    let engine = tool::done(&["deploy", "-f", file, "--wait"], Duration::from_mins(10)).await?;
    say(&format!("  DP2×TP2 deployed and answering in {:.1} s", clock::seconds_since(start)));
    placed(&engine)?;
    let verdict = tool::done(&["verify", NAME], Duration::from_secs(30)).await?;
    ensure!(verdict["asPlanned"] == true, "{verdict}");
    // Not only Ray reports them: the processes exist, two ranks and a core on a node.
    let mut engines = 0;
    for worker in &cluster.workers {
        let (ranks, cores) = (worker.processes(RANK)?.len(), worker.processes(CORE)?.len());
        ensure!(
            (ranks, cores) == (2, 1) || (ranks, cores) == (0, 0),
            "{ranks} ranks and {cores} cores on {}",
            worker.kind.name
        );
        engines += cores;
    }
    ensure!(engines == 2, "{engines} engines");
    both_serve(cluster).await?;
    rank_dies(cluster).await?;
    tool::done(&["stop", NAME], Duration::from_mins(1)).await?;
    cluster.nothing_left(NAME, &PROCESSES).await
}

/// Each engine is whole on a node of its own, and every rank says whose it is.
fn placed(engine: &Value) -> anyhow::Result<()> {
    let ranks = engine["ranks"].as_array().context("ranks")?;
    ensure!(ranks.len() == 4 && engine["asPlanned"] == true, "{engine}");
    for (number, rank) in ranks.iter().enumerate() {
        ensure!(rank["rank"] == number && rank["state"] == "alive", "rank {number}: {rank}");
        ensure!(rank["dataRank"] == number / 2 && rank["tensorRank"] == number % 2, "rank {number}: {rank}");
    }
    let nodes = |ranks: &[Value]| ranks.iter().map(|rank| rank["nodeIp"].to_string()).collect();
    let (first, second) = ranks.split_at(2);
    let (first, second): (BTreeSet<String>, BTreeSet<String>) = (nodes(first), nodes(second));
    ensure!(first.len() == 1 && second.len() == 1 && first != second, "engines on {first:?} and {second:?}");
    Ok(())
}

/// The API server spreads requests over both engines: each counts some.
async fn both_serve(cluster: &Cluster) -> anyhow::Result<()> {
    let engine = cluster.engine()?;
    let ask = |number: u32| {
        let engine = engine.clone();
        async move {
            let probe = Probe {
                model: NAME.to_owned(),
                prompt: format!("request {number}"),
                max_tokens: 8,
                expect: None,
                timeout: Duration::from_mins(2),
            };
            engine.probe(&probe).await
        }
    };
    try_join_all((0..8).map(ask)).await?;
    let text = cluster.metrics().await?;
    for engine in ["engine=\"0\"", "engine=\"1\""] {
        let counters = text.lines().filter(|line| line.starts_with("vllm:generation_tokens_total"));
        let of = counters.clone().find(|line| line.contains(engine));
        let tokens: f64 = of.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default();
        ensure!(tokens >= 8.0, "{engine} generated {tokens} tokens: {:?}", counters.collect::<Vec<_>>());
        say(&format!("  {engine} generated {tokens} tokens"));
    }
    Ok(())
}

/// A death is put down to the rank and its engine; all engines end with it.
async fn rank_dies(cluster: &mut Cluster) -> anyhow::Result<()> {
    let status = tool::done(&["status", NAME], Duration::from_secs(30)).await?;
    let node = cluster.worker_with_rank()?;
    let ranks = status["ranks"].as_array().context("ranks")?;
    let there: Vec<&Value> = ranks.iter().filter(|rank| rank["nodeIp"] == *node.kind.ip).collect();
    let engine = there.first().context("no rank on the node")?["dataRank"].clone();
    let mut watch = Watch::of(NAME, "60s").await?;
    let start = clock::instant();
    first(node, RANK)?.signal("KILL")?;
    let troubled = |line: &Value| line["diagnosis"]["kind"].is_string();
    let (when, line) = watch.until("a trouble", Duration::from_secs(20), troubled).await?;
    let seconds = when.saturating_duration_since(start).as_secs_f64();
    say(&format!("  SIGKILL of a rank of DP{engine}: reported after {seconds:.2} s: {}", line["change"]));
    let trouble = &line["diagnosis"];
    let dead = trouble["ranks"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(trouble["kind"] == "RankDied" && dead.len() == 1, "{line}");
    ensure!(there.iter().any(|rank| rank["rank"] == dead[0]), "rank {} is not one of {there:?}", dead[0]);
    let evidence = trouble["evidence"].to_string();
    ensure!(evidence.contains(&format!("rank {} of engine DP{engine} on", dead[0])), "{evidence}");
    let ended = |line: &Value| line["change"].as_str().is_some_and(|text| text.starts_with("failed"));
    let (when, line) = watch.until("the job's end", Duration::from_mins(1), ended).await?;
    let seconds = when.saturating_duration_since(start).as_secs_f64();
    say(&format!("  its job has ended after {seconds:.2} s: {}", line["change"]));
    ensure!(seconds < 20.0, "the job ended after {seconds:.2} s only");
    Ok(())
}
