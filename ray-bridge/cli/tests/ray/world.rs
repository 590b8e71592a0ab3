//! A world of its own for the tests: new network, mount and process namespaces around this program. Whatever is made in
//! there, processes, links and mounts, is gone when its first process is, however that came about.

use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

const INSIDE: &str = "RAYFLEET_RAY_INSIDE";
/// A bridge joins the nodes; these tests are on it too.
pub(crate) const BRIDGE: &str = "ray0";
pub(crate) const BRIDGE_IP: &str = "10.77.0.1";

/// Whether this process is in there already.
pub(crate) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again as the first process of a new world, and gives its exit code.
pub(crate) fn enter() -> anyhow::Result<ExitCode> {
    let this = std::env::current_exe().context("this program's own path")?;
    // Whoever ends this process, with whatever signal, ends `unshare` and with it everything inside.
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            // How soon a fault is reported must not depend on what else the machine does.
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

/// Lays the bridge. To be called once, inside.
pub(crate) fn lay_network() -> anyhow::Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{BRIDGE_IP}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// The wires on the bridge. Those of nodes that are gone go with their other ends, a moment later.
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
