//! One text of metrics from a pod, through the API server's proxy: within a time limit, read line by line as it comes, so that it takes
//! no memory however long it is, and given up beyond a limit. Why one could not be read is an answer like any other.

use std::time::Duration;

use http::header::ACCEPT;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use kube::core::Status;
use kube::{Client, Error};
use rayfleet_cli_kit::table::one_line;
use rayfleet_telemetry::load::Load;
use rayfleet_telemetry::ray::Gpus;
use rayfleet_text::cut;

use crate::bundle::replay::ANSWERED;
use crate::error::root_cause;
use crate::object_names::is_name;

/// Longest text that is read to its end, in bytes. vLLM's has 60 KB for each engine core. Others share the way to the API server.
const LARGEST: usize = 2 << 20;
/// Longest line, and longest refusal, in bytes.
const LINE: usize = 64 << 10;
/// Longest part of somebody's words that is shown, in bytes.
const WORDS: usize = 200;

/// What is made of a text.
pub(super) trait Read: Default {
    /// Takes whole lines.
    fn add(&mut self, lines: &[u8]);
}

impl Read for Load {
    fn add(&mut self, lines: &[u8]) {
        Self::add(self, lines);
    }
}

impl Read for Gpus {
    fn add(&mut self, lines: &[u8]) {
        Self::add(self, lines);
    }
}

/// A port of a pod.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) port: u16,
}

/// Why there is no reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The API server does not let the user.
    Forbidden { namespace: String },
    /// Nobody answered in time.
    Silent(Duration),
    /// Somebody answered, with what is not wanted; or nobody could be reached.
    Said(String),
}

impl Fault {
    /// As the end of a row.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Forbidden { namespace } => {
                format!("403: you may not get pods/proxy in namespace {namespace}, or the pod answers as if")
            }
            Self::Silent(limit) => format!("no answer within {}s", limit.as_secs_f64()),
            Self::Said(words) => words.clone(),
        }
    }
}

/// Asks a pod for its metrics. `answers` is called when it begins to answer, with what a bundle says of when that was.
pub(super) async fn metrics<T: Read>(
    client: &Client,
    at: &Address,
    limit: Duration,
    answers: impl FnOnce(Option<Timestamp>),
) -> Result<T, Fault> {
    let names = [&at.namespace, &at.pod];
    // A path is made of them.
    if !names.iter().all(|name| is_name(name)) {
        return Err(said(&format!("`{}/{}` is no name of a pod", at.namespace, at.pod)));
    }
    let path = format!("/api/v1/namespaces/{}/pods/{}:{}/proxy/metrics", at.namespace, at.pod, at.port);
    tokio::time::timeout(limit, read(client, &path, &at.namespace, answers))
        .await
        .unwrap_or(Err(Fault::Silent(limit)))
}

async fn read<T: Read>(
    client: &Client,
    path: &str,
    namespace: &str,
    answers: impl FnOnce(Option<Timestamp>),
) -> Result<T, Fault> {
    let unreached = |error: Error| said(&root_cause(&error));
    let request = http::Request::get(path).header(ACCEPT, "text/plain").body(Body::empty());
    let response =
        client.send(request.map_err(Error::HttpError).map_err(unreached)?).await.map_err(unreached)?;
    let answered = response.headers().get(ANSWERED).and_then(|at| at.to_str().ok()?.parse().ok());
    answers(answered);
    let (status, mut body) = (response.status(), response.into_body());
    let (mut found, mut rest, mut length) = (T::default(), Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(unreached)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > LARGEST {
            return Err(said(&format!("its /metrics is longer than {} MiB", LARGEST >> 20)));
        }
        // A chunk may be as large as it likes; what is kept of it is the last line.
        if status.is_success()
            && let Some(end) = data.iter().rposition(|byte| *byte == b'\n')
        {
            let (lines, next) = data.split_at(end + 1);
            let first = lines.iter().position(|byte| *byte == b'\n').unwrap_or(end) + 1;
            let (first, others) = lines.split_at(first);
            rest.extend_from_slice(first);
            found.add(&rest);
            found.add(others);
            rest.clear();
            rest.extend_from_slice(next);
        } else {
            rest.extend_from_slice(&data);
        }
        if rest.len() > LINE {
            let why = "it answers something that is no metrics: a line has no end";
            return Err(if status.is_success() { said(why) } else { refused(status, b"", namespace) });
        }
    }
    if !status.is_success() {
        return Err(refused(status, &rest, namespace));
    }
    found.add(&rest);
    Ok(found)
}

/// The API server's words if it answered itself, else what the pod answered.
fn refused(status: http::StatusCode, body: &[u8], namespace: &str) -> Fault {
    let own = serde_json::from_slice::<Status>(body).ok();
    let message = own.map(|own| (own.reason == "Forbidden", own.message)).filter(|(_, it)| !it.is_empty());
    match (message, status.as_u16()) {
        (Some((true, _)), 403) => Fault::Forbidden { namespace: namespace.to_owned() },
        // The pod may write what it likes, in the API server's form too.
        (Some((_, message)), _) => {
            said(&format!("the pod or the API server answers {status}: {}", cut(&message, WORDS)))
        }
        (None, 401 | 403) => said(&format!(
            "its /metrics wants a key ({status}), and the API server's proxy passes none on; vLLM's is open"
        )),
        (None, 404) => said("it has no /metrics (404): another engine listens, or one that reports nothing"),
        (None, _) => said(&format!("its /metrics answers {status}")),
    }
}

fn said(words: &str) -> Fault {
    Fault::Said(cut(&one_line(words), WORDS))
}
