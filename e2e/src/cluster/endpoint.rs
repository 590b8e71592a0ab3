//! How to reach a fleet's Service from this process: by its cluster address if possible, else through the
//! API server's proxy, using a `kubectl proxy` that lives as long as this value.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tools::Tools;
use super::{Cluster, call};
use crate::load::Target;

const REACH: Duration = Duration::from_secs(3);

/// A Service that requests can be sent to.
pub struct Endpoint {
    /// Base URL.
    pub target: Target,
    /// How it is reached, for people.
    pub way: &'static str,
    /// Ends when this value is dropped.
    _proxy: Option<Child>,
}

impl Endpoint {
    /// Determines how to reach a Service that has ready endpoints.
    pub async fn of(cluster: &Cluster, service: &str, tools: &Tools) -> anyhow::Result<Self> {
        let api: Api<Service> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let spec = call(&format!("get Service {service}"), api.get(service)).await?.spec.unwrap_or_default();
        let ports = spec.ports.unwrap_or_default();
        let http = ports.iter().find(|port| port.name.as_deref() == Some("http")).or(ports.first());
        let port = http.with_context(|| format!("Service {service} has no port"))?.port;
        if let Some(address) = spec.cluster_ip.filter(|ip| ip != "None") {
            let url = format!("http://{address}:{port}");
            let target = Target::parse(&url)?;
            let reached = timeout(REACH, TcpStream::connect((address, u16::try_from(port)?))).await;
            if matches!(reached, Ok(Ok(_))) {
                return Ok(Self { target, way: "its cluster address", _proxy: None });
            }
        }
        let (proxy, base) = proxy(tools).await?;
        let namespace = &cluster.namespace;
        let url = format!("{base}/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy");
        Ok(Self { target: Target::parse(&url)?, way: "kubectl proxy", _proxy: Some(proxy) })
    }
}

/// Starts `kubectl proxy` on a free port and reads its address from its first line.
async fn proxy(tools: &Tools) -> anyhow::Result<(Child, String)> {
    let mut child = Command::from(tools.kubectl())
        .args(["proxy", "--port=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("kubectl proxy: cannot be started")?;
    let output = child.stdout.take().context("kubectl proxy: no output")?;
    let mut line = String::new();
    timeout(REACH, BufReader::new(output).read_line(&mut line))
        .await
        .context("kubectl proxy printed nothing")??;
    let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    ensure!(address.contains(':'), "kubectl proxy: no address in `{}`", line.trim());
    Ok((child, format!("http://{address}")))
}
