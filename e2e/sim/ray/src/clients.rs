//! Clients of engines. Each sends one streamed completion, which counts as in flight until the client
//! leaves.

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
    /// Open since an earlier request.
    Kept,
    /// A new one.
    Fresh,
}

/// Outcome of a request, as its client observed it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// All tokens arrived.
    Answered {
        /// Time from the request to the last token.
        seconds: f64,
    },
    /// Nothing accepted it, and no fault was the cause.
    Refused,
    /// It was accepted and not completed, or a fault had ended the engine that would have accepted it.
    CutOff {
        /// Tokens received.
        tokens: u32,
        /// A fault was the cause.
        death: bool,
    },
}

impl RayWorld {
    /// Sends one streaming completion of `tokens` tokens from inside the cluster network. Dropping the
    /// future is a client that disconnects.
    pub async fn request(&self, ip: &str, port: u16, tokens: u32, connection: Connection) -> Outcome {
        let shared = &self.0;
        let at = (ip.to_owned(), port);
        let began = shared.with(|world| world.now);
        let (reached, blamed) = shared.with(|world| {
            let blamed = world.engines.get(&at).is_some_and(|engine| engine.blamed(world.now));
            // A cut path affects only the orchestrator's requests.
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

    /// Whether an engine asks clients to close their connections after the answer, as it does while it
    /// drains.
    pub fn says_close(&self, ip: &str, port: u16) -> bool {
        let at = (ip.to_owned(), port);
        self.0.with(|world| world.engines.get(&at).is_some_and(|engine| engine.draining))
    }

    /// Time since the start of the world, and the time of day.
    pub fn now(&self) -> (Duration, jiff::Timestamp) {
        let now = self.0.with(|world| world.now);
        (now, clock::timestamp(now))
    }
}
