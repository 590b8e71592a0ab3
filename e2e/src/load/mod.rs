//! The load generator: short requests and long streams, on fresh and on kept connections, until it is
//! stopped. It only counts; the caller decides whether a failure matters.

mod connection;
mod death;
mod exchange;
mod failure;
mod report;
mod sse;
mod target;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use death::{Cost, Death, Losses};
pub use failure::RequestFailure;
pub use report::{Failure, Kind, KindReport, Report};
pub use target::Target;

use crate::clock;
use connection::Client;
use exchange::Question;
use report::Tally;

/// The load to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// Name of the model.
    pub model: String,
    /// Share of short requests.
    pub short: Share,
    /// Share of streams.
    pub stream: Share,
    /// Longest wait for the head of an answer and for each further chunk.
    pub patience: Duration,
}

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Number of concurrent requests with a fresh connection each.
    pub fresh: u32,
    /// Number of concurrent requests on connections that are kept between requests.
    pub kept: u32,
    /// Pause after each request.
    pub pause: Duration,
    /// Tokens of each request.
    pub tokens: u32,
}

/// A running load. Dropping it ends it at once, in the middle of requests.
pub struct Load {
    workers: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    start: Instant,
}

impl Load {
    /// Starts sending.
    pub fn start(plan: &Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let start = clock::instant();
        let mut workers = JoinSet::new();
        for (kind, share) in [(Kind::Short, plan.short), (Kind::Stream, plan.stream)] {
            for index in 0..share.fresh + share.kept {
                let worker = Worker {
                    kind,
                    share,
                    index,
                    plan: plan.clone(),
                    client: Client::new(plan.target.clone(), index >= share.fresh),
                    tally: Arc::clone(&tally),
                    stopped: stopped.clone(),
                    start,
                };
                workers.spawn(worker.run());
            }
        }
        Self { workers, tally, stop, start }
    }

    /// The report so far.
    pub fn so_far(&self) -> Report {
        lock(&self.tally).report(clock::seconds_since(self.start))
    }

    /// Its start, from which the times of failures count.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Stops sending, waits until all open requests have ended, and reports. Requests that are still open
    /// after `limit` stay `open` in the report.
    pub async fn stop(mut self, limit: Duration) -> Report {
        self.stop.send_replace(true);
        let ended = async { while self.workers.join_next().await.is_some() {} };
        drop(timeout(limit, ended).await);
        self.so_far()
    }
}

/// Requests one short completion on a fresh connection and returns its text.
pub async fn complete(
    target: &Target,
    model: &str,
    prompt: &str,
    tokens: u32,
    patience: Duration,
) -> Result<String, RequestFailure> {
    let question = Question { model, prompt: prompt.to_owned(), tokens, stream: false, patience };
    exchange::ask(&mut Client::new(target.clone(), false), &question).await
}

/// The name of the first model that a server offers.
pub async fn served_model(target: &Target, patience: Duration) -> anyhow::Result<String> {
    exchange::served_model(&mut Client::new(target.clone(), false), patience)
        .await
        .with_context(|| format!("{target}/v1/models does not say which model is served: give its name"))
}

/// A task that sends one request after the other.
struct Worker {
    kind: Kind,
    share: Share,
    index: u32,
    plan: Plan,
    client: Client,
    tally: Arc<Mutex<Tally>>,
    stopped: watch::Receiver<bool>,
    start: Instant,
}

impl Worker {
    async fn run(mut self) {
        // Workers that start together would stay in step forever.
        self.pause(self.share.pause * self.index / (self.share.fresh + self.share.kept)).await;
        let mut number = 0_u64;
        while !*self.stopped.borrow() {
            number += 1;
            let question = Question {
                model: &self.plan.model,
                prompt: format!("Request {number} of client {}: the quick brown fox", self.index),
                tokens: self.share.tokens,
                stream: self.kind == Kind::Stream,
                patience: self.plan.patience,
            };
            lock(&self.tally).begin();
            let at = clock::seconds_since(self.start);
            let outcome = exchange::ask(&mut self.client, &question).await.map(drop);
            let seconds = clock::seconds_since(self.start) - at;
            self.count(at, seconds, outcome);
            self.pause(self.share.pause).await;
        }
    }

    fn count(&mut self, at: f64, seconds: f64, outcome: Result<(), RequestFailure>) {
        let mut tally = lock(&self.tally);
        tally.end(self.kind, at, seconds, self.client.server.take(), outcome);
        tally.connections(std::mem::take(&mut self.client.reused), std::mem::take(&mut self.client.unsent));
    }

    async fn pause(&mut self, wait: Duration) {
        // Ends early when the load is stopped; an error means the same.
        drop(timeout(wait, self.stopped.wait_for(|stopped| *stopped)).await);
    }
}

/// Counts are consistent at every moment, so a poisoned lock can be used.
fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
