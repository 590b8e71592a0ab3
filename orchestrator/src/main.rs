//! `rayfleet-orchestrator`: the controller for RayClusterFleets as a program. Arguments, logs and signals; the rest is in the
//! library of the same name.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ray_bridge::{Bridge, Limits};
use rayfleet_orchestrator::{Namespaces, Orchestrator};
use rayfleet_runtime::program;

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

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    program::log(arguments.log_json);
    let orchestrator = Orchestrator {
        client: program::client().await?,
        bridge: Bridge::new(Limits::default()).context("the HTTP client for Ray dashboards")?,
        identity: arguments.identity,
        namespaces: arguments.namespaces.unwrap_or_default(),
        lease_namespace: arguments.lease_namespace,
        leader_elect: arguments.leader_elect,
        engine_watch: arguments.engine_watch,
    };
    Ok(orchestrator.run(Some(arguments.listen), program::stop_requested()).await?)
}
