//! What every program of Rayfleet does when it starts and ends: logs, the way to the API server, signals. No arguments: each program has
//! its own.

use std::time::Duration;

use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// There is no way to an API server.
#[derive(Debug, thiserror::Error)]
pub enum NoApiServer {
    /// Neither a service account nor a kubeconfig.
    #[error(
        "no way to an API server: run in a pod with a service account, or set KUBECONFIG to a kubeconfig file"
    )]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// A kubeconfig that no client can be made of.
    #[error("no client can be made of the kubeconfig")]
    Client(#[source] Box<kube::Error>),
}

/// Writes log lines to standard error, as `RUST_LOG` chooses them; JSON for programs that read them.
pub fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=warn,kube_runtime=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        lines.json().init();
    } else {
        lines.with_ansi(false).init();
    }
}

/// A client by the pod's service account or the kubeconfig.
///
/// # Errors
/// There is neither, or it cannot be used.
pub async fn client() -> Result<Client, NoApiServer> {
    let mut config = kube::Config::infer().await.map_err(|error| NoApiServer::Config(Box::new(error)))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).map_err(|error| NoApiServer::Client(Box::new(error)))
}

/// Waits for SIGTERM from the kubelet or Ctrl-C from a person.
pub async fn stop_requested() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        // Either ends the program.
        biased;
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
