//! Processes as /proc shows them. All namespaces of these tests are below this one, so all their processes
//! are visible.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

/// A living process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    pub(crate) command: String,
}

impl Process {
    /// Sends a signal, such as `KILL` or `STOP`.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status =
            Command::new("kill").args(["-s", signal, &self.pid.to_string()]).status().context("kill")?;
        ensure!(status.success(), "kill -s {signal} {} ({})", self.pid, self.command);
        Ok(())
    }
}

/// The network namespace of a process; `None` if it has ended.
pub(crate) fn network(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Living processes in the network namespace of `pid` whose command line contains `part`.
pub(crate) fn in_network_of(pid: u32, part: &str) -> Vec<Process> {
    let Some(wanted) = network(pid) else { return Vec::new() };
    let mut found = all(part);
    found.retain(|process| network(process.pid).as_ref() == Some(&wanted));
    found
}

/// Living processes whose command line contains `part`. Zombies have no command line.
pub(crate) fn all(part: &str) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
            command.contains(part).then_some(Process { pid, command })
        })
        .collect()
}
