//! Calls to a head's Ray dashboard, through the API server's proxy of its pod: only what Kubernetes lets the user do. Replies are
//! foreign: each is bounded and read field by field.
//!
//! Ray's token goes in `X-Ray-Authorization` (Ray 2.52 and later read it beside `Authorization`, which the API server takes for
//! itself: `ray/_private/authentication/http_token_authentication.py` of 2.60.0).

use futures::{AsyncBufRead, AsyncReadExt, TryStreamExt};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::Error;
use kube::client::Body;
use kube::core::Status;
use ray_bridge::placement::{RANK_ACTOR_CLASS, RankName, Shape};
use rayfleet_api::LaunchId;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;
use serde::Deserialize;
use serde_json::Value;

use super::facts::Pod;
use crate::error;
use crate::fleets::Fleets;

/// Longest list of actors, in bytes.
const LONGEST_LIST: u64 = 32 << 20;
/// Longest part of an error's text, in bytes, and how much of a refusal is read.
const LONGEST: usize = 300;
const LONGEST_REFUSAL: u64 = 8 << 10;
/// Most actors that Ray is asked for.
const ACTORS: usize = 10_000;

/// What is wanted of a log that Ray keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Whether the reply goes on as the log grows.
    pub(super) follow: bool,
    /// Last lines; `None`: all.
    pub(super) lines: Option<u64>,
}

/// One log that Ray keeps.
#[derive(Clone, Debug)]
pub(super) enum File {
    /// Of a job, by its submission id.
    Job(LaunchId),
    /// Of an actor's process: its standard output, or its standard error.
    Actor { id: String, error: bool },
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// It will not change by itself: a right is missing, or the token.
    Refused(CliError),
    /// It may be there later, and what Ray or Kubernetes said.
    NotNow(String),
    /// It did not come in time; in words.
    Late(String),
}

/// A rank's process, as Ray lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) number: u32,
    pub(crate) actor: String,
    alive: bool,
    /// Ray's number of the job: of two, the later one's is higher.
    job: String,
}

/// The dashboard of one head.
pub(crate) struct Dashboard<'a> {
    pub(crate) fleets: &'a Fleets,
    pub(crate) pod: &'a str,
    pub(crate) head: &'a Pod,
}

