//! Real vLLM on CPUs, tensor parallel 2 and pipeline parallel 2 on two nodes, operated only by `ray-bridge`.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, RANK};
use crate::faults::{begin_request, first};
use crate::tool::{self, Watch, model_file};
use crate::{clock, say};

const PROCESSES: [&str; 4] = [RANK, "ray::ApiServer", "VLLM::EngineCore", "rayfleet_launcher.py"];

pub(crate) async fn answers(cluster: &mut Cluster) -> anyhow::Result<()> {
    let settings = &cluster.settings;
    let text = format!(
        "name: tiny\nsource: {}\nparallelism: {{tensor: 2, pipeline: 2}}\nstartTimeout: 10m\n\
         engine:\n  args: [--enforce-eager, --dtype, float32, --max-model-len, '256', --max-num-seqs, '8', \
         --kv-cache-memory-bytes, '67108864']\n  env:\n  - {{name: VLLM_CPU_RAY, value: '1'}}\n  - {{name: GLOO_SOCKET_IFNAME, value: eth0}}\n  \
         - {{name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}}\n  - {{name: OMP_NUM_THREADS, value: '1'}}\n  \
         - {{name: HF_HUB_OFFLINE, value: '1'}}\n  - {{name: VLLM_NO_USAGE_STATS, value: '1'}}\n\
         probe: {{prompt: Hello, maxTokens: 8}}\n",
        settings.model.display()
    );
    let file = model_file(settings, "tiny", &text)?;
    let start = clock::instant();
    let engine = tool::done(&["deploy", "-f", &file, "--wait"], Duration::from_mins(10)).await?;
    say(&format!("  vLLM TP2×PP2 answers {:.1} s after deploy began", clock::seconds_since(start)));
    let ranks = engine["ranks"].as_array().context("ranks")?;
    ensure!(ranks.len() == 4 && engine["asPlanned"] == true, "{engine}");
    let verdict = tool::done(&["verify", "tiny"], Duration::from_secs(30)).await?;
    ensure!(verdict["asPlanned"] == true, "{verdict}");
    for worker in &cluster.workers {
        let there = worker.processes(RANK)?.len();
        ensure!(there == 2, "{there} rank processes on {}", worker.kind.name);
    }

    hangs_and_goes_on(cluster).await?;
    rank_dies(cluster).await?;

    let start = clock::instant();
    tool::done(&["stop", "tiny"], Duration::from_mins(1)).await?;
    cluster.nothing_left("tiny", &PROCESSES).await?;
    say(&format!("  stopped and nothing left after {:.1} s", clock::seconds_since(start)));
    Ok(())
}

/// A rank that is stopped during a request hangs the engine, as its counters show; when it continues, so does
/// the engine.
async fn hangs_and_goes_on(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut watch = Watch::of("tiny", "5s").await?;
    begin_request(cluster, "tiny", 240).await?;
    let rank = first(cluster.worker_with_rank()?, RANK)?;
    let start = clock::instant();
    rank.signal("STOP")?;
    let kind = |wanted: &'static str| move |line: &Value| line["diagnosis"]["kind"] == wanted;
    let (when, line) = watch.until("Hung", Duration::from_secs(20), kind("Hung")).await?;
    let seconds = when.saturating_duration_since(start).as_secs_f64();
    say(&format!("  SIGSTOP of a rank: hung after {seconds:.2} s: {}", line["change"]));
    rank.signal("CONT")?;
    let well = |line: &Value| line["diagnosis"].is_null();
    watch.until("the engine to go on", Duration::from_secs(30), well).await?;
    ensure!(seconds < 8.0, "hung was reported after {seconds:.2} s");
    Ok(())
}

async fn rank_dies(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut watch = Watch::of("tiny", "60s").await?;
    let rank = first(cluster.worker_with_rank()?, RANK)?;
    let start = clock::instant();
    rank.signal("KILL")?;
    let troubled = |line: &Value| line["diagnosis"]["kind"].is_string();
    let (when, line) = watch.until("a trouble", Duration::from_secs(20), troubled).await?;
    let seconds = when.saturating_duration_since(start).as_secs_f64();
    say(&format!("  SIGKILL of a rank: reported after {seconds:.2} s: {}", line["change"]));
    ensure!(line["diagnosis"]["kind"] == "RankDied", "{line}");
    let ended = |line: &Value| line["change"].as_str().is_some_and(|text| text.starts_with("failed"));
    let (when, line) = watch.until("the job's end", Duration::from_mins(1), ended).await?;
    let seconds = when.saturating_duration_since(start).as_secs_f64();
    say(&format!("  its job has ended after {seconds:.2} s: {}", line["change"]));
    ensure!(seconds < 20.0, "the job ended after {seconds:.2} s only");
    Ok(())
}
