//! Processes in the pods of the local cluster, as the host sees them, and faults injected into them and
//! their nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::timeout;

use super::pods::FleetPod;

/// Timeout of a `hack/cluster` command; a node needs up to 90 s to come back.
const COMMAND: Duration = Duration::from_mins(2);

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    command: String,
}

impl Process {
    /// Whether its command line starts with `program`.
    pub fn is(&self, program: &str) -> bool {
        self.command.starts_with(program)
    }

    /// Sends a signal, such as `KILL` or `STOP`.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid.to_string();
        let output = Command::new("kill").args(["-s", signal, &pid]).output().context("kill")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kill -s {signal} {pid} ({}): {said}", self.command);
        Ok(())
    }
}

/// Running processes of a fleet's pod whose command line contains `part`.
pub fn of_pod(pod: &FleetPod, part: &str) -> Vec<Process> {
    of_uid(&pod.uid, part)
}

/// Running processes of any pod whose command line contains `part`: kubelets put the pod's UID into the
/// cgroup's name.
pub fn of_uid(uid: &str, part: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            let cgroup = fs::read_to_string(entry.path().join("cgroup")).ok()?;
            (command.contains(part) && cgroup.contains(uid)).then_some(Process { pid, command })
        })
        .collect()
}

/// The only process of a pod whose command line contains `part`.
pub fn the_one(pod: &FleetPod, part: &str) -> anyhow::Result<Process> {
    let mut found = of_pod(pod, part);
    match (found.pop(), found.len()) {
        (Some(process), 0) => Ok(process),
        (_, more) => bail!("pod {} has {more} more processes of `{part}` than one: {found:?}", pod.name),
    }
}

/// The processes that serve requests in the head of a group with an engine.
pub fn api_servers(head: &FleetPod) -> Vec<Process> {
    of_pod(head, "ray::ApiServer")
}

/// Whether the cluster was created by `hack/cluster` on this machine: only there can nodes lose power.
pub fn is_local() -> bool {
    tool().is_file() && std::env::var_os("RAYFLEET_E2E_CONTEXT").is_none()
}

fn tool() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster")
}

/// Runs `hack/cluster ARGS`.
pub async fn cluster_tool(args: &[&str]) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(tool());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let what = || format!("hack/cluster {}", args.join(" "));
    let output = timeout(COMMAND, command.output()).await.with_context(what)?.with_context(what)?;
    ensure!(
        output.status.success(),
        "{}: {}{}",
        what(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
