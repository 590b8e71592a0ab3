//! Reasons why a request counts as failed.

/// A failed request. Every variant is a failure that a user of the Service would notice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// No connection.
    #[error("connect: {0}")]
    Connect(String),
    /// A fresh connection broke before the answer.
    #[error("connection lost before the answer: {0}")]
    Connection(String),
    /// A kept connection broke after the request had, at least in part, been sent.
    #[error("kept connection lost after the request was sent: {0}")]
    KeptConnection(String),
    /// Nothing arrived for too long.
    #[error("nothing came for {0} s {1}")]
    Silence(u64, &'static str),
    /// A status other than 200.
    #[error("status {0}: {1}")]
    Status(u16, String),
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Truncated(String),
    /// The answer is complete and wrong.
    #[error("wrong answer: {0}")]
    Wrong(String),
}

impl RequestFailure {
    /// The kind of failure, for counting.
    pub fn kind(&self) -> String {
        match self {
            Self::Connect(_) => "connect".into(),
            Self::Connection(_) => "connection lost".into(),
            Self::KeptConnection(_) => "kept connection lost".into(),
            Self::Silence(..) => "silence".into(),
            Self::Status(status, _) => format!("status {status}"),
            Self::Truncated(_) => "broken off".into(),
            Self::Wrong(_) => "wrong answer".into(),
        }
    }
}
