//! The commands against a fake cluster: requests, output and exit codes, by subject.

mod deploy;
mod doctor;
mod logs;
mod plan;
mod status;
mod stop;
mod watch;

use clap::Parser;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::testing::Kept;

use crate::args::Cli;
use crate::connect::Session;
use crate::fake::Fake;
use crate::model::tests::TINY;
use crate::{Answer, run};

/// A model file that lives as long as the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ray-bridge-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The result of one command line.
struct Ran {
    answer: Result<Answer, CliError>,
    out: String,
    progress: String,
}

impl Ran {
    fn code(&self) -> u8 {
        match &self.answer {
            Ok(Answer::Yes) => 0,
            Ok(Answer::No) => 1,
            Err(fault) => fault.code(),
        }
    }

    fn said(&self) -> String {
        self.answer.as_ref().err().map(ToString::to_string).unwrap_or_default()
    }

    /// Progress without its times.
    fn steps(&self) -> Vec<&str> {
        self.progress.lines().map(|line| line.split_once("s  ").map_or(line, |(_, step)| step)).collect()
    }
}

async fn ran_in(session: &Session, line: &str) -> Ran {
    let cli = Cli::try_parse_from(std::iter::once("ray-bridge").chain(line.split_whitespace())).unwrap();
    let kept = Kept::default();
    let answer = run(&cli.command, session, &kept.terminal(cli.global.output)).await;
    Ran { answer, out: kept.out(), progress: kept.progress() }
}

async fn ran(fake: &Fake, line: &str) -> Ran {
    ran_in(&fake.session(), line).await
}

fn file(name: &str) -> (File, String) {
    let file = File::new(name, TINY);
    let path = file.0.display().to_string();
    (file, path)
}

/// A cluster with the engine of [`TINY`] deployed.
async fn deployed(name: &str) -> Fake {
    let fake = Fake::start().await;
    let (_file, path) = file(name);
    assert_eq!(ran(&fake, &format!("deploy -f {path}")).await.code(), 0);
    fake
}
