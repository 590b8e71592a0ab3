//! Clients of engines: one streamed completion each, which counts as in flight for as long as its client stays.

use std::time::Duration;

use super::clock;
use super::handle::RayWorld;
use super::reach::Reached;
use super::stream::{Streamed, stream};

/// How long a client waits for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The connection of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// One that is open since an earlier request.
    Kept,
    /// A new one.
    Fresh,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// All tokens came.
    Answered {
        /// How long it took.
        seconds: f64,
    },
    /// Nobody took it, and no fault was the cause.
    Refused,
    /// It was taken and not answered whole, or a fault had ended whoever would have taken it.
    CutOff {
        /// Tokens that came.
        tokens: u32,
        /// A fault was the cause.
        death: bool,
    },
}

impl RayWorld {
    /// One streaming completion of so many tokens, as a client of the cluster's network sends it. Dropping the future is a
    /// client that goes away.
    pub async fn request(&self, ip: &str, port: u16, tokens: u32, connection: Connection) -> Outcome {
        let shared = &self.0;
        let at = (ip.to_owned(), port);
        let began = shared.with(|world| world.now);
        let (reached, blamed) = shared.with(|world| {
            let blamed = world.engines.get(&at).is_some_and(|engine| engine.blamed(world.now));
            // Only the orchestrator's own way may be cut.
            let reached = world.reach_within(&at.0, at.1);
            (reached, blamed)
        });
        let nobody = if blamed { Outcome::CutOff { tokens: 0, death: true } } else { Outcome::Refused };
        match reached {
            Reached::Engine if blamed => return nobody,
            Reached::Engine => {}
            Reached::Silent | Reached::NoRoute => {
                let patience = if connection == Connection::Kept { 4 * CONNECT } else { CONNECT };
                tokio::time::sleep(patience).await;
                return nobody;
            }
            _ => return nobody,
        }
        match stream(shared, &at, tokens).await {
            Streamed::Whole => {
                let took = shared.with(|world| world.now).saturating_sub(began);
                Outcome::Answered { seconds: took.as_secs_f64() }
            }
            Streamed::Refused => nobody,
            Streamed::Cut { tokens, death } => Outcome::CutOff { tokens, death },
        }
    }

    /// Whether an engine tells its clients to close their connections after the answer: it drains.
    pub fn says_close(&self, ip: &str, port: u16) -> bool {
        let at = (ip.to_owned(), port);
        self.0.with(|world| world.engines.get(&at).is_some_and(|engine| engine.draining))
    }

    /// Time since the world began, and that as a time of day.
    pub fn now(&self) -> (Duration, jiff::Timestamp) {
        let now = self.0.with(|world| world.now);
        (now, clock::timestamp(now))
    }
}
