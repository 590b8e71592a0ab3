//! The fake clusters, each on its own port, which dashboard and engine share.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::error::Error;
use std::time::Duration;

use crate::replies;

/// Delay of a slow cluster; it still answers in time.
const SLOW: Duration = Duration::from_secs(2);

/// Serves `groups` clusters until standard input ends; with `sick` every other one fails. Prints their
/// addresses.
pub(crate) fn run(groups: usize, sick: bool) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let mut urls = Vec::new();
        for n in 0..groups {
            let healthy = !sick || n % 2 == 0;
            urls.push(match n / 2 % 3 {
                _ if healthy => cluster(Duration::ZERO).await,
                0 => common::silent().await,
                1 => cluster(SLOW).await,
                _ => common::closed_port().await,
            });
        }
        println!("{}", serde_json::to_string(&urls)?);
        // Runs until the watcher ends.
        tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
        Ok(())
    })
}

/// A cluster that answers everything this much later.
async fn cluster(delay: Duration) -> url::Url {
    let fake = common::Fake::start().await;
    fake.delay(delay);
    for (path, body) in replies::all() {
        fake.on(&format!("GET {path}"), [(200, body.into_bytes())]);
    }
    fake.url
}
