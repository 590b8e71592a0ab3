//! The `ray-bridge` program, as a person or a script runs it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::clock;
use crate::cluster::HEAD_IP;
use crate::settings::{Settings, TOKEN};

/// The result of one run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: Value,
    pub(crate) said: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ray-bridge"));
    command
        .args(["--address", &format!("http://{HEAD_IP}:8265"), "-o", "json"])
        .args(arguments)
        .env("RAY_AUTH_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to the end.
pub(crate) async fn run(arguments: &[&str], limit: Duration) -> anyhow::Result<Ran> {
    let what = arguments.join(" ");
    let output = tokio::time::timeout(limit, command(arguments).output())
        .await
        .with_context(|| format!("ray-bridge {what} is not over after {} s", limit.as_secs()))??;
    let out = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Ran { code: output.status.code(), out, said })
}

/// Runs it and requires success.
pub(crate) async fn done(arguments: &[&str], limit: Duration) -> anyhow::Result<Value> {
    let ran = run(arguments, limit).await?;
    ensure!(
        ran.code == Some(0),
        "ray-bridge {}: {:?}: {}\n{}",
        arguments.join(" "),
        ran.code,
        ran.said,
        ran.out
    );
    Ok(ran.out)
}

/// Writes a model file.
pub(crate) fn model_file(settings: &Settings, name: &str, text: &str) -> anyhow::Result<String> {
    let path: PathBuf = settings.logs.join(format!("{name}.yaml"));
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.display().to_string())
}

/// A running `ray-bridge watch`: its lines, and when they came.
pub(crate) struct Watch {
    lines: mpsc::UnboundedReceiver<(Instant, Value)>,
    _child: Child,
}

impl Watch {
    /// Starts it, and waits until it has reported that the engine serves.
    pub(crate) async fn of(name: &str, hung_after: &str) -> anyhow::Result<Self> {
        let mut child =
            command(&["--request-timeout", "3s", "watch", name, "--hung-after", hung_after]).spawn()?;
        let out = child.stdout.take().context("its output")?;
        let (send, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut out = BufReader::new(out).lines();
            while let Ok(Some(line)) = out.next_line().await {
                let Ok(value) = serde_json::from_str(&line) else { continue };
                if send.send((clock::instant(), value)).is_err() {
                    break;
                }
            }
        });
        let mut watch = Self { lines, _child: child };
        let serves = |value: &Value| value["change"].as_str().is_some_and(|text| text == "serving");
        watch.until("the engine to serve", Duration::from_secs(30), serves).await?;
        Ok(watch)
    }

    /// The first matching line from now on, and when it came.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<(Instant, Value)> {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(limit, async {
            while let Some((when, value)) = self.lines.recv().await {
                if wanted(&value) {
                    return Some((when, value));
                }
                seen.push(value["change"].to_string());
            }
            None
        })
        .await;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => {
                bail!("ray-bridge watch has ended while it was to wait for {what}; it said {seen:#?}")
            }
            Err(_) => {
                bail!("ray-bridge watch did not see {what} in {} s; it said {seen:#?}", limit.as_secs())
            }
        }
    }
}
