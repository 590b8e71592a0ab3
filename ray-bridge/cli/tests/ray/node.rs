//! One Ray node: its namespaces, its network interface, and the ways to lose it.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::processes::{self, Process};
use crate::settings::Settings;
use crate::until;
use crate::world::{BRIDGE, ip};

/// Properties of a node.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) name: String,
    pub(crate) ip: String,
    pub(crate) head_ip: String,
    pub(crate) gpus: u32,
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Ends with its namespaces.
    init: Option<Child>,
}

impl Node {
    /// A node that is not started yet.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, init: None }
    }

    /// Starts it; waiting for Ray to report it is the caller's job.
    pub(crate) async fn start(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let Kind { name, ip, head_ip, gpus } = &self.kind;
        let log = settings.logs.join(format!("{name}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ray/node.sh");
        let init = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
            .arg(script)
            .args([name, ip, head_ip, &gpus.to_string()])
            .envs(settings.node_environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("unshare")?;
        self.init = Some(init);
        self.connect().await
    }

    /// Whether it ended although nothing took it down: on a machine that is too busy, Ray aborts its own
    /// start.
    pub(crate) fn gave_up(&mut self) -> bool {
        let ended = self.init.as_mut().is_some_and(|init| !matches!(init.try_wait(), Ok(None)));
        if ended {
            self.init = None;
        }
        ended
    }

    /// Whether it was started and not lost since.
    pub(crate) fn runs(&self) -> bool {
        self.init.is_some()
    }

    /// The interface from the bridge into its network namespace, always with the same hardware address:
    /// otherwise its neighbours would send to the old one for a while.
    async fn connect(&self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        until("the node's network namespace", Duration::from_secs(10), async || {
            Ok((processes::network(pid) != processes::network(std::process::id())).then_some(()))
        })
        .await?;
        let last: u8 = self.kind.ip.rsplit('.').next().unwrap_or_default().parse().context("address")?;
        let link = self.link();
        // The interface of an earlier start disappears with its namespace, a moment after its processes.
        let _ = ip(&["link", "delete", &link]);
        let mac = format!("02:00:0a:4d:00:{last:02x}");
        ip(&[
            "link",
            "add",
            &link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            &mac,
            "netns",
            &pid.to_string(),
        ])?;
        ip(&["link", "set", &link, "master", BRIDGE, "up"])
    }

    fn link(&self) -> String {
        format!("v-{}", self.kind.name)
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.init.as_ref().and_then(Child::id).with_context(|| format!("{} has ended", self.kind.name))
    }

    /// Its processes whose command line contains a text.
    pub(crate) fn processes(&self, part: &str) -> anyhow::Result<Vec<Process>> {
        Ok(processes::in_network_of(self.pid()?, part))
    }

    /// Power loss: the interface goes first, so no connection is closed.
    pub(crate) async fn cut_power(&mut self) -> anyhow::Result<()> {
        ip(&["link", "delete", &self.link()])?;
        let mut init = self.init.take().with_context(|| format!("{} does not run", self.kind.name))?;
        init.kill().await.context("unshare")
    }

    /// Waits until its first process has ended, as it does when a part of Ray dies.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<()> {
        let mut init = self.init.take().with_context(|| format!("{} does not run", self.kind.name))?;
        let ended = tokio::time::timeout(limit, init.wait()).await;
        ended.with_context(|| format!("{} goes on after {} s", self.kind.name, limit.as_secs()))??;
        Ok(())
    }
}
