//! The main use case with real vLLM, exactly as the quickstart shows it.

use std::time::Duration;

use anyhow::ensure;
use rayfleet_e2e::demo::MainJob;
use rayfleet_e2e::examples;

use crate::suite::Suite;

pub(crate) async fn kept(suite: &Suite) -> anyhow::Result<()> {
    suite.clear().await?;
    let job = MainJob {
        cluster: suite.cluster.clone(),
        tools: suite.tools.clone(),
        file: examples::folder().join("quickstart.yaml"),
        engine_change: ("--max-num-seqs".to_owned(), "6".to_owned()),
        stream_tokens: 400,
        limit: Duration::from_mins(10),
        console: suite.console,
    };
    let summary = job.run().await?;
    suite.console.say(&summary);
    let broken = summary.broken();
    ensure!(broken.is_empty(), "broken promises: {}", broken.join("; "));
    suite.fleet("quickstart").delete(Duration::from_mins(1)).await?;
    suite.nothing_left().await
}
