//! The dashboard's calls about jobs.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use super::Dashboard;
use super::job::{self, Job, JobRequest, Pin};
use crate::http::{CallError, CallErrorKind, Payload, found, longest};
use crate::lean;
use crate::{NodeId, SubmissionId};

/// The most jobs that a list may hold.
const MOST: usize = 10_000;
/// Longest interval between checks that a deleted job stays away.
const LOOK: Duration = Duration::from_secs(1);

impl Dashboard {
    /// Submits a job. [`CallErrorKind::Conflict`] if a job with its id exists, for example from an earlier
    /// submit that timed out.
    ///
    /// Ray 2.46 does not know label selectors for entrypoints and refuses them with a 400; the job is then
    /// pinned by the resource `node:<address>` that every node has.
    pub async fn submit(&self, request: &JobRequest) -> Result<(), CallError> {
        match (self.post(request, Pin::Label).await, &request.node) {
            (Err(CallError { kind: CallErrorKind::Rejected { status: 400, message }, .. }), Some(node))
                if message.contains(job::LABEL_SELECTOR) =>
            {
                let address = self.address_of(node).await?;
                tracing::info!(%node, address, "this Ray has no label selectors: the job is pinned by the node's address");
                self.post(request, Pin::Address(&address)).await
            }
            (done, _) => done,
        }
    }

    async fn post(&self, request: &JobRequest, pin: Pin<'_>) -> Result<(), CallError> {
        let payload = Payload::Json(request.to_json(pin).to_string().into_bytes());
        let sent = self.0.send(Method::POST, job::LIST, payload, self.0.limits.submit, longest::JOB).await;
        sent.map(|_| ()).map_err(|error| CallError { kind: job::refusal(error.kind), ..error })
    }

    async fn address_of(&self, node: &NodeId) -> Result<String, CallError> {
        let nodes = self.nodes().await?;
        nodes.into_iter().find(|n| n.node_id == *node).map(|n| n.node_ip).ok_or_else(|| {
            let message =
                format!("node {node}, on which the job must run, is not in the cluster: plan again");
            self.0.fail(&Method::POST, job::LIST, CallErrorKind::NotFound { message })
        })
    }

    /// Reads one job.
    pub async fn job(&self, id: &SubmissionId) -> Result<Job, CallError> {
        self.0.get(&job::path(id, ""), longest::JOB).await
    }

    /// All jobs, also ended ones, with ids that the bridge could have chosen.
    pub async fn jobs(&self) -> Result<Vec<(SubmissionId, Job)>, CallError> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Jobs {
            #[serde(deserialize_with = "lean::list::<_, _, MOST>")]
            all: Vec<Job>,
        }
        let Jobs { all } = self.0.get(job::LIST, longest::ENVIRONMENTS).await?;
        Ok(all.into_iter().filter_map(|job| Some((job.submission_id.clone()?, job))).collect())
    }

    /// Asks Ray to stop a job; `false` if it had ended already.
    pub async fn stop(&self, id: &SubmissionId) -> Result<bool, CallError> {
        #[derive(Deserialize)]
        struct Stopped {
            stopped: bool,
        }
        let path = job::path(id, "/stop");
        let kept = self.0.send_bare(Method::POST, &path).await?;
        let reply: Stopped = self.0.parse(&Method::POST, &path, &kept).await?;
        Ok(reply.stopped)
    }

    /// Removes an ended job from Ray's list. Ray may re-create the entry of a job that ended less than 3 s
    /// ago; see [`Dashboard::delete_until_gone`].
    pub async fn delete(&self, id: &SubmissionId) -> Result<(), CallError> {
        self.0.send_bare(Method::DELETE, &job::path(id, "")).await.map(|_| ())
    }

    /// Removes an ended job and returns when it has been gone for `settled`; if Ray re-creates its entry,
    /// removes it again. Returns the number of deletions; 0 if the job did not exist.
    ///
    /// Ray re-creates an entry within 5 s, so `settled` should be longer. [`CallErrorKind::TimedOut`] if this
    /// takes longer than `limit`; the entry may then come back once more.
    pub async fn delete_until_gone(
        &self,
        id: &SubmissionId,
        settled: Duration,
        limit: Duration,
    ) -> Result<u32, CallError> {
        let pause = (settled / 5).clamp(Duration::from_millis(1), LOOK);
        let work = async {
            let mut removed = 0;
            let mut away = Duration::ZERO;
            loop {
                match found(self.delete(id).await)? {
                    Some(()) => {
                        removed += 1;
                        away = Duration::ZERO;
                    }
                    None if away >= settled => return Ok(removed),
                    None => {}
                }
                tokio::time::sleep(pause).await;
                away += pause;
            }
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Err(self.0.fail(&Method::DELETE, &job::path(id, ""), CallErrorKind::TimedOut { after_ms }))
        })
    }
}
