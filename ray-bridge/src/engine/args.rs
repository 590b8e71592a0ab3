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
const REPLICAS: &str = "one engine is one replica of the model; raise the number of replicas instead";
const ADDRESS: &str = "the bridge sets the address that it watches; set the port of the model instead";
const NAME: &str = "the model's name and source are fields of their own; set those instead";
const RANKS: &str = "the ranks are placed by the bridge through Ray; leave it out";
const TLS: &str = "the bridge watches the engine over plain HTTP; end TLS in front of it";
const KEY: &str = "the bridge's probe could not pass; check keys in front of the engine";

const FILE: &str =
    "a file could set what the bridge owns without being seen; write its arguments out instead";
const HTTP: &str = "the bridge watches the engine over HTTP; leave it out";
const STATS: &str = "the bridge tells by the counters whether the engine hangs; leave it out";

/// Options of the engine that the bridge sets itself or relies on: long form, short forms, reason.
const OWNED: &[(&str, &[&str], &str)] = &[
    ("model", &[], NAME),
    ("served-model-name", &[], NAME),
    ("host", &[], ADDRESS),
    ("port", &[], ADDRESS),
    ("uds", &[], ADDRESS),
    ("api-server-count", &["asc"], ADDRESS),
    ("tensor-parallel-size", &["tp"], SHAPE),
    ("pipeline-parallel-size", &["pp"], SHAPE),
    ("prefill-context-parallel-size", &["pcp"], SHAPE),
    ("data-parallel-size", &["dp", "dpn", "dpr", "dpl", "dpa", "dpp", "dpb", "dph", "dpe", "dpm"], REPLICAS),
    ("distributed-executor-backend", &[], RANKS),
    ("nnodes", &["n"], RANKS),
    ("node-rank", &["r"], RANKS),
    ("master-addr", &[], RANKS),
    ("master-port", &[], RANKS),
    ("headless", &[], RANKS),
    ("ssl-keyfile", &[], TLS),
    ("ssl-certfile", &[], TLS),
    ("api-key", &[], KEY),
    ("enable-elastic-ep", &[], REPLICAS),
    ("config", &[], FILE),
    ("grpc", &[], HTTP),
    ("disable-log-stats", &[], STATS),
];

/// Refuses what the bridge owns, in every way in which the engine's parser would take it: `--x`, `--x=y`, `--x_y`,
/// `-x`, `-x3` and unambiguous beginnings of these.
pub fn check_args(args: &[String]) -> Result<(), ArgRefused> {
    for arg in args {
        let written = arg.split('=').next().unwrap_or_default();
        let reason = match written.strip_prefix("--") {
            Some(name) => long(&name.replace('_', "-")),
            None => written.strip_prefix('-').and_then(short),
        };
        if let Some(reason) = reason {
            return Err(ArgRefused { what: written.chars().take(100).collect(), reason });
        }
    }
    Ok(())
}

fn long(name: &str) -> Option<&'static str> {
    if name.starts_with("data-parallel") {
        return Some(REPLICAS);
    }
    let exact = OWNED.iter().find(|(owned, ..)| *owned == name);
    let begun = || OWNED.iter().find(|(owned, ..)| name.len() >= 3 && owned.starts_with(name));
    exact.or_else(begun).map(|(.., reason)| *reason)
}

fn short(name: &str) -> Option<&'static str> {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.is_empty() {
        return None; // a negative number, so the value of the argument before
    }
    OWNED
        .iter()
        .find(|(_, shorts, _)| shorts.iter().any(|owned| owned.starts_with(letters)))
        .map(|(.., reason)| *reason)
}

const ENV_PREFIXES: &[&str] = &["RAY_AUTH_", "RAYFLEET_"];
const ENV_NAMES: &[&str] = &[
    "VLLM_RAY_BUNDLE_INDICES",
    "VLLM_RAY_PER_WORKER_GPUS",
    "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
    "VLLM_HOST_IP",
    "VLLM_API_KEY",
    "RAY_ADDRESS",
    // Ray sets it for every rank; one value for all would give them the same GPU.
    "CUDA_VISIBLE_DEVICES",
];

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
            return refuse("belongs to the bridge or to Ray; leave it out");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arg: &str) -> Result<(), ArgRefused> {
        check_args(&[arg.to_owned()])
    }

    #[test]
    fn owned_arguments_are_refused_in_every_spelling() {
        for arg in [
            "--tensor-parallel-size",
            "--tensor-parallel-size=2",
            "--tensor_parallel_size=2",
            "--tensor-par",
            "-tp",
            "-tp=2",
            "-t",
            "-pp",
            "-n2",
            "-dpl",
            "--data-parallel-hybrid-lb",
            "--port=1",
            "--host",
            "--served-model-name",
            "--distributed-executor-backend=mp",
            "--headless",
            "--api-key=secret",
            "--config",
            "--config=engine.yaml",
            "--grpc",
            "--disable_log_stats",
            "--enable-elastic-ep",
        ] {
            assert!(check(arg).is_err(), "{arg}");
        }
    }

    #[test]
    fn the_refusal_names_the_argument_and_the_cure_but_not_the_value() {
        let said = check("--api-key=hunter2").unwrap_err().to_string();
        assert_eq!(said, format!("--api-key: {KEY}"));
        assert_eq!(check("-tp=2").unwrap_err().to_string(), format!("-tp: {SHAPE}"));
    }

    #[test]
    fn other_arguments_pass() {
        for arg in [
            "--max-model-len",
            "256",
            "--model-impl=auto",
            "--dtype",
            "-q",
            "-O3",
            "-ep",
            "-dcp",
            "--seed",
            "-1",
            "-0.5",
            "--middleware",
            "--master-of-nothing",
            "--enforce-eager",
            "--config-format",
            "--disable-log-requests",
            "--hf-overrides",
            "{\"tp\": 1}",
            "",
            "-",
            "--",
        ] {
            assert_eq!(check(arg), Ok(()), "{arg}");
        }
    }

    #[test]
    fn environment_of_ray_and_the_bridge_is_refused() {
        let check = |name: &str| check_env(&BTreeMap::from([(name.to_owned(), "x".to_owned())]));
        for name in [
            "RAY_AUTH_TOKEN",
            "RAY_AUTH_MODE",
            "RAYFLEET_SPEC",
            "VLLM_HOST_IP",
            "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
            "CUDA_VISIBLE_DEVICES",
            "",
            "A=B",
            "1A",
            "Ä",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["HF_HUB_OFFLINE", "_x", "RAY_worker_niceness", "VLLM_CPU_RAY"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert!(check_env(&BTreeMap::from([("A".to_owned(), "a\0b".to_owned())])).is_err());
    }
}
