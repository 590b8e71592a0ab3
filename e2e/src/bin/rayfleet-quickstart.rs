//! `rayfleet-quickstart`: the main use case on a cluster where Rayfleet is installed, shown step by step.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rayfleet_e2e::cluster::Cluster;
use rayfleet_e2e::cluster::dump::dump;
use rayfleet_e2e::cluster::tools::Tools;
use rayfleet_e2e::console::{Console, line, print_error};
use rayfleet_e2e::demo::MainJob;

/// Brings up a fleet, sends it requests, and upgrades it twice under load without losing one.
///
/// Exits with 1 if a request failed or another promise was broken. `hack/quickstart` creates a cluster,
/// installs KubeRay and Rayfleet and then calls this.
/// installs KubeRay and Rayfleet and then calls this.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Manifest of the fleet
    #[arg(long, default_value = "examples/quickstart.yaml")]
    manifest: PathBuf,
    /// Context of the kubeconfig; default: the current one
    #[arg(long)]
    context: Option<String>,
    /// Namespace; default: that of the context
    #[arg(long, short)]
    namespace: Option<String>,
    /// Engine option that the first upgrade sets
    #[arg(long, default_value = "--max-num-seqs", allow_hyphen_values = true)]
    engine_option: String,
    /// New value of that option
    #[arg(long, default_value = "6")]
    engine_value: String,
    /// Tokens of a stream: longer streams prove more and take longer
    #[arg(long, default_value_t = 400)]
    stream_tokens: u32,
    /// Longest time for each step
    #[arg(long, default_value = "10m")]
    limit: kube::core::Duration,
    /// Write the summary as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Args::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_error(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<bool> {
    let cluster = Cluster::connect(args.context.clone(), args.namespace).await?;
    let job = MainJob {
        tools: Tools::new(args.context, &cluster.namespace),
        cluster: cluster.clone(),
        file: args.manifest,
        engine_change: (args.engine_option, args.engine_value),
        stream_tokens: args.stream_tokens,
        limit: args.limit.into(),
        console: Console::default(),
    };
    let summary = match job.run().await {
        Ok(summary) => summary,
        Err(error) => {
            print_error(dump(&cluster).await);
            return Err(error);
        }
    };
    line(format_args!("\n{summary}\n"));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&summary)?;
        tokio::fs::write(path, text).await.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let broken = summary.broken();
    if broken.is_empty() {
        line("Every promise was kept: no request was lost.");
        return Ok(true);
    }
    print_error(dump(&cluster).await);
    for words in broken {
        print_error(format_args!("broken promise: {words}"));
    }
    Ok(false)
}
