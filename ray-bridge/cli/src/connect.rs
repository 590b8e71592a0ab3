//! Connects to a Ray cluster: address, token, certificates and limits from flags and environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ray_bridge::dashboard::{Dashboard, Job};
use ray_bridge::engine::{EngineClient, LaunchRecord, plan_of};
use ray_bridge::observe::{Depth, ObserveOptions, RayState};
use ray_bridge::placement::{Placement, RayNode};
use ray_bridge::{Bridge, CallError, CallErrorKind as Call, Limits, SubmissionId, Target, Token, base_of};
use rayfleet_cli_kit::CliError;
use url::Url;

use crate::args::Global;
use crate::error;

const DEFAULT: &str = "http://127.0.0.1:8265";
/// Enough for thousands of lines, and small enough for Ray to answer quickly.
const LOG_TAIL: usize = 4 << 20;

/// A connection to one Ray cluster.
pub(crate) struct Session {
    pub(crate) bridge: Bridge,
    /// Address of the dashboard.
    pub(crate) address: Url,
    /// Pause between two observations while waiting for something.
    pub(crate) pace: Duration,
    engine: Option<Url>,
    token: Option<Token>,
    call: Duration,
}

/// An engine that Ray knows.
pub(crate) struct Found {
    pub(crate) id: SubmissionId,
    pub(crate) job: Job,
    /// The record of its launch, if the bridge launched it.
    pub(crate) record: Option<LaunchRecord>,
    /// Its plan, if the bridge launched it.
    pub(crate) plan: Option<Placement>,
    /// Address of its API server, if known.
    pub(crate) engine: Option<Url>,
}

impl Session {
    /// Opens a session from flags and environment; `variable` looks up the latter. Nothing is sent yet.
    pub(crate) fn open(global: &Global, variable: impl Fn(&str) -> Option<String>) -> Result<Self, CliError> {
        let limits = Limits {
            call: global.request_timeout,
            submit: global.request_timeout.max(Limits::default().submit),
            log_tail_bytes: LOG_TAIL,
            ..Limits::default()
        };
        let roots = match &global.ca_file {
            Some(file) => read(file)?,
            None => Vec::new(),
        };
        let bridge = Bridge::with_trusted(limits, &roots)
            .map_err(|error| CliError::usage(error.to_string(), "check --ca-file"))?;
        Ok(Self {
            bridge,
            address: address(global.address.as_deref(), &variable)?,
            pace: Duration::from_secs(1),
            engine: global.engine_address.clone(),
            token: token(global.token_file.clone(), &variable)?,
            call: global.request_timeout,
        })
    }

    /// The target of the bridge's calls.
    pub(crate) fn target(&self, engine: Option<Url>) -> Target {
        let token = self.token.clone();
        // An address that only Ray names is not trusted with the token.
        let trusts_engine = self.engine.is_some();
        Target {
            name: self.address.to_string(),
            dashboard: self.address.clone(),
            engine,
            token,
            trusts_engine,
        }
    }

    /// A client of the dashboard.
    pub(crate) fn dashboard(&self) -> Dashboard {
        self.bridge.dashboard(&self.target(None))
    }

    /// A client of an engine's API server.
    pub(crate) fn engine(&self, url: &Url) -> Result<EngineClient, CliError> {
        let target = self.target(Some(url.clone()));
        self.bridge.engine(&target).ok_or_else(|| CliError::plain("no engine address"))
    }

    /// Observes the cluster in depth, and an engine if one is given.
    pub(crate) async fn look(
        &self,
        id: Option<&SubmissionId>,
        engine: Option<&Url>,
    ) -> Result<RayState, CliError> {
        let target = self.target(engine.cloned());
        self.bridge.observe(&target, id, self.depth(true)).await.map_err(error::call)
    }

    /// How much to observe, each call within the time limit of one.
    pub(crate) fn depth(&self, deep: bool) -> ObserveOptions {
        let depth = if deep { Depth::Full } else { Depth::UntilServing };
        ObserveOptions { deadline: self.call * 3, depth, ..ObserveOptions::default() }
    }

    /// The job of an engine; `None` if Ray knows none of this name.
    pub(crate) async fn job(&self, id: &SubmissionId) -> Result<Option<Job>, CliError> {
        match self.dashboard().job(id).await {
            Ok(job) => Ok(Some(job)),
            Err(CallError { kind: Call::NotFound { .. }, .. }) => Ok(None),
            Err(error) => Err(error::call(error)),
        }
    }