impl Dashboard<'_> {
    /// A log; of a job also when Ray started it.
    pub(super) async fn log(
        &self,
        file: &File,
        wanted: Wanted,
    ) -> Result<(impl AsyncBufRead + Unpin + use<>, Option<Timestamp>), NoAnswer> {
        let mut started = None;
        let media = if wanted.follow { "stream" } else { "file" };
        let lines = wanted.lines.map_or_else(|| "-1".to_owned(), |lines| lines.to_string());
        let which = match file {
            // By its file: Ray 2.60 answers 500 where it is asked for the log by the submission id.
            File::Job(launch) => {
                let (node, since) = self.job(launch).await?;
                started = since;
                job_file(launch, &node)
            }
            File::Actor { id, error } => actor_file(id, *error),
        };
        let limit = self.fleets.timeout.as_secs().max(1);
        let path = format!("api/v0/logs/{media}?{which}&lines={lines}&timeout={limit}");
        Ok((Box::pin(self.get(&path).await?), started))
    }

    /// Path of the calls to it, at the API server.
    pub(crate) fn url(&self, path: &str) -> String {
        let namespace = &self.fleets.namespace;
        format!("/api/v1/namespaces/{namespace}/pods/{}:{}/proxy/{path}", self.pod, self.head.dashboard)
    }

    /// The ranks of the engine that runs or ran last, each once.
    pub(super) async fn ranks(&self, shape: Option<Shape>) -> Result<Vec<Rank>, NoAnswer> {
        Ok(ranks(&self.json(&ranks_path()).await?, shape))
    }

    /// The Ray node that writes the log of a launch's job, and when it was started.
    async fn job(&self, launch: &LaunchId) -> Result<(String, Option<Timestamp>), NoAnswer> {
        let job = self.json(&job_path(launch)).await?;
        let node = node_of(&job);
        let started = job["start_time"].as_i64().and_then(|at| Timestamp::from_millisecond(at).ok());
        let node = node.ok_or_else(|| NoAnswer::NotNow("Ray has not started its job yet".to_owned()))?;
        Ok((node, started))
    }

    /// A reply as JSON; null if it is none.
    pub(crate) async fn json(&self, path: &str) -> Result<Value, NoAnswer> {
        let read = async {
            let mut text = String::new();
            let mut reply = self.get(path).await?.take(LONGEST_LIST);
            let read = reply.read_to_string(&mut text).await;
            read.map_err(|error| NoAnswer::NotNow(format!("the Ray dashboard's answer broke off: {error}")))?;
            Ok(text)
        };
        let text = tokio::time::timeout(self.fleets.timeout, read).await.map_err(|_| self.silent())??;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// The body of a reply, once its head is there.
    pub(crate) async fn get(&self, path: &str) -> Result<impl AsyncBufRead + use<>, NoAnswer> {
        let Fleets { timeout, .. } = self.fleets;
        let mut request = http::Request::get(self.url(path));
        // A bundle has no Secrets, and asks for no token.
        if let Some(secret) = self.head.secret.as_ref().filter(|_| !self.fleets.recorded) {
            request = request.header("X-Ray-Authorization", self.token(secret).await?);
        }
        let request = request.body(Body::empty());
        let call = async { self.fleets.client.send(request.map_err(Error::HttpError)?).await };
        let reply = match tokio::time::timeout(*timeout, call).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(NoAnswer::NotNow(self.fault(&error).message)),
            Err(_) => return Err(self.silent()),
        };
        let status = reply.status();
        let mut body = reply.into_body().into_data_stream().map_err(std::io::Error::other).into_async_read();
        if status.is_success() {
            return Ok(body);
        }
        let mut bytes = Vec::new();
        let mut beginning = AsyncReadExt::take(&mut body, LONGEST_REFUSAL);
        // What has come says enough.
        let _ = tokio::time::timeout(*timeout, beginning.read_to_end(&mut bytes)).await;
        Err(self.no(status, &bytes))
    }

    /// What a reply that is none means: the API server's own has the form of a `Status`.
    fn no(&self, code: StatusCode, body: &[u8]) -> NoAnswer {
        let own = serde_json::from_slice::<Status>(body).ok().filter(|status| status.code == code.as_u16());
        let own = own.filter(|status| !status.message.is_empty());
        let namespace = &self.fleets.namespace;
        match (own, code.as_u16()) {
            (Some(status), 403) => NoAnswer::Refused(CliError::failed(
                one_line(&cut(&status.message, 2 * LONGEST)),
                format!(
                    "you need the right to get pods/proxy in namespace \"{namespace}\" (the standard role edit has it): \
                     Ray keeps the logs of engines, and they are read through the head's dashboard; pods' own logs: --container NAME"
                ),
            )),
            (Some(status), _) => NoAnswer::NotNow(one_line(&cut(&status.message, LONGEST))),
            (None, 401 | 403) => NoAnswer::Refused(CliError::failed(
                format!("the Ray dashboard of {} refuses the token ({code})", self.pod),
                "KubeRay keeps the token in the Secret with the name of the RayCluster; Ray reads it through this proxy from version 2.52 on",
            )),
            (None, _) => {
                let text = String::from_utf8_lossy(body);
                NoAnswer::NotNow(format!("Ray answered {code}: {}", one_line(&cut(text.trim(), LONGEST))))
            }
        }
    }

    fn silent(&self) -> NoAnswer {
        NoAnswer::Late(format!(
            "no answer from the Ray dashboard within {}s",
            self.fleets.timeout.as_secs_f64()
        ))
    }

    fn fault(&self, error: &Error) -> CliError {
        error::reading(error, &self.fleets.server, "pods/proxy", Some(&self.fleets.namespace))
    }

    /// The token in a Secret, as a header.
    async fn token(&self, secret: &str) -> Result<HeaderValue, NoAnswer> {
        let namespace = &self.fleets.namespace;
        let request =
            http::Request::get(format!("/api/v1/namespaces/{namespace}/secrets/{secret}")).body(Vec::new());
        // As text: nothing of a Secret may end in a message.
        let call = async { self.fleets.client.request_text(request.map_err(Error::HttpError)?).await };
        let text = match tokio::time::timeout(self.fleets.timeout, call).await {
            Ok(Ok(text)) => text,
            Ok(Err(Error::Api(status))) if status.code == 403 => {
                return Err(NoAnswer::Refused(CliError::failed(
                    one_line(&cut(&status.message, 2 * LONGEST)),
                    format!(
                        "Ray asks for a token here: you need the right to get secrets in namespace \"{namespace}\", of each RayCluster \
                         the one of its name (the standard role edit has it); pods' own logs: --container NAME"
                    ),
                )));
            }
            Ok(Err(error)) => {
                return Err(NoAnswer::NotNow(format!("Secret {secret}: {}", self.fault(&error).message)));
            }
            Err(_) => {
                return Err(NoAnswer::Late(format!("Secret {secret}: no answer from the API server")));
            }
        };
        header(&text)
            .ok_or_else(|| NoAnswer::NotNow(format!("Secret {secret} has no token under auth_token")))
    }
}

/// Path of what Ray says of a launch's job.
pub(crate) fn job_path(launch: &LaunchId) -> String {
    format!("api/jobs/{}", escaped(&launch.to_string()))
}

/// Path of the list of the ranks' processes.
pub(crate) fn ranks_path() -> String {
    format!(
        "api/v0/actors?detail=1&limit={ACTORS}&filter_keys=class_name&filter_predicates=%3D&filter_values={RANK_ACTOR_CLASS}"
    )
}

