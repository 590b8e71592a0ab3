//! `drain`: drains an engine and waits until no request has been in flight for a second.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::engine::Load;
use ray_bridge::{CallError, CallErrorKind as Call};
use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use serde::Serialize;
use tokio::time::sleep;

use crate::args::DrainArgs;
use crate::connect::{Found, Session};
use crate::{Answer, error};

/// How long no request may be in flight: a client may be between two requests.
const SETTLED: Duration = Duration::from_secs(1);

/// The result.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drained {
    name: String,
    #[serde(rename = "drained")]
    empty: bool,
    in_flight: u64,
    seconds: f64,
}

pub(crate) async fn run(
    args: &DrainArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let found = session.find(&args.name).await?;
    let done = drain(&found, args.timeout, session, terminal).await?;
    let text = if done.empty {
        format!("{}: drained in {:.1} s\n", done.name, done.seconds)
    } else {
        format!(
            "{}: {} requests are still in flight after {:.0} s; it drains on\ncure: give it longer (--timeout), or \
             take it out of its load balancer first\n",
            done.name, done.in_flight, done.seconds
        )
    };
    terminal.result(&done, &text)?;
    Ok(if done.empty { Answer::Yes } else { Answer::No })
}

/// Drains before a stop; it is an error if requests are still in flight at the end.
pub(crate) async fn or_fail(
    found: &Found,
    limit: Duration,
    session: &Session,
    terminal: &Terminal,
) -> Result<(), CliError> {
    let done = drain(found, limit, session, terminal).await?;
    if done.empty {
        terminal.progress(&format!("{}: drained in {:.1} s", done.name, done.seconds));
        return Ok(());
    }
    Err(CliError::failed(
        format!("engine {}: {} requests are still in flight; it was not stopped", done.name, done.in_flight),
        format!("give it longer (--drain-timeout), or end them: ray-bridge stop {}", done.name),
    ))
}

async fn drain(
    found: &Found,
    limit: Duration,
    session: &Session,
    terminal: &Terminal,
) -> Result<Drained, CliError> {
    if found.job.status.has_ended() {
        return Err(CliError::failed(
            format!("engine {} has ended: there is nothing to drain", found.id),
            format!("see why: ray-bridge status {}", found.id),
        ));
    }
    let engine = session.engine(found.engine()?)?;
    match engine.set_draining(true).await {
        Ok(()) => {}
        Err(CallError { kind: Call::NotFound { .. }, .. }) => {
            terminal.progress("the engine cannot drain; only waiting for its requests to end");
        }
        Err(error) => return Err(error::call(error)),
    }
    let began = clock::now();
    let (mut reported, mut empty_since) = (None, None);
    loop {
        let Load { in_flight, kept_connections, .. } = engine.load().await.map_err(error::call)?;
        let now = clock::now();
        if reported != Some(in_flight) {
            reported = Some(in_flight);
            terminal.progress(&format!("{:>7.1}s  {in_flight} in flight", between(began, now).as_secs_f64()));
        }
        // A request may come on a connection that a client keeps.
        let empty = settled(in_flight.saturating_add(kept_connections), now, &mut empty_since);
        let spent = between(began, now);
        if empty || spent >= limit {
            return Ok(Drained {
                name: found.id.to_string(),
                empty,
                in_flight,
                seconds: spent.as_secs_f64(),
            });
        }
        sleep(session.pace.min(Duration::from_millis(250))).await;
    }
}

/// Whether no request has been in flight, nor could be, for long enough.
fn settled(open: u64, now: Timestamp, empty_since: &mut Option<Timestamp>) -> bool {
    if open > 0 {
        *empty_since = None;
        return false;
    }
    between(*empty_since.get_or_insert(now), now) >= SETTLED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_request_restarts_the_waiting_time() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let mut since = None;
        assert!(!settled(0, at(0), &mut since));
        assert!(!settled(1, at(600), &mut since));
        assert!(!settled(0, at(1_100), &mut since));
        assert!(!settled(0, at(2_000), &mut since));
        assert!(settled(0, at(2_100), &mut since));
    }
}
