//! Refuses arguments and environment variables that the bridge sets itself. Which ones these are stands in
//! `vllm`; this module knows the spellings of an argument.

use std::collections::BTreeMap;

use super::vllm::{OWNED, OWNED_ENV};

/// An argument or environment variable that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct ArgRefused {
    /// The argument or variable as the user wrote it, without its value.
    pub what: String,
    /// Why it is refused, and what to set instead.
    pub reason: &'static str,
}

/// An option of an engine that the bridge sets itself or relies on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
    /// Its long form without dashes.
    pub(crate) long: &'static str,
    /// Longer options with this prefix are owned too.
    pub(crate) family: bool,
    /// Its short forms without the dash.
    pub(crate) short: &'static [&'static str],
    /// Why it is refused, and what to set instead.
    pub(crate) reason: &'static str,
}

/// The options that the bridge owns: long form, whether the prefix is owned too, short forms.
pub fn owned_args() -> impl Iterator<Item = (&'static str, bool, &'static [&'static str])> {
    OWNED.iter().map(|owned| (owned.long, owned.family, owned.short))
}

/// Refuses the options that the bridge owns, in every spelling that the engine's parser accepts: `--x`,
/// `--x=y`, `--x_y`, `-x`, `-x3` and unambiguous prefixes of these.
pub fn check_args(args: &[String]) -> Result<(), ArgRefused> {
    for arg in args {
        let written = arg.split('=').next().unwrap_or_default();
        let found = match written.strip_prefix("--") {
            Some(name) => long(&name.replace('_', "-")),
            None => written.strip_prefix('-').and_then(short),
        };
        if let Some(Owned { reason, .. }) = found {
            return Err(ArgRefused { what: written.chars().take(100).collect(), reason });
        }
    }
    Ok(())
}

fn long(name: &str) -> Option<&'static Owned> {
    let exact =
        OWNED.iter().find(|option| option.long == name || option.family && name.starts_with(option.long));
    exact.or_else(|| OWNED.iter().find(|option| name.len() >= 3 && option.long.starts_with(name)))
}

fn short(name: &str) -> Option<&'static Owned> {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.is_empty() {
        return None; // a negative number, so the value of the argument before
    }
    OWNED.iter().find(|option| option.short.iter().any(|form| form.starts_with(letters)))
}

/// Variables that Ray or the bridge sets, for every engine.
const ENV_PREFIXES: &[&str] = &["RAY_AUTH_", "RAYFLEET_"];
const ENV_NAMES: &[&str] = &[
    "RAY_ADDRESS",
    // Ray sets it per rank; one value for all ranks would give them the same GPU.
    "CUDA_VISIBLE_DEVICES",
];

/// Refuses variables that the bridge or Ray sets, and invalid names.
pub fn check_env(env: &BTreeMap<String, String>) -> Result<(), ArgRefused> {
    for (name, value) in env {
        let refuse = |reason| Err(ArgRefused { what: format!("env {}", name.escape_debug()), reason });
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !well_formed {
            return refuse("a name consists of letters, digits and '_', and does not begin with a digit");
        }
        if value.contains('\0') {
            return refuse("a value cannot contain a zero byte");
        }
        let owned = ENV_NAMES.iter().chain(OWNED_ENV);
        if ENV_PREFIXES.iter().any(|p| name.starts_with(p)) || owned.into_iter().any(|n| n == name) {
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
        assert!(said.starts_with("--api-key: ") && !said.contains("hunter2"), "{said}");
        let shape = "-tp: the shape comes from the parallelism of the model; set that instead";
        assert_eq!(check("-tp=2").unwrap_err().to_string(), shape);
    }

    #[test]
    fn other_arguments_are_accepted() {
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
    fn variables_of_ray_and_the_bridge_are_refused() {
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
