//! What can go wrong with one call, said so that a person knows where and whether trying again helps.

use std::fmt;
use std::path::PathBuf;

/// Which call it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The caller's name of the cluster ([`Target::name`](crate::Target)).
    pub cluster: String,
    /// `dashboard` or `engine`.
    pub server: &'static str,
    /// HTTP method.
    pub method: String,
    /// URL path with query, without host.
    pub path: String,
    /// The token that went with it.
    pub token: Sent,
}

/// Which token went with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// None.
    Nothing,
    /// One that the caller holds.
    Given,
    /// The one in this file.
    OfFile(PathBuf),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {} {}", self.cluster, self.server, self.method, self.path)
    }
}

/// A call that did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CallError {
    /// Where. In a box, so that results stay small.
    pub call: Box<Call>,
    /// What.
    pub fault: CallErrorKind,
}

/// The ways in which a call fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallErrorKind {
    /// No connection, or it broke before the end of the reply.
    #[error("unreachable: {cause}")]
    Unreachable {
        /// Nothing listens on the port: the server has not started or has ended.
        refused: bool,
        /// The innermost cause.
        cause: String,
    },
    /// Connected or connecting, but no whole reply in time. The call may have been applied.
    #[error("no answer within {}.{:03} s", .after_ms / 1000, .after_ms % 1000)]
    TimedOut {
        /// The limit in force, in milliseconds.
        after_ms: u64,
    },
    /// The token's file cannot be used; nothing was sent.
    #[error("token: {what}")]
    Token {
        /// The file, and what is wrong with it.
        what: String,
    },
    /// 401: Ray wants a token and got none.
    #[error("401 unauthorized: the server wants a token")]
    Unauthorized,
    /// 403: Ray got a token that is not its own.
    #[error("403 forbidden: the server does not take the token")]
    Forbidden,
    /// 404.
    #[error("404 not found: {message}")]
    NotFound {
        /// First lines of the reply.
        message: String,
    },
    /// A job of this submission id exists already.
    #[error("a job of this submission id exists already")]
    Conflict,
    /// Any other status outside 2xx.
    #[error("{status}: {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// The telling lines of the reply: of a Python traceback, its last.
        message: String,
    },
    /// The reply is longer than the limit.
    #[error("the reply is longer than {limit} bytes")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// So many long replies of other clusters are being read that there is no memory for the rest of this one.
    #[error("there is no memory for the reply while others are read; it is asked for again")]
    Busy,
    /// The reply is not what this version of the bridge understands.
    #[error("not understood: {what}")]
    Malformed {
        /// What was wrong with it.
        what: String,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        match (&self.fault, &self.call.token) {
            (CallErrorKind::Unauthorized, Sent::Nothing) => {
                f.write_str("401 unauthorized: the server wants a token and none was sent")
            }
            // Ray itself answers 403 then.
            (CallErrorKind::Unauthorized, sent) => {
                write!(
                    f,
                    "401 unauthorized: {sent} was sent and not seen; does a proxy in front want its own?"
                )
            }
            (CallErrorKind::Forbidden, Sent::Nothing) => f.write_str(
                "403 forbidden, although no token was sent: a proxy in front of the server refuses",
            ),
            (CallErrorKind::Forbidden, sent) => write!(f, "403 forbidden: {sent} is not this cluster's"),
            (fault, _) => fault.fmt(f),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no token"),
            Self::Given => f.write_str("the token"),
            Self::OfFile(path) => write!(f, "the token in {}", path.display()),
        }
    }
}

impl CallError {
    /// The same call may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        self.fault.retryable()
    }
}

impl CallErrorKind {
    /// See [`CallError::retryable`].
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy => true,
            Self::Rejected { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Worth a second try within the same call: a connection that broke, as one does that was kept open too long, or
    /// a proxy in between. A port that nothing listens on stays so for longer.
    pub(crate) fn retry_at_once(&self) -> bool {
        match self {
            Self::Unreachable { refused, .. } => !refused,
            Self::Rejected { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }
}
