//! Real vLLM on CPUs, tensor parallel 2 and pipeline parallel 2 on two nodes, through nothing but `ray-bridge`.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::cluster::{Cluster, RANK};
use crate::settings::Settings;
use crate::tool::{self, model_file};
use crate::{clock, say};

const PROCESSES: [&str; 4] = [RANK, "ray::ApiServer", "VLLM::EngineCore", "rayfleet_launcher.py"];

pub(crate) async fn answers(settings: Settings) -> anyhow::Result<()> {
    let text = format!(
        "name: tiny\nsource: {}\nparallelism: {{tensor: 2, pipeline: 2}}\nstartTimeout: 10m\n\
         engine:\n  args: [--enforce-eager, --dtype, float32, --max-model-len, '256', --max-num-seqs, '8', \
         --kv-cache-memory-bytes, '67108864']\n  env:\n  - {{name: VLLM_CPU_RAY, value: '1'}}\n  - {{name: GLOO_SOCKET_IFNAME, value: eth0}}\n  \
         - {{name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}}\n  - {{name: OMP_NUM_THREADS, value: '1'}}\n  \
         - {{name: HF_HUB_OFFLINE, value: '1'}}\n  - {{name: VLLM_NO_USAGE_STATS, value: '1'}}\n\
         probe: {{prompt: Hello, maxTokens: 8}}\n",
        settings.model.display()
    );
    let file = model_file(&settings, "tiny", &text)?;
    let cluster = Cluster::start(settings, &[2, 2]).await?;
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

    let start = clock::instant();
    tool::done(&["stop", "tiny", "--drain"], Duration::from_mins(1)).await?;
    cluster.nothing_left("tiny", &PROCESSES).await?;
    say(&format!("  drained, stopped and nothing left after {:.1} s", clock::seconds_since(start)));
    Ok(())
}
