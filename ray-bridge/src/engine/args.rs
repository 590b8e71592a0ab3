//! Arguments and environment that belong to the bridge: refused when a user sets them, with the reason.

use std::collections::BTreeMap;

/// An argument or environment variable that cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ArgRefused {
    /// The argument or variable as the user wrote it, without its value.
    pub what: String,
    /// Why, and what to set instead.
    pub reason: &'static str,
}

const SHAPE: &str = "the shape comes from the parallelism of the model; set that instead";
const ADDRESS: &str = "the bridge sets the address that it watches; set the port of the model instead";
const NAME: &str = "the model's name and source are fields of their own; set those instead";
const RANKS: &str = "the ranks are placed by the bridge through Ray; leave it out";
const TLS: &str = "the bridge watches the engine over plain HTTP; end TLS in front of it";
const KEY: &str = "the bridge's probe could not pass; check keys in front of the engine";

/// Options of the engine that the bridge sets itself or relies on, long forms without dashes in front.
const OWNED: &[(&str, &str)] = &[
    ("model", NAME),
    ("served-model-name", NAME),
    ("host", ADDRESS),
    ("port", ADDRESS),
    ("uds", ADDRESS),
    ("api-server-count", ADDRESS),
    ("tensor-parallel-size", SHAPE),
    ("tp", SHAPE),
    ("pipeline-parallel-size", SHAPE),
    ("pp", SHAPE),
    ("data-parallel-size", SHAPE),
    ("dp", SHAPE),
    ("distributed-executor-backend", RANKS),
    ("nnodes", RANKS),
    ("n", RANKS),
    ("node-rank", RANKS),
    ("r", RANKS),
    ("master-addr", RANKS),
    ("master-port", RANKS),
    ("headless", RANKS),
    ("ssl-keyfile", TLS),
    ("ssl-certfile", TLS),
    ("api-key", KEY),
];

/// Refuses what the bridge owns: `--x`, `--x=y`, `--x_y`, short forms and abbreviations that the engine would take.
pub fn check_args(args: &[String]) -> Result<(), ArgRefused> {
    for arg in args {
        let written = arg.split('=').next().unwrap_or_default();
        let Some(name) = written.strip_prefix("--").or_else(|| written.strip_prefix('-')) else {
            continue;
        };
        let name = name.replace('_', "-");
        let abbreviates =
            |owned: &str| written.starts_with("--") && name.len() >= 3 && owned.starts_with(&name);
        let owned = OWNED
            .iter()
            .find(|(owned, _)| *owned == name)
            .or_else(|| OWNED.iter().find(|(owned, _)| abbreviates(owned)));
        if let Some((_, reason)) = owned {
            return Err(ArgRefused { what: written.chars().take(100).collect(), reason });
        }
    }
    Ok(())
}

const ENV_PREFIXES: &[&str] = &["RAY_AUTH_", "RAYFLEET_"];
const ENV_NAMES: &[&str] = &["VLLM_RAY_BUNDLE_INDICES", "VLLM_HOST_IP", "RAY_ADDRESS"];

/// Refuses variables that the bridge or Ray sets, and names that no process can have.
pub fn check_env(env: &BTreeMap<String, String>) -> Result<(), ArgRefused> {
    for (name, value) in env {
        let refuse = |reason| Err(ArgRefused { what: format!("env {}", name.escape_debug()), reason });
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !well_formed {
            return refuse("a name consists of letters, digits and '_', and does not begin with a digit");
        }
        if value.contains('\0') {
            return refuse("a value cannot hold a zero byte");
        }
        if ENV_PREFIXES.iter().any(|p| name.starts_with(p)) || ENV_NAMES.contains(&name.as_str()) {
            return refuse("set by the bridge or by Ray itself; leave it out");
        }
    }
    Ok(())
}
