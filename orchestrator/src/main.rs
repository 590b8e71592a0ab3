//! `rayfleet-orchestrator`: the controller for RayClusterFleets as a program. Arguments, logs and signals; the rest is in the
//! library of the same name.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube::Client;
use ray_bridge::{Bridge, Limits};
use rayfleet_orchestrator::{Namespaces, Orchestrator};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Threads of the runtime free what others have allocated, all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The controller for RayClusterFleets: fleets of RayClusters that serve models too large for one node.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  rayfleet-orchestrator                      # run with the kubeconfig or the pod's account\n  \
                  rayfleet-orchestrator --leader-elect=false  # a single replica on a developer's machine\n  \
                  rayfleet-orchestrator --namespaces team-a,team-b --lease-namespace team-a\n  \
                  rayfleet-orchestrator crd | kubectl apply -f -"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommands>,
    /// Address of /metrics, /healthz and /readyz. `[::]` takes IPv4 and IPv6.
    #[arg(long, env = "RAYFLEET_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Take part in leader election, so that several replicas may run.
    #[arg(long, env = "RAYFLEET_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Look after fleets of these namespaces only, such as `team-a,team-b`; without it, of all. No two installations may name the same
    /// one, and beside one for all there may be no other.
    #[arg(long, env = "RAYFLEET_NAMESPACES", value_name = "NAMESPACE,...")]
    namespaces: Option<Namespaces>,
    /// Take an engine that Rayfleet launched and that serves by what it says itself, in a stream, instead of asking it and its
    /// dashboard every second. An engine without that stream is asked either way.
    #[arg(long, env = "RAYFLEET_ENGINE_WATCH", default_value_t = true, action = clap::ArgAction::Set)]
    engine_watch: bool,
    /// Namespace of the lease that the replicas of an installation elect their leader by. Without --namespaces one orchestrator leads
    /// in a cluster: then all replicas of all installations must name the same. With it, each installation's own.
    #[arg(long, env = "RAYFLEET_LEASE_NAMESPACE", default_value = "rayfleet-system")]
    lease_namespace: String,
    /// Name of this replica in the lease.
    #[arg(long, env = "POD_NAME", default_value = "rayfleet-orchestrator")]
    identity: String,
    /// Log lines as JSON.
    #[arg(long, env = "RAYFLEET_LOG_JSON")]
    log_json: bool,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Print the CustomResourceDefinition as YAML.
    Crd,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Subcommands::Crd) => print_crd(),
        None => run(arguments).await,
    }
}

fn print_crd() -> anyhow::Result<()> {
    let yaml = rayfleet_api::generated::crd_manifest()?;
    std::io::stdout().write_all(yaml.as_bytes())?;
    Ok(())
}

fn log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube_client=warn,kube_runtime=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        lines.json().init();
    } else {
        lines.with_ansi(false).init();
    }
}

async fn client() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context(
        "no way to an API server: run in a pod with a service account, or set KUBECONFIG to a kubeconfig file",
    )?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

/// Most open files that are asked for, which Linux grants unless it was told otherwise.
const MOST_FILES: u64 = 1 << 20;

/// Raises the limit of open files to what this process may have: a group takes some four and one for each of its pods, and what starts
/// containers often allows 1024 unless more is asked for.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    if limit.current.is_some_and(|current| current < most)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit })
    {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is");
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    log(arguments.log_json);
    allow_files();
    let orchestrator = Orchestrator {
        client: client().await?,
        bridge: Bridge::new(Limits::default()).context("the HTTP client for Ray dashboards")?,
        identity: arguments.identity,
        namespaces: arguments.namespaces.unwrap_or_default(),
        lease_namespace: arguments.lease_namespace,
        leader_elect: arguments.leader_elect,
        engine_watch: arguments.engine_watch,
    };
    Ok(orchestrator.run(Some(arguments.listen), stop_requested()).await?)
}

/// SIGTERM from the kubelet or Ctrl-C from a person.
async fn stop_requested() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                // Either ends the program.
                biased;
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
