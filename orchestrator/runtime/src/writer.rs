//! Writes to the API server: each has a time-out, needs the lease and is counted. And events: a queue that drops what is too much, and
//! one writer. What is written, and what an answer means, says who writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::core::request::Error as BadRequest;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::json;
use tracing::{Instrument as _, debug_span, warn};

use crate::event_queue::{EventQueue, PendingEvent};
use crate::events::{EventKey, EventRecorder};
use crate::{Leadership, Metrics, WriteError, clock};

/// Longest time for one call. The client itself would wait for minutes.
const CALL: Duration = Duration::from_secs(10);

/// Events that are written at the same time.
const EVENTS: usize = 8;

/// Writes while this replica leads. Clones are the same writer.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    recorder: Arc<EventRecorder>,
    events: Arc<EventQueue>,
    metrics: Metrics,
}

impl Writer {
    /// A writer under `leadership`, whose events come from `controller`, and from this `instance` of it.
    pub fn new(
        client: Client,
        leadership: Leadership,
        metrics: Metrics,
        controller: &'static str,
        instance: Option<String>,
    ) -> Self {
        let recorder = Arc::new(EventRecorder::new(controller, instance));
        Self { client, leadership, recorder, events: Arc::default(), metrics }
    }

    /// Whether this replica may act now, also elsewhere than at the API server.
    pub fn may(&self, what: &'static str) -> Result<(), WriteError> {
        if self.leadership.holds(clock::monotonic()) { Ok(()) } else { Err(WriteError::NotLeader(what)) }
    }

    /// One call under the lease, with a time-out, counted; gives the text of the answer. It is given up when the lease is lost
    /// meanwhile, so that nothing is under way any more when another replica starts. kube's own calls read the answer at once, fail on
    /// what they cannot read although the write was done, and log all of it then.
    pub async fn send(
        &self,
        what: &'static str,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<String, WriteError> {
        self.may(what)?;
        let call = async { self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await };
        let mut leadership = self.leadership.clone();
        let call = async {
            tokio::select! {
                // An answer that comes together with the loss counts as none: whoever leads next finds what it did.
                biased;
                () = leadership.lost() => Err(WriteError::NotLeader(what)),
                outcome = tokio::time::timeout(CALL, call) => match outcome {
                    Ok(Ok(text)) => Ok(text),
                    Ok(Err(error)) => Err(WriteError::Api(what, Box::new(error))),
                    Err(_) => Err(WriteError::TimedOut(what, CALL)),
                },
            }
        };
        let outcome = call.instrument(debug_span!("write", what)).await;
        self.metrics.write(what, outcome.is_ok());
        outcome
    }

    /// Reports to people, as soon as the events before are written: nothing ever waits for an event. Where too many wait, it is dropped,
    /// counted and logged.
    pub fn report(&self, about: ObjectReference, warning: bool, reason: &str, message: &str) {
        let key = EventKey {
            about: about.uid.clone().unwrap_or_default(),
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let name = about.name.clone().unwrap_or_default();
        if !self.events.push(PendingEvent { about, key }) {
            self.metrics.events_dropped.inc();
            warn!(name, reason, message, "too many events wait: this one is dropped");
        }
    }

    /// Writes events as long as it is polled: several at a time, and those about one object in their order.
    pub async fn write_events(self) {
        let (mut calls, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
        loop {
            tokio::select! {
                biased;
                Some(about) = calls.next() => {
                    busy.remove(&about);
                }
                event = self.events.next(&busy), if calls.len() < EVENTS => {
                    busy.insert(event.key.about.clone());
                    calls.push(self.write(event));
                }
            }
        }
    }

    /// Writes the oldest event that waits. A failure is only logged.
    pub async fn write_event(&self) {
        let event = self.events.next(&BTreeSet::new()).await;
        self.write(event).await;
    }

    /// Writes an event, and gives the object that it is about.
    async fn write(&self, PendingEvent { about, key }: PendingEvent) -> String {
        let object = key.about.clone();
        let at = of::<Event>(about.namespace.as_deref().unwrap_or_default());
        let reason = key.reason.clone();
        let event = self.recorder.next(key, &about, clock::now());
        let request = if event.series.is_none() {
            body(&event).and_then(|body| at.create(&PostParams::default(), body))
        } else {
            let count = json!({"series": event.series});
            at.patch(&event.name_any(), &PatchParams::default(), &Patch::Merge(&count))
        };
        if let Err(error) = self.send("event", request).await {
            warn!(%error, reason, "an event could not be written");
        }
        object
    }
}

/// What is not there any more need not be deleted or changed; what changed since is looked at again.
pub fn gone_is_fine(outcome: Result<(), WriteError>) -> Result<(), WriteError> {
    match outcome {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// How to delete an object only if it is the one that was observed: somebody may have made another one of its name.
pub fn if_it_is(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    }
}

/// Requests for a kind in a namespace.
pub fn of<K: Resource<DynamicType = ()>>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), Some(namespace)))
}

/// An object as it is sent.
pub fn body(object: &impl Serialize) -> Result<Vec<u8>, BadRequest> {
    serde_json::to_vec(object).map_err(BadRequest::SerializeBody)
}

#[cfg(test)]
mod tests;
