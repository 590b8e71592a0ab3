//! Jobs: the request that starts one, and the state that Ray reports.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::wire;
use crate::http::CallErrorKind;
use crate::lean::{self, Pick, Picked, Text};
use crate::{NodeId, SubmissionId};

/// Path of the list of jobs; Ray answers 404 without the trailing slash.
pub(super) const LIST: &str = "/api/jobs/";

/// The field that pins a job to a node; Ray 2.46 refuses it by this name.
pub(super) const LABEL_SELECTOR: &str = "entrypoint_label_selector";

/// Every node has 1.0 of its own resource `node:<address>`, so a share this small pins a job and takes
/// nothing away.
const PIN_SHARE: f64 = 0.001;

/// How a job is pinned to its node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pin<'a> {
    /// By the label that holds the node's id.
    Label,
    /// By the resource `node:<address>`.
    Address(&'a str),
}

/// A job to submit. Its environment holds secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct JobRequest {
    /// Submission id, which makes the submit idempotent.
    pub submission_id: SubmissionId,
    /// Shell command.
    pub entrypoint: String,
    /// Package that is unpacked as its working directory (`gcs://…`).
    pub working_dir: Option<String>,
    /// Environment of the entrypoint and of everything that it starts in Ray.
    pub env_vars: BTreeMap<String, String>,
    /// The node that the entrypoint must run on; `None` leaves it to Ray.
    pub node: Option<NodeId>,
    /// Stored with the job.
    pub metadata: BTreeMap<String, String>,
}

/// Ray's state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum JobStatus {
    /// Not started; it may wait for resources indefinitely.
    #[serde(rename = "PENDING")]
    Pending,
    /// The entrypoint runs.
    #[serde(rename = "RUNNING")]
    Running,
    /// The entrypoint ended with 0. For a service this is a failure too.
    #[serde(rename = "SUCCEEDED")]
    Succeeded,
    /// The entrypoint failed, or its node died.
    #[serde(rename = "FAILED")]
    Failed,
    /// Stopped on request.
    #[serde(rename = "STOPPED")]
    Stopped,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// No process of the job runs any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }
}

/// Longest text of Ray that is kept of a job, in bytes. It may contain the end of the log, which is read from
/// the log itself instead.
const LONGEST_MESSAGE: usize = 32 << 10;
/// Prefix of the metadata that the bridge writes; other metadata is ignored.
const OWN_METADATA: &str = "rayfleet.io/";
/// Longest value of the bridge's metadata in bytes (more than the plan of 1024 ranks needs), and the most
/// entries.
const LONGEST_METADATA: usize = 384 << 10;
const MOST_METADATA: usize = 8;

/// A job as Ray reports it. Its environment is left out, because Ray returns it in clear text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// The submission id. Jobs whose ids the bridge could not have chosen are left out.
    #[serde(default, deserialize_with = "id")]
    pub submission_id: Option<SubmissionId>,
    /// Ray's own id of the job, by which it lists what the job has made; `None` until the entrypoint has connected
    /// to Ray.
    #[serde(default, deserialize_with = "lean::words::<_, 64>")]
    pub job_id: Option<String>,
    /// State.
    pub status: JobStatus,
    /// Ray's message; for a failed entrypoint it contains the end of the log.
    #[serde(default, deserialize_with = "lean::words::<_, LONGEST_MESSAGE>")]
    pub message: Option<String>,
    /// Ray's error type, such as `JOB_SUPERVISOR_ACTOR_DIED`.
    #[serde(default, deserialize_with = "lean::words::<_, 256>")]
    pub error_type: Option<String>,
    /// When it was submitted.
    #[serde(default, deserialize_with = "wire::time", rename = "start_time")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, deserialize_with = "wire::time", rename = "end_time")]
    pub ended: Option<Timestamp>,
    /// Metadata that the bridge submitted with it.
    #[serde(default, deserialize_with = "metadata")]
    pub metadata: BTreeMap<String, String>,
    /// Exit code of the entrypoint.
    pub driver_exit_code: Option<i64>,
    /// The node it runs on; `None` before it has started.
    #[serde(default, deserialize_with = "wire::id")]
    pub driver_node_id: Option<NodeId>,
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SubmissionId>, D::Error> {
    // One byte longer than any valid id, so that a truncated id is invalid.
    lean::text::<D, 129>(deserializer).map(|text| SubmissionId::new(text).ok())
}

#[derive(Default)]
struct Own(BTreeMap<String, String>);

impl Pick for Own {
    fn map<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Picked(Text(key))) = map.next_key::<Picked<Text<64>>>()? {
            if self.0.len() < MOST_METADATA && key.starts_with(OWN_METADATA) {
                let Picked(Text(value)) = map.next_value::<Picked<Text<LONGEST_METADATA>>>()?;
                self.0.insert(key, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Picked::<Own>::deserialize(deserializer).map(|Picked(Own(own))| own)
}

/// Path of a job; the syntax of ids makes escaping unnecessary.
pub(super) fn path(id: &SubmissionId, rest: &str) -> String {
    format!("/api/jobs/{id}{rest}")
}

/// Ray answers 500 with a traceback for an id that exists; only the text distinguishes it from other errors.
pub(super) fn refusal(kind: CallErrorKind) -> CallErrorKind {
    match kind {
        CallErrorKind::Rejected { message, .. }
            if message.contains("submission_id") && message.contains("already exists") =>
        {
            CallErrorKind::Conflict
        }
        kind => kind,
    }
}

impl JobRequest {
    pub(super) fn to_json(&self, pin: Pin<'_>) -> Value {
        let mut runtime_env = Map::new();
        if let Some(dir) = &self.working_dir {
            runtime_env.insert("working_dir".to_owned(), json!(dir));
        }
        if !self.env_vars.is_empty() {
            runtime_env.insert("env_vars".to_owned(), json!(self.env_vars));
        }
        let mut body = json!({
            "submission_id": self.submission_id,
            "entrypoint": self.entrypoint,
            "runtime_env": runtime_env,
            "metadata": self.metadata,
        });
        if let (Value::Object(fields), Some(node)) = (&mut body, &self.node) {
            match pin {
                Pin::Label => fields.insert(LABEL_SELECTOR.to_owned(), json!({ "ray.io/node-id": node })),
                Pin::Address(ip) => {
                    let share = Map::from_iter([(format!("node:{ip}"), json!(PIN_SHARE))]);
                    fields.insert("entrypoint_resources".to_owned(), Value::Object(share))
                }
            };
        }
        body
    }
}
