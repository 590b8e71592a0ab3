//! `rayfleet-load URL`: sends completions until it is stopped, and exits with 1 if one failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rayfleet_e2e::console::{Console, line, print_error};
use rayfleet_e2e::load::{Load, Plan, Share, Target, served_model};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Sends short and streamed completions to a server of the `OpenAI` API and counts lost requests.
///
/// Half of the clients (rounded up) use a fresh connection for each request, the others keep theirs. Every
/// answer that is not complete and correct counts as a failure; nothing is retried. Ends by --for,
/// --until-file, --until-stdin-closes, SIGINT or SIGTERM, lets open requests finish, and exits with 1 if
/// any failed.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Base URL, such as `http://10.96.3.4:8000`
    url: String,
    /// Name of the model; by default the one that the server offers
    #[arg(long)]
    model: Option<String>,
    /// Clients of short requests
    #[arg(long, default_value_t = 4)]
    short: u32,
    /// Tokens of a short request
    #[arg(long, default_value_t = 4)]
    short_tokens: u32,
    /// Pause of a client between two short requests
    #[arg(long, default_value = "500ms")]
    pause: kube::core::Duration,
    /// Clients of streamed requests
    #[arg(long, default_value_t = 2)]
    streams: u32,
    /// Tokens of a streamed request
    #[arg(long, default_value_t = 400)]
    stream_tokens: u32,
    /// Longest wait for the start of an answer and for each further chunk
    #[arg(long, default_value = "60s")]
    patience: kube::core::Duration,
    /// How long to send
    #[arg(long = "for", value_name = "DURATION")]
    how_long: Option<kube::core::Duration>,
    /// Send until this file exists
    #[arg(long, value_name = "FILE")]
    until_file: Option<PathBuf>,
    /// Send until standard input is closed
    #[arg(long)]
    until_stdin_closes: bool,
    /// Longest wait for open requests at the end
    #[arg(long, default_value = "5m")]
    finish: kube::core::Duration,
    /// Write the report as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_error(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether no request was lost.
async fn run(args: Args) -> anyhow::Result<bool> {
    let target = Target::parse(&args.url)?;
    let patience: Duration = args.patience.into();
    let model = match &args.model {
        Some(model) => model.clone(),
        None => served_model(&target, patience).await?,
    };
    let share =
        |clients: u32, tokens, pause| Share { fresh: clients.div_ceil(2), kept: clients / 2, tokens, pause };
    let plan = Plan {
        target,
        model,
        short: share(args.short, args.short_tokens, args.pause.into()),
        stream: share(args.streams, args.stream_tokens, Duration::from_millis(100)),
        patience,
    };
    let console = Console::default();
    console.say(format_args!("load on {} for model {}", plan.target, plan.model));
    let load = Load::start(&plan);
    let end = until_reported(&args);
    tokio::pin!(end);
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    tick.tick().await;
    loop {
        tokio::select! {
            reported = &mut end => {
                console.say(format_args!("stopping: {}", reported?));
                break;
            }
            _ = tick.tick() => console.say(load.so_far().line()),
        }
    }
    let report = load.stop(args.finish.into()).await;
    line(&report);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        tokio::fs::write(path, text).await.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report.failed == 0 && report.open == 0 && report.sent > 0)
}

/// Waits for the first of the configured ends, and returns which it was.
async fn until_reported(args: &Args) -> anyhow::Result<&'static str> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let time = async {
        match args.how_long {
            Some(wait) => tokio::time::sleep(wait.into()).await,
            None => std::future::pending().await,
        }
    };
    let file = async {
        let Some(path) = &args.until_file else { return std::future::pending().await };
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        while !path.exists() {
            tick.tick().await;
        }
    };
    let stdin = async {
        if !args.until_stdin_closes {
            return std::future::pending().await;
        }
        let (mut input, mut bytes) = (tokio::io::stdin(), [0_u8; 256]);
        while matches!(input.read(&mut bytes).await, Ok(count) if count > 0) {}
    };
    Ok(tokio::select! {
        () = time => "the time has elapsed",
        () = file => "the file exists",
        () = stdin => "standard input was closed",
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}
