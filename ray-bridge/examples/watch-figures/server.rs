//! The fake clusters, each on its own port, which dashboard and engine share.

use std::error::Error;
use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use tokio::net::TcpListener;

use crate::replies;

/// Delay of a slow cluster; it still answers in time.
const SLOW: Duration = Duration::from_secs(2);

/// Serves `groups` clusters until standard input ends; with `sick` every other one fails. Prints their
/// addresses.
pub(crate) fn run(groups: usize, sick: bool) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let bodies = Arc::new(replies::all());
        let mut urls = Vec::new();
        for n in 0..groups {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            urls.push(format!("http://{}", listener.local_addr()?));
            let (healthy, bodies) = (!sick || n % 2 == 0, Arc::clone(&bodies));
            let serve = |delay: Duration| {
                Router::new().fallback(move |request: Request| {
                    let bodies = Arc::clone(&bodies);
                    async move {
                        tokio::time::sleep(delay).await;
                        match bodies.get(request.uri().path()) {
                            Some(body) => (StatusCode::OK, body.clone()),
                            None => (StatusCode::NOT_FOUND, String::new()),
                        }
                    }
                })
            };
            let server = match n / 2 % 3 {
                _ if healthy => tokio::spawn(axum::serve(listener, serve(Duration::ZERO)).into_future()),
                0 => tokio::spawn(accept_and_never_answer(listener)),
                1 => tokio::spawn(axum::serve(listener, serve(SLOW)).into_future()),
                // Its port is closed.
                _ => continue,
            };
            drop(server);
        }
        println!("{}", serde_json::to_string(&urls)?);
        // Runs until the watcher ends.
        tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
        Ok(())
    })
}

async fn accept_and_never_answer(listener: TcpListener) -> std::io::Result<()> {
    let mut held = Vec::new();
    loop {
        held.push(listener.accept().await?.0);
    }
}
