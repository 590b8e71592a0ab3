//! `ray-bridge` on real Ray: clusters whose nodes are namespaces of this machine, a light engine or vLLM on
//! them, and all their faults.
//!
//! `hack/ray` runs them; without `RAYFLEET_RAY=1` they report that they were skipped. Arguments are parts of
//! names, as for `cargo test`; `--list` lists. Those that need vLLM run only if named.

mod api;
mod clock;
mod cluster;
mod engine;
mod engines;
mod faults;
mod node;
mod processes;
mod settings;
mod starts;
mod tool;
mod vllm;
mod wide;
mod world;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use futures::future::LocalBoxFuture;

use cluster::Cluster;
use settings::Settings;

const GATE: &str = "RAYFLEET_RAY";

/// One test. Consecutive tests with the same cluster share it, because its start takes longest.
struct Test {
    name: &'static str,
    /// A worker for each number of GPUs.
    gpus: &'static [u32],
    limit: Duration,
    /// Run only if named: it takes long.
    heavy: bool,
    run: fn(&mut Cluster) -> LocalBoxFuture<'_, anyhow::Result<()>>,
}

fn tests() -> Vec<Test> {
    let minutes = Duration::from_mins;
    vec![
        Test {
            name: "sixteen_ranks_are_placed_exactly",
            gpus: &[8, 8],
            limit: minutes(3),
            heavy: false,
            run: |cluster| Box::pin(wide::sixteen(cluster)),
        },
        Test {
            name: "every_call_is_answered_and_an_engine_placed",
            gpus: &[2, 2, 2],
            limit: minutes(5),
            heavy: false,
            run: |cluster| Box::pin(api::every_call(cluster)),
        },
        Test {
            name: "data_parallel_engines_are_placed_and_end_together",
            gpus: &[2, 2, 2],
            limit: minutes(4),
            heavy: false,
            run: |cluster| Box::pin(engines::light(cluster)),
        },
        Test {
            name: "a_start_that_fails_says_why",
            gpus: &[2, 2, 2],
            limit: minutes(5),
            heavy: false,
            run: |cluster| Box::pin(starts::failing(cluster)),
        },
        Test {
            name: "every_fault_is_reported_and_recovered_from",
            gpus: &[2, 2, 2],
            limit: minutes(10),
            heavy: false,
            run: |cluster| Box::pin(faults::all(cluster)),
        },
        Test {
            name: "vllm_is_deployed_verified_and_answers",
            gpus: &[2, 2],
            limit: minutes(10),
            heavy: true,
            run: |cluster| Box::pin(vllm::answers(cluster)),
        },
        Test {
            name: "vllm_shares_experts_between_two_engines",
            gpus: &[2, 2],
            limit: minutes(10),
            heavy: true,
            run: |cluster| Box::pin(engines::share_experts(cluster)),
        },
    ]
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut chosen = tests();
    chosen.retain(|test| match wanted.as_slice() {
        [] => !test.heavy,
        parts => parts.iter().any(|part| test.name.contains(part.as_str())),
    });
    if args.iter().any(|arg| arg == "--list") {
        for test in &tests() {
            say(&format!("{}: test", test.name));
        }
        return ExitCode::SUCCESS;
    }
    if std::env::var(GATE).as_deref() != Ok("1") {
        for test in &chosen {
            say(&format!("test {} ... skipped", test.name));
        }
        say(&format!("skipped: these tests make namespaces: run hack/ray (it sets {GATE}=1)"));
        say(&format!("0 passed, 0 failed, {} skipped", chosen.len()));
        return ExitCode::SUCCESS;
    }
    let outcome = if world::inside() { run_all(&chosen) } else { world::enter() };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error:#}\n0 passed, {} failed, 0 skipped", chosen.len()));
        ExitCode::FAILURE
    })
}

fn run_all(chosen: &[Test]) -> anyhow::Result<ExitCode> {
    world::lay_network()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = 0;
    let mut cluster: Option<Cluster> = None;
    for test in chosen {
        say(&format!("test {} ...", test.name));
        let start = clock::instant();
        let mut outcome = runtime.block_on(ready(&mut cluster, test.gpus));
        if let (Ok(()), Some(cluster)) = (&outcome, &mut cluster) {
            outcome = runtime.block_on(async {
                match tokio::time::timeout(test.limit, (test.run)(cluster)).await {
                    Ok(outcome) => outcome,
                    Err(_) => bail!("not over after {} s", test.limit.as_secs()),
                }
            });
        }
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        say(&format!("test {} ... {word} ({:.1} s)", test.name, clock::seconds_since(start)));
        if let Err(error) = outcome {
            failed += 1;
            say(&format!("error: {}: {error:#}", test.name));
            // The state of the cluster is unknown.
            cluster = None;
        }
    }
    drop(cluster);
    runtime.block_on(cleared())?;
    say(&format!("{} passed, {failed} failed, 0 skipped", chosen.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A cluster with these GPUs: the present one, or a new one in its place.
async fn ready(cluster: &mut Option<Cluster>, gpus: &[u32]) -> anyhow::Result<()> {
    if cluster.as_ref().is_some_and(|cluster| cluster.has(gpus)) {
        return Ok(());
    }
    *cluster = None;
    cleared().await?;
    let start = clock::instant();
    *cluster = Some(Cluster::start(Settings::find(gpus)?, gpus).await?);
    say(&format!("  head and workers of {gpus:?} GPUs in after {:.1} s", clock::seconds_since(start)));
    Ok(())
}

/// Waits until the nodes of a dropped cluster, which are being killed, are gone, and removes their
/// interfaces: the kernel may keep a namespace without processes, and its end of an interface, for more than
/// a minute.
/// more.
async fn cleared() -> anyhow::Result<()> {
    until("the nodes of the last cluster to go", Duration::from_mins(1), async || {
        let left = processes::all("/run/ray");
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await?;
    for wire in world::wires()? {
        // It may disappear by itself meanwhile.
        drop(world::ip(&["link", "delete", &wire]));
    }
    let left = world::wires()?;
    ensure!(left.is_empty(), "wires that cannot be deleted: {left:?}");
    Ok(())
}

/// Prints a line at once.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Polls five times a second until there is a result. Errors are ignored until the time limit, because a
/// cluster is often between two states; then the last one is returned.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = clock::instant();
    let mut last = String::new();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while clock::seconds_since(start) < limit.as_secs_f64() {
        tick.tick().await;
        match ask().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => last.clear(),
            Err(error) => last = format!(": {error:#}"),
        }
    }
    bail!("waited {} s for {what}{last}", limit.as_secs())
}
