//! Signs of life of machines: whether their kernels take connections. No Ray, no HTTP; what a silence means is for others to say.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::timeout;

use crate::HeldEnd;
use crate::bridge::Bridge;
use crate::dashboard::AGENT_PORT;

/// Time limit of one connection attempt.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Errors of Linux by which it says that this process, or this machine, has no room for another connection: files of the machine and of
/// the process, memory, buffers, and ports of its own.
const NO_ROOM_HERE: [i32; 5] = [23, 24, 12, 105, 99];

/// What a machine answered.
#[derive(Debug)]
pub enum Sign<T> {
    /// A connection was taken, or refused: it is up. Of one that was taken what there is of it.
    Given(Option<T>),
    /// Nothing within a second.
    Silent,
    /// It could not be asked, for want of something on this side.
    Unasked,
}

/// A connection to a machine, which lasts while the machine does.
pub struct Held(BoxFuture<'static, HeldEnd>);

impl Bridge {
    /// Whether the machine of a Ray node takes or refuses a connection within a second: either shows that it is up.
    pub async fn sign_of(&self, ip: &str) -> Sign<()> {
        sign(timeout(ATTEMPT, self.wire().connect(ip, AGENT_PORT)).await)
    }

    /// The same with a connection that is kept.
    pub async fn hold(&self, ip: &str) -> Sign<Held> {
        match sign(timeout(ATTEMPT, self.wire().hold(ip, AGENT_PORT)).await) {
            Sign::Given(held) => Sign::Given(held.map(Held)),
            Sign::Silent => Sign::Silent,
            Sign::Unasked => Sign::Unasked,
        }
    }
}

fn sign<T>(tried: Result<io::Result<T>, tokio::time::error::Elapsed>) -> Sign<T> {
    match tried {
        Ok(Ok(connection)) => Sign::Given(Some(connection)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Sign::Given(None),
        Ok(Err(error)) if error.raw_os_error().is_some_and(|code| NO_ROOM_HERE.contains(&code)) => {
            Sign::Unasked
        }
        Ok(Err(_)) | Err(_) => Sign::Silent,
    }
}

impl<T> Sign<T> {
    /// The connection that was taken.
    pub fn given(self) -> Option<T> {
        match self {
            Self::Given(taken) => taken,
            Self::Silent | Self::Unasked => None,
        }
    }

    /// Whether the machine answered; `None` if it was not asked.
    pub fn answered(&self) -> Option<bool> {
        match self {
            Self::Given(_) => Some(true),
            Self::Silent => Some(false),
            Self::Unasked => None,
        }
    }
}

impl Future for Held {
    type Output = HeldEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HeldEnd> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_not_silent_because_this_process_has_no_room() {
        let of = |code| sign::<()>(Ok(Err(io::Error::from_raw_os_error(code)))).answered();
        // EMFILE, EADDRNOTAVAIL; ECONNREFUSED; EHOSTUNREACH, ETIMEDOUT.
        assert_eq!([24, 99, 111, 113, 110].map(of), [None, None, Some(true), Some(false), Some(false)]);
    }
}
