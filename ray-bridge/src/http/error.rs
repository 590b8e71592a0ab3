//! The error of one call: which call it was, what went wrong, and whether a retry can help.

use std::fmt;
use std::path::PathBuf;

/// Which call failed.
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
    /// The token that was sent.
    pub token: Sent,
}

/// Which token was sent with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// None.
    Nothing,
    /// One that the caller passed as text.
    Given,
    /// The one in this file.
    OfFile(PathBuf),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {} {}", self.cluster, self.server, self.method, self.path)
    }
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CallError {
    /// The call. Boxed, so that results stay small.
    pub call: Box<Call>,
    /// What went wrong.
    pub kind: CallErrorKind,
}

/// The ways in which a call fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallErrorKind {
    /// No connection, or it broke before the end of the reply.
    #[error("unreachable: {cause}")]
    Unreachable {
        /// Nothing listens on the port: the server has not started, or has ended.
        refused: bool,
        /// The innermost cause.
        cause: String,
    },
    /// No complete reply in time. The call may have been applied.
    #[error("no answer within {}.{:03} s", .after_ms / 1000, .after_ms % 1000)]
    TimedOut {
        /// The limit, in milliseconds.
        after_ms: u64,
    },
    /// The token's file cannot be used; nothing was sent.
    #[error("token: {what}")]
    Token {
        /// The file, and what is wrong with it.
        what: String,
    },
    /// 401: Ray wants a token and received none.
    #[error("401 unauthorized: the server requires a token")]
    Unauthorized,
    /// 403: Ray received a token other than its own.
    #[error("403 forbidden: the server refuses the token")]
    Forbidden,
    /// 404.
    #[error("404 not found: {message}")]
    NotFound {
        /// First lines of the reply.
        message: String,
    },
    /// A job of this submission id exists.
    #[error("a job of this submission id exists already")]
    Conflict,
    /// Any other status outside 2xx.
    #[error("{status}: {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// The relevant lines of the reply: of a Python traceback the last one.
        message: String,
    },
    /// The reply is longer than the limit.
    #[error("the reply is longer than {limit} bytes")]
    TooLarge {
        /// Limit in bytes.
        limit: usize,
    },
    /// So many long replies of other clusters are being read that there is no memory for the rest of this
    /// one.
    #[error("there is no memory for the reply while others are read; it is asked for again")]
    Busy,
    /// The reply cannot be parsed by this version of the bridge.
    #[error("cannot be parsed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        match (&self.kind, &self.call.token) {
            (CallErrorKind::Unauthorized, Sent::Nothing) => {
                f.write_str("401 unauthorized: the server requires a token and none was sent")
            }
            // Ray itself answers 403 in this case.
            (CallErrorKind::Unauthorized, sent) => {
                write!(
                    f,
                    "401 unauthorized: {sent} was sent but did not arrive; does a proxy in front want its own?"
                )
            }
            (CallErrorKind::Forbidden, Sent::Nothing) => f.write_str(
                "403 forbidden, although no token was sent: a proxy in front of the server refuses",
            ),
            (CallErrorKind::Forbidden, sent) => {
                write!(f, "403 forbidden: {sent} does not belong to this cluster")
            }
            (kind, _) => kind.fmt(f),
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

/// What a call found; `None` if there is no such thing (404).
pub(crate) fn found<T>(reply: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match reply {
        Ok(found) => Ok(Some(found)),
        Err(CallError { kind: CallErrorKind::NotFound { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl CallError {
    /// Whether the same call may succeed later without any change by a person.
    pub fn retryable(&self) -> bool {
        match &self.kind {
            CallErrorKind::Busy => true,
            CallErrorKind::Rejected { status, .. } => *status == 429 || *status >= 500,
            kind => kind.is_silence(),
        }
    }
}

impl CallErrorKind {
    /// No reply came, or none in time.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Whether to retry within the same call: a connection that broke, such as one kept open too long or
    /// closed by a proxy. A port on which nothing listens stays so for longer than a retry.
    pub(crate) fn retry_at_once(&self) -> bool {
        match self {
            Self::Unreachable { refused, .. } => !refused,
            Self::Rejected { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }
}