    /// An engine by its name.
    pub(crate) async fn find(&self, id: &SubmissionId) -> Result<Found, CliError> {
        let Some(job) = self.job(id).await? else {
            return Err(CliError::failed(
                format!("engine {id}: Ray at {} has no job of this name", self.address),
                "list the engines: ray-bridge status",
            ));
        };
        let (record, plan) = (LaunchRecord::read(&job), plan_of(&job));
        let nodes: Vec<RayNode> = match (&self.engine, &plan) {
            (None, Some(_)) => self.look(None, None).await?.cluster.map(|c| c.nodes).unwrap_or_default(),
            _ => Vec::new(),
        };
        let engine = record.as_ref().zip(plan.as_ref()).and_then(|(r, p)| self.engine_url(r, p, &nodes));
        Ok(Found { id: id.clone(), job, record, plan, engine })
    }

    /// Address of an engine: the flag, else its port on the node of its API server.
    pub(crate) fn engine_url(
        &self,
        record: &LaunchRecord,
        plan: &Placement,
        nodes: &[RayNode],
    ) -> Option<Url> {
        if self.engine.is_some() {
            return self.engine.clone();
        }
        let node = nodes.iter().find(|node| node.id == plan.api_server_node)?;
        base_of(&node.ip, record.port)
    }
}

impl Found {
    /// Address of its API server, or why it is unknown.
    pub(crate) fn engine(&self) -> Result<&Url, CliError> {
        self.engine.as_ref().ok_or_else(|| {
            CliError::failed(
                format!("engine {}: the address of its API server is not known", self.id),
                "its job carries no record of the bridge, or the head's node is gone: give --engine-address URL",
            )
        })
    }
}

fn address(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Url, CliError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (from, text) = match flag {
        Some(text) => ("--address", text.to_owned()),
        None => match (set("RAY_DASHBOARD_ADDRESS"), set("RAY_ADDRESS").filter(|a| a.starts_with("http"))) {
            (Some(text), _) => ("$RAY_DASHBOARD_ADDRESS", text),
            (None, Some(text)) => ("$RAY_ADDRESS", text),
            (None, None) => ("the default", DEFAULT.to_owned()),
        },
    };
    let cure = "write it as http://HEAD:8265";
    let url =
        Url::parse(&text).map_err(|error| CliError::usage(format!("{from}: `{text}`: {error}"), cure))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(CliError::usage(format!("{from}: `{text}` is not the address of a dashboard"), cure));
    }
    Ok(url)
}

/// Ray's own order of sources, after the flag. A token in a file is read again when the file has changed, so
/// a rotated one is picked up.
fn token(
    flag: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Token>, CliError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(file) = flag {
        return Ok(Some(Token::from_file(file)));
    }
    match (set("RAY_AUTH_TOKEN"), set("RAY_AUTH_TOKEN_PATH")) {
        (Some(text), _) => {
            let token = Token::new(&text);
            token.map(Some).map_err(|error| CliError::usage(error.to_string(), "check $RAY_AUTH_TOKEN"))
        }
        (None, file) => Ok(file.map(Token::from_file)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| {
        CliError::usage(format!("{}: {error}", file.display()), "check the path and its permissions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_address_comes_from_the_flag_then_the_environment() {
        let found = |flag, set: &[(&str, &str)]| address(flag, variables(set)).unwrap().to_string();
        let both = [("RAY_DASHBOARD_ADDRESS", "http://d:1"), ("RAY_ADDRESS", "http://a:2")];
        assert_eq!(found(Some("https://x"), &both), "https://x/");
        assert_eq!(found(None, &both), "http://d:1/");
        assert_eq!(found(None, &both[1..]), "http://a:2/");
        assert_eq!(found(None, &[("RAY_ADDRESS", "10.0.0.1:6379")]), "http://127.0.0.1:8265/");
    }

    #[test]
    fn an_invalid_address_is_reported_with_its_source() {
        for bad in ["h:8265", "ray://h:10001", "http://"] {
            let fault = address(Some(bad), variables(&[])).unwrap_err();
            assert_eq!(fault.code(), 2, "{bad}");
            assert!(fault.to_string().starts_with(&format!("error: --address: `{bad}`")), "{fault}");
        }
    }

    #[test]
    fn the_token_comes_from_the_flag_then_in_the_order_of_ray() {
        let set = [("RAY_AUTH_TOKEN", "t"), ("RAY_AUTH_TOKEN_PATH", "/p")];
        let found = |flag: Option<&str>, set| token(flag.map(PathBuf::from), variables(set)).unwrap();
        assert_eq!(found(Some("/f"), &set), Some(Token::from_file("/f")));
        assert_eq!(found(None, &set), Token::new("t").ok());
        assert_eq!(found(None, &set[1..]), Some(Token::from_file("/p")));
        assert_eq!(found(None, &[("RAY_AUTH_TOKEN", "")]), None);
        assert_eq!(token(None, variables(&[("RAY_AUTH_TOKEN", "a b")])).unwrap_err().code(), 2);
    }
}