/// The Ray node that writes the log of a job, as Ray says of the job.
pub(crate) fn node_of(job: &Value) -> Option<String> {
    job["driver_node_id"].as_str().filter(|node| !node.is_empty()).map(str::to_owned)
}

/// Which log is that of a launch's job.
pub(crate) fn job_file(launch: &LaunchId, node: &str) -> String {
    format!("node_id={}&filename={}", escaped(node), escaped(&format!("job-driver-{launch}.log")))
}

/// Which log is that of an actor: its standard output, or its standard error.
pub(crate) fn actor_file(id: &str, error: bool) -> String {
    format!("actor_id={}&suffix={}", escaped(id), if error { "err" } else { "out" })
}

/// The header with the token of a Secret.
fn header(secret: &str) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Stored {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        auth_token: ByteString,
    }
    let stored: Stored = serde_json::from_str(secret).ok()?;
    let token = std::str::from_utf8(&stored.data.auth_token.0).ok()?.trim();
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// The ranks in Ray's list of actors: of several actors of a rank the living one, else that of the last job.
pub(crate) fn ranks(reply: &Value, shape: Option<Shape>) -> Vec<Rank> {
    let actors = reply["data"]["result"]["result"].as_array();
    let mut ranks: Vec<Rank> = actors.into_iter().flatten().filter_map(|actor| rank(actor, shape)).collect();
    ranks.sort_by(|a, b| (a.number, !a.alive, &b.job).cmp(&(b.number, !b.alive, &a.job)));
    ranks.dedup_by_key(|rank| rank.number);
    ranks
}

fn rank(actor: &Value, shape: Option<Shape>) -> Option<Rank> {
    let text = |field: &str| actor[field].as_str().unwrap_or_default().to_owned();
    let name =
        RankName::parse(actor["name"].as_str()?).filter(|_| actor["class_name"] == RANK_ACTOR_CLASS)?;
    Some(Rank {
        number: match shape {
            Some(shape) => name.rank_in(shape)?,
            None => name.stage.checked_add(name.tensor_rank)?,
        },
        actor: text("actor_id"),
        alive: actor["state"] != "DEAD",
        job: text("job_id"),
    })
}

/// A value of a query: letters and digits stay.
fn escaped(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes()
        .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_rank_s_actors_the_living_one_or_the_last_counts() {
        let actor = |id: &str, name: &str, state: &str, job: &str| json!({"actor_id": id, "class_name": "RayWorkerProc", "name": name, "state": state, "job_id": job, "pid": 7});
        let reply = json!({"data": {"result": {"result": [
            actor("a", "vllm_Worker_x_TP1_PP1", "DEAD", "01"),
            actor("b", "vllm_Worker_x_TP1_PP1", "ALIVE", "02"),
            actor("c", "vllm_Worker_x_TP0_PP0", "DEAD", "01"),
            actor("d", "vllm_Worker_x_TP0_PP0", "DEAD", "03"),
            actor("e", "somebody_else", "ALIVE", "03"),
            {"name": 7}, null
        ]}}});
        let shape = |data| Some(Shape::of(data, 2, 2).unwrap());
        let found = |reply: &Value, data| -> Vec<(u32, String)> {
            ranks(reply, shape(data)).into_iter().map(|rank| (rank.number, rank.actor)).collect()
        };
        assert_eq!(found(&reply, 1), [(0, "d".to_owned()), (3, "b".to_owned())]);
        let engines = json!({"data": {"result": {"result": [
            actor("a", "vllm_Worker_x_dp0_TP1_PP1", "ALIVE", "01"),
            actor("b", "vllm_Worker_x_dp1_TP1_PP0", "ALIVE", "01"),
        ]}}});
        assert_eq!(found(&engines, 2), [(3, "a".to_owned()), (5, "b".to_owned())]);
        assert_eq!(ranks(&json!([]), shape(1)), []);
        assert_eq!(
            ranks(
                &json!({"data": {"result": {"result": [actor("x", "vllm_Worker_TP1_PP4294967295", "ALIVE", "")]}}}),
                shape(1)
            ),
            []
        );
    }

    #[test]
    fn a_token_is_a_header_that_is_not_shown() {
        let value = header(r#"{"data": {"auth_token": "c2VjcmV0Cg=="}}"#).unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer secret");
        assert!(!format!("{value:?}").contains("secret"));
        for odd in ["", "{}", r#"{"data": {"auth_token": ""}}"#, r#"{"data": {"auth_token": "/w=="}}"#] {
            assert_eq!(header(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_a_query_may_not_hold_is_escaped() {
        assert_eq!(escaped("llama-a.b_1"), "llama-a.b_1");
        assert_eq!(escaped("a&b=c/ä"), "a%26b%3Dc%2F%C3%A4");
    }
}
