//! What the replies of Ray and an engine mean, as errors with a cure.

use ray_bridge::engine::ProbeError;
use ray_bridge::{CallError, CallErrorKind as Call, LaunchError};
use rayfleet_cli_kit::{CliError, Kind};

/// A call that failed.
#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
pub(crate) fn call(error: CallError) -> CliError {
    let engine = error.call.server == "engine";
    let (kind, cure) = match &error.kind {
        Call::Unauthorized if engine => (
            Kind::Failed,
            "the token goes to no address that only Ray named: give --engine-address URL; \
                 without a token: --token-file FILE, or $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH",
        ),
        Call::Unauthorized => (
            Kind::Unreachable,
            "give the cluster's token: --token-file FILE, or $RAY_AUTH_TOKEN or $RAY_AUTH_TOKEN_PATH",
        ),
        Call::Forbidden => (
            Kind::Unreachable,
            "the token is another cluster's or an old one: compare it with RAY_AUTH_TOKEN on the head",
        ),
        Call::Token { .. } => (Kind::Usage, "check --token-file or $RAY_AUTH_TOKEN_PATH"),
        Call::Unreachable { .. } | Call::TimedOut { .. } if engine => {
            (Kind::Failed, "if its port is not reachable from here, forward it and give --engine-address URL")
        }
        Call::Unreachable { .. } => (
            Kind::Unreachable,
            "check --address, and that the head runs its dashboard: `ray status` there; pip: ray[default]",
        ),
        Call::TimedOut { .. } => (
            Kind::Unreachable,
            "the dashboard accepts but does not answer: give it longer (--request-timeout) or restart it",
        ),
        Call::Malformed { .. } | Call::TooLarge { .. } if !engine => {
            (Kind::Unreachable, "check that --address is a Ray dashboard: GET /api/version")
        }
        _ => return CliError::plain(error.to_string()),
    };
    CliError { kind, ..CliError::failed(error.to_string(), cure) }
}

/// A launch that failed.
pub(crate) fn launch(error: LaunchError) -> CliError {
    match error {
        LaunchError::Call(error) => call(error),
        LaunchError::Spec(refused) => CliError::usage(refused.to_string(), "correct the model file"),
        shape @ LaunchError::Shape { .. } => CliError::plain(shape.to_string()),
    }
}

/// A probe that failed.
pub(crate) fn probe(error: ProbeError) -> CliError {
    match error {
        ProbeError::Call(error) => call(error),
        unexpected @ (ProbeError::Unexpected { .. } | ProbeError::NoText { .. }) => CliError::failed(
            unexpected.to_string(),
            "the engine serves something else than intended: check source, or correct probe.expect",
        ),
        unanswered @ (ProbeError::NoWay(_) | ProbeError::Empty { .. }) => CliError::failed(
            unanswered.to_string(),
            "the model serves no path that is known: check source and engine.args",
        ),
        locked @ ProbeError::Locked { .. } => {
            CliError::failed(locked.to_string(), "stop the engine and deploy it again with this version")
        }
    }
}
