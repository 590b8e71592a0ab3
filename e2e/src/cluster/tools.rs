//! Command lines of a user: kubectl and its plugin, run with a timeout, with captured output.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub errors: String,
}

/// How kubectl is called.
#[derive(Clone, Debug)]
pub struct Tools {
    program: PathBuf,
    context: Option<String>,
    namespace: String,
}

impl Tools {
    /// `kubectl` from the PATH, with a context (if any) and a namespace.
    pub fn new(context: Option<String>, namespace: &str) -> Self {
        let program = std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from);
        Self { program, context, namespace: namespace.to_owned() }
    }

    /// kubectl with its context.
    pub(super) fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command
    }

    /// Runs `kubectl ARGS` in the namespace and returns its output. An exit code other than 0 is an error
    /// with its output.
    pub async fn run(&self, args: &[&str], input: Option<&str>, limit: Duration) -> anyhow::Result<String> {
        let Answer { status, out, errors } = self.ask(args, input, limit).await?;
        ensure!(status.success(), "kubectl {}: {status}\n{out}{errors}", args.join(" "));
        Ok(out)
    }

    /// Runs `kubectl ARGS` in the namespace, whatever its exit code.
    pub async fn ask(&self, args: &[&str], input: Option<&str>, limit: Duration) -> anyhow::Result<Answer> {
        let what = format!("kubectl {}", args.join(" "));
        let mut command = if let Some((&"rayfleet", rest)) = args.split_first() {
            // The plugin is run as kubectl would find it; it accepts kubectl's flags itself.
            let mut plugin = Command::new("kubectl-rayfleet");
            plugin.args(rest);
            if let Some(context) = &self.context {
                plugin.args(["--context", context]);
            }
            plugin
        } else {
            let mut kubectl = Command::from(self.kubectl());
            kubectl.args(args);
            kubectl
        };
        command.args(["--namespace", &self.namespace]).kill_on_drop(true);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{what}: cannot be started: is it on the PATH?"))?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).await?;
        }
        let Ok(output) = timeout(limit, child.wait_with_output()).await else {
            bail!("{what}: not ended after {} s", limit.as_secs())
        };
        let output = output?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer { status: output.status, out: text(&output.stdout), errors: text(&output.stderr) })
    }
}
