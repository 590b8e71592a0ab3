//! The only error type of the program: message, cure and exit code. Printing does not belong here.

use std::fmt;

use ray_bridge::engine::ProbeError;
use ray_bridge::{CallError, LaunchError};
use serde_json::{Value, json};

/// The kinds of errors, by exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something failed, or the answer is no: 1.
    Failed,
    /// The command line or a file cannot be used: 2.
    Usage,
    /// Ray was not reached, or refused us: 3.
    Unreachable,
}

/// An error for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CliError {
    /// Something failed.
    Said {
        /// The kind, which decides the exit code.
        kind: Kind,
        /// Object, field and what is wrong.
        message: String,
        /// What the reader can do, if known.
        cure: Option<String>,
    },
    /// The reader of the output is gone, so nothing can be reported.
    Closed,
}

impl CliError {
    /// A failure.
    pub(crate) fn failed(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Said { kind: Kind::Failed, message: message.into(), cure: Some(cure.into()) }
    }

    /// Input that cannot be used.
    pub(crate) fn usage(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Said { kind: Kind::Usage, message: message.into(), cure: Some(cure.into()) }
    }

    /// A failure without a cure.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::Said { kind: Kind::Failed, message: message.into(), cure: None }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Said { kind: Kind::Failed, .. } => 1,
            Self::Said { kind: Kind::Usage, .. } => 2,
            Self::Said { kind: Kind::Unreachable, .. } => 3,
        }
    }

    /// The document for `-o json`.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Said { message, cure, .. } => json!({"error": {"message": message, "cure": cure}}),
            Self::Closed => Value::Null,
        }
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        use ray_bridge::CallErrorKind as Call;
        let engine = error.call.server == "engine";
        let (kind, cure) = match &error.fault {
            Call::Unauthorized if engine => (
                Kind::Failed,
                Some(
                    "the token goes to no address that only Ray named: give --engine-address URL; \
                     without a token: --token-file FILE, or $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH",
                ),
            ),
            Call::Unauthorized => (
                Kind::Unreachable,
                Some(
                    "give the cluster's token: --token-file FILE, or $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH",
                ),
            ),
            Call::Forbidden => (
                Kind::Unreachable,
                Some(
                    "the token is another cluster's or an old one: compare it with RAY_AUTH_TOKEN on the head",
                ),
            ),
            Call::Token { .. } => (Kind::Usage, Some("check --token-file or $RAY_AUTH_TOKEN_PATH")),
            Call::Unreachable { .. } | Call::TimedOut { .. } if engine => (
                Kind::Failed,
                Some("if its port is not reachable from here, forward it and give --engine-address URL"),
            ),
            Call::Unreachable { .. } => (
                Kind::Unreachable,
                Some(
                    "check --address, and that the head runs its dashboard: `ray status` there; pip: ray[default]",
                ),
            ),
            Call::TimedOut { .. } => (
                Kind::Unreachable,
                Some(
                    "the dashboard accepts but does not answer: give it longer (--request-timeout) or restart it",
                ),
            ),
            Call::Malformed { .. } | Call::TooLarge { .. } if !engine => {
                (Kind::Unreachable, Some("check that --address is a Ray dashboard: GET /api/version"))
            }
            _ => (Kind::Failed, None),
        };
        Self::Said { kind, message: error.to_string(), cure: cure.map(str::to_owned) }
    }
}

impl From<LaunchError> for CliError {
    fn from(error: LaunchError) -> Self {
        match error {
            LaunchError::Call(error) => error.into(),
            LaunchError::Spec(refused) => Self::usage(refused.to_string(), "correct the model file"),
            shape @ LaunchError::Shape { .. } => Self::plain(shape.to_string()),
        }
    }
}

impl From<ProbeError> for CliError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Call(error) => error.into(),
            unexpected @ (ProbeError::Unexpected { .. } | ProbeError::NoText { .. }) => Self::failed(
                unexpected.to_string(),
                "the engine serves something else than intended: check source, or correct probe.expect",
            ),
            unanswered @ (ProbeError::NoWay(_) | ProbeError::Empty { .. }) => Self::failed(
                unanswered.to_string(),
                "the model serves no path that is known: check source and engine.args",
            ),
            locked @ ProbeError::Locked { .. } => {
                Self::failed(locked.to_string(), "stop the engine and deploy it again with this version")
            }
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { message, cure: None, .. } => write!(f, "error: {message}"),
            Self::Said { message, cure: Some(cure), .. } => write!(f, "error: {message}\ncure:  {cure}"),
            Self::Closed => f.write_str("error: the output was closed"),
        }
    }
}
