//! Requirements of the tests on their machine, and the settings of every Ray node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Ray's token of this run. The network that it is valid for is not reachable from outside.
pub(crate) const TOKEN: &str = "token-of-the-tests";

pub(crate) struct Settings {
    venv: PathBuf,
    /// The model of both engines.
    pub(crate) model: PathBuf,
    /// A mixture of experts, for vLLM.
    pub(crate) experts: PathBuf,
    /// What vLLM has found out about the models' classes.
    pub(crate) notes: PathBuf,
    /// Logs of this cluster's nodes, and model files; kept until the next cluster of its size.
    pub(crate) logs: PathBuf,
}

impl Settings {
    /// Reads the environment; the defaults are those of the local cluster. `RAYFLEET_RAY_VENV` is a venv with
    /// another Ray.
    pub(crate) fn find(gpus: &[u32]) -> anyhow::Result<Self> {
        let local = std::env::var_os("RAYFLEET_LOCAL")
            .map_or_else(|| "/var/lib/rayfleet-local".into(), PathBuf::from);
        let (own, model) = (std::env::var_os("RAYFLEET_RAY_VENV"), local.join("models/tiny"));
        let venv = own.map_or_else(|| local.join("venv"), PathBuf::from);
        for needed in [venv.join("bin/ray"), model.join("config.json")] {
            ensure!(needed.exists(), "{} is missing: hack/cluster venv makes it", needed.display());
        }
        let gpus: Vec<String> = gpus.iter().map(u32::to_string).collect();
        let logs =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("ray").join(format!("gpus-{}", gpus.join("-")));
        if logs.exists() {
            std::fs::remove_dir_all(&logs).with_context(|| logs.display().to_string())?;
        }
        std::fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let models = local.join("models");
        Ok(Self { venv, model, experts: models.join("tiny-experts"), notes: models.join("vllm-notes"), logs })
    }

    /// Environment of `ray start` on every node.
    pub(crate) fn node_environment(&self) -> Vec<(&'static str, OsString)> {
        let mut path = self.venv.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let set = |name, value: &str| (name, OsString::from(value));
        vec![
            ("PATH", path),
            // The engine and vLLM's platform of this source tree, whatever the venv contains.
            ("PYTHONPATH", python_path(&repository)),
            set("PYTHONDONTWRITEBYTECODE", "1"),
            set("RAY_AUTH_MODE", "token"),
            set("RAY_AUTH_TOKEN", TOKEN),
            // Ranks with the same priority start much faster on a small machine.
            set("RAY_worker_niceness", "0"),
            set("RAY_health_check_period_ms", "1000"),
            set("RAY_health_check_timeout_ms", "1000"),
            set("RAY_health_check_failure_threshold", "3"),
            set("RAY_USAGE_STATS_ENABLED", "0"),
        ]
    }
}

fn python_path(repository: &Path) -> OsString {
    let mut path = repository.join("e2e/light_engine").into_os_string();
    path.push(":");
    path.push(repository.join("hack/python/vllm_cpu_ray"));
    path
}
