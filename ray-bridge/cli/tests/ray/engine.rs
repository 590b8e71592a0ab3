//! The light engine as these tests deploy it.

use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;

use crate::cluster::RANK;
use crate::settings::Settings;
use crate::tool::{self, model_file};

/// The processes of an engine, by a part of their command lines. Its API server and its ranks are Ray actors.
pub(crate) const PROCESSES: [&str; 4] = [RANK, "ray::ApiServer", "light_engine.core", "rayfleet_launcher.py"];
/// Time limit from `deploy` to an answer, on a busy machine.
pub(crate) const START: Duration = Duration::from_mins(2);

/// Writes the model file.
pub(crate) fn file(settings: &Settings, tensor: u32, pipeline: u32) -> anyhow::Result<String> {
    file_of(settings, "light", &settings.model.display().to_string(), (tensor, pipeline), 0)
}

/// Writes one with another file name, source or loading time of its ranks, in seconds.
pub(crate) fn file_of(
    settings: &Settings,
    name: &str,
    source: &str,
    (tensor, pipeline): (u32, u32),
    load: u32,
) -> anyhow::Result<String> {
    let text = format!(
        "name: light\nsource: {source}\nparallelism: {{tensor: {tensor}, pipeline: {pipeline}}}\nstartTimeout: 2m\n\
         engine: {{type: custom, entrypoint: 'light_engine:serve', args: [--load-seconds, '{load}']}}\n\
         probe: {{prompt: Hi, maxTokens: 4}}\n"
    );
    model_file(settings, name, &text)
}

/// Deploys it, waits for its answer to the probe and compares its ranks with the plan.
pub(crate) async fn deploy(file: &str) -> anyhow::Result<Value> {
    let engine = tool::done(&["deploy", "-f", file, "--wait"], START).await?;
    let verdict = tool::done(&["verify", "light"], Duration::from_secs(30)).await?;
    ensure!(verdict["asPlanned"] == true, "{verdict}");
    Ok(engine)
}
