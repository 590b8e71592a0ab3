//! Events: a queue that drops what is too much, and one writer.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use rayfleet_api::RayClusterFleet;
use serde_json::json;

use super::{Executor, body, of};
use crate::clock;
use crate::kubernetes::Key;
use crate::kubernetes::event_queue::PendingEvent;
use crate::kubernetes::events::{EventKey, EventWrite};

impl Executor {
    /// Has people reported, as soon as the events before are written: nothing ever waits for an event. Where too many wait, it is dropped,
    /// counted and logged.
    pub(crate) fn tell(&self, fleet: &RayClusterFleet, warning: bool, reason: &str, message: &str) {
        let about = fleet.object_ref(&());
        let telling = EventKey {
            about: about.uid.clone().unwrap_or_default(),
            warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if !self.notes.push(PendingEvent { about, telling }) {
            self.metrics.events_dropped.inc();
            tracing::warn!(fleet = %Key::of(fleet), reason, message, "too many events wait: this one is dropped");
        }
    }

    /// Writes events, one after the other, for as long as it is let.
    pub(crate) async fn write_events(self) {
        loop {
            self.write_event().await;
        }
    }

    /// Writes the oldest event that waits. A failure is only logged.
    pub(super) async fn write_event(&self) {
        let PendingEvent { about, telling } = self.notes.next().await;
        let at = of::<Event>(about.namespace.as_deref().unwrap_or_default());
        let reason = telling.reason.clone();
        let written = match self.reported.next(telling, &about, clock::now()) {
            EventWrite::New(event) => {
                let request = body(&event).and_then(|body| at.create(&PostParams::default(), body));
                self.send("event", request).await
            }
            EventWrite::Repeat(event) => {
                let (name, count) = (event.name_any(), json!({"series": event.series}));
                let (parameters, patch) = (PatchParams::default(), Patch::Merge(&count));
                self.send("event", at.patch(&name, &parameters, &patch)).await
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, reason, "an event could not be written");
        }
    }
}
