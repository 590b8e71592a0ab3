//! `rayfleet-gateway` as a program: arguments, logs and signals; the rest is in the library of the same name.

mod descriptors;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rayfleet_gateway::{Addresses, Gateway};
use rayfleet_routing::Strategy;
use rayfleet_runtime::program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One HTTP address for all models of a namespace: sends each request to the group of a RayClusterFleet that answers it best.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  rayfleet-gateway --namespace team-a          # by the kubeconfig or the pod's account\n  \
                  rayfleet-gateway --namespace team-a --strategy prefix-cache:3,least-request:1\n  \
                  rayfleet-gateway --namespace team-a --picker '[::]:9002'   # for an Envoy, too\n  \
                  curl -s localhost:8000/v1/models"
)]
struct Arguments {
    /// Namespace whose fleets are served.
    #[arg(short, long, env = "POD_NAMESPACE")]
    namespace: String,
    /// Address for clients.
    #[arg(long, env = "RAYFLEET_GATEWAY_LISTEN", default_value = "[::]:8000")]
    listen: SocketAddr,
    /// Address for Envoys, which ask here for the endpoints of a request (external processing): gRPC without TLS.
    #[arg(long, env = "RAYFLEET_GATEWAY_PICKER", value_name = "ADDRESS")]
    picker: Option<SocketAddr>,
    /// Endpoints that Envoy gets for a request: the best, and those to fall back to. An original-destination cluster takes one alone.
    #[arg(long, env = "RAYFLEET_GATEWAY_PICKER_ENDPOINTS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    picker_endpoints: u8,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "RAYFLEET_GATEWAY_PAGES", default_value = "[::]:8080")]
    pages: SocketAddr,
    /// How groups are compared for requests without a header routing-strategy.
    #[arg(long, env = "RAYFLEET_GATEWAY_STRATEGY", default_value = "least-work")]
    strategy: Strategy,
    /// Largest body of a request, in MiB.
    #[arg(long, env = "RAYFLEET_GATEWAY_MAX_BODY", value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_body: u16,
    /// All bodies that are held at a time, in MiB.
    #[arg(long, env = "RAYFLEET_GATEWAY_MAX_BODIES", value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    max_bodies: u32,
    /// Connections of clients at a time; others wait.
    #[arg(long, env = "RAYFLEET_GATEWAY_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Longest time for a body to arrive, in seconds.
    #[arg(long, env = "RAYFLEET_GATEWAY_BODY_TIMEOUT", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    body_timeout: u32,
    /// Longest time until an answer begins, in seconds: a stream with its first token, another when it is done.
    #[arg(long, env = "RAYFLEET_GATEWAY_ANSWER_TIMEOUT", value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    answer_timeout: u32,
    /// How long new clients are taken after SIGTERM, in seconds, until no Service leads here any more.
    #[arg(long, env = "RAYFLEET_GATEWAY_LEAVE", value_name = "SECONDS", default_value_t = 5)]
    leave: u32,
    /// How long requests may take after that, in seconds. The pod's terminationGracePeriodSeconds must be more than both together.
    #[arg(long, env = "RAYFLEET_GATEWAY_DRAIN", value_name = "SECONDS", default_value_t = 600)]
    drain: u32,
    /// Log lines as JSON.
    #[arg(long, env = "RAYFLEET_LOG_JSON")]
    log_json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    program::log(arguments.log_json);
    let client = program::client().await?;
    let mebibytes = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(1 << 20);
    let seconds = |count: u32| Duration::from_secs(u64::from(count));
    anyhow::ensure!(
        u32::from(arguments.max_body) <= arguments.max_bodies,
        "--max-body {} is more than --max-bodies {}: no body of that size could ever be taken; raise the second or lower the first",
        arguments.max_body,
        arguments.max_bodies
    );
    let most_connections = descriptors::for_connections(arguments.max_connections);
    let gateway = Gateway {
        namespace: arguments.namespace,
        strategy: arguments.strategy,
        largest_body: mebibytes(arguments.max_body.into()),
        all_bodies: mebibytes(arguments.max_bodies),
        most_connections: usize::try_from(most_connections).unwrap_or(usize::MAX),
        endpoints: arguments.picker_endpoints.into(),
        upload: seconds(arguments.body_timeout),
        answer: seconds(arguments.answer_timeout),
        leave: seconds(arguments.leave),
        drain: seconds(arguments.drain),
    };
    let addresses = Addresses { clients: arguments.listen, picker: arguments.picker, pages: arguments.pages };
    let stop = async {
        program::stop_requested().await;
        // Who asks twice does not want to wait.
        tokio::spawn(async {
            program::stop_requested().await;
            std::process::exit(1);
        });
    };
    gateway.run(client, addresses, stop).await.with_context(|| {
        let picker = addresses.picker.map(|address| format!(", {address} (--picker)")).unwrap_or_default();
        format!("listening on {} (--listen){picker} and {} (--pages)", addresses.clients, addresses.pages)
    })
}
