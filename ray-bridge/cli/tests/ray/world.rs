//! Isolates the tests: new network, mount and process namespaces around this program. Processes, interfaces
//! and mounts inside disappear with the first process, however it ends.

use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

const INSIDE: &str = "RAYFLEET_RAY_INSIDE";
/// The network bridge that connects the nodes; the tests use it too.
pub(crate) const BRIDGE: &str = "ray0";
pub(crate) const BRIDGE_IP: &str = "10.77.0.1";

/// Whether this process runs inside.
pub(crate) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again as the first process of new namespaces, and returns its exit code.
pub(crate) fn enter() -> anyhow::Result<ExitCode> {
    let this = std::env::current_exe().context("this program's own path")?;
    // A signal that ends this process also ends `unshare`, and with it everything inside.
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            // The time until a fault is reported must not depend on other load of the machine.
            "nice",
            "-n",
            "-15",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(this)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("setpriv and unshare (util-linux) make the namespaces; is this root?")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Creates the network bridge. Called once, inside.
pub(crate) fn lay_network() -> anyhow::Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{BRIDGE_IP}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// The interfaces on the network bridge. Those of ended nodes disappear with their other ends, a moment
/// later.
pub(crate) fn wires() -> anyhow::Result<Vec<String>> {
    let listed = Command::new("ip").args(["-o", "link", "show", "master", BRIDGE]).output().context("ip")?;
    // Lines such as `5: v-head@if2: <BROADCAST,...`.
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    Ok(String::from_utf8_lossy(&listed.stdout).lines().filter_map(name).collect())
}

/// Runs `ip` (iproute2).
pub(crate) fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip (iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
