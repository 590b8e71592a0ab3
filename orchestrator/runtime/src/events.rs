//! What is reported to people, as Kubernetes events: the same words about the same object within some minutes are one event that
//! counts. Pure; the writer writes. kube's own recorder takes events for the same whose words differ, and loses the later ones.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use parking_lot::Mutex;
use rayfleet_text::cut;

/// Words that were not said for so long are said again; Kubernetes' own recorder waits as long.
const SERIES: Duration = Duration::from_mins(6);
/// Bytes of an event's text that the API server takes.
const LONGEST_NOTE: usize = 1024;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventKey {
    /// UID of what it is about.
    pub about: String,
    /// Warning, or Normal.
    pub warning: bool,
    /// One word for machines.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What was reported in the last minutes.
#[derive(Debug)]
pub(crate) struct EventRecorder {
    /// The program, as the events name it.
    controller: &'static str,
    /// This replica.
    instance: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    said: BTreeMap<EventKey, (Event, Timestamp)>,
    /// Keeps names apart that are made at the same time.
    number: u64,
}

impl EventRecorder {
    /// Nothing was reported yet.
    pub(crate) fn new(controller: &'static str, instance: Option<String>) -> Self {
        Self {
            controller,
            instance: instance.unwrap_or_else(|| controller.to_owned()),
            known: Mutex::default(),
        }
    }

    /// This as an event at `now`: with a series if it is there already, and only counted once more. The event counts as written from here on: one that was lost is not worth a second try.
    pub(crate) fn next(&self, key: EventKey, about: &ObjectReference, now: Timestamp) -> Event {
        let mut known = self.known.lock();
        known.said.retain(|_, (_, last)| last.saturating_add(SERIES).is_ok_and(|end| end > now));
        if let Some((event, last)) = known.said.get_mut(&key) {
            let count = event.series.as_ref().map_or(1, |series| series.count).saturating_add(1);
            event.series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
            *last = now;
            return event.clone();
        }
        known.number = known.number.wrapping_add(1);
        let name = about.name.as_deref().unwrap_or(self.controller);
        let event = Event {
            metadata: ObjectMeta {
                namespace: about.namespace.clone(),
                name: Some(format!("{name}.{:x}.{:x}", now.as_microsecond(), known.number)),
                ..ObjectMeta::default()
            },
            action: Some(key.reason.clone()),
            reason: Some(key.reason.clone()),
            note: Some(cut(&key.message, LONGEST_NOTE)),
            type_: Some(if key.warning { "Warning" } else { "Normal" }.to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.clone()),
            reporting_controller: Some(self.controller.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        known.said.insert(key, (event.clone(), now));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> EventKey {
        EventKey { about: "u".into(), warning: true, reason: "GroupFailed".into(), message: message.into() }
    }

    fn about() -> ObjectReference {
        ObjectReference {
            name: Some("f".into()),
            namespace: Some("n".into()),
            uid: Some("u".into()),
            ..ObjectReference::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn new(event: Event) -> Event {
        assert_eq!(event.series, None, "reported before: {event:?}");
        event
    }

    #[test]
    fn other_words_are_another_event() {
        let reported = EventRecorder::new("rayfleet", None);
        let one = new(reported.next(event("one"), &about(), at(0)));
        let other = new(reported.next(event("other"), &about(), at(0)));
        assert_eq!(other.note.as_deref(), Some("other"));
        assert_ne!(one.metadata.name, other.metadata.name);
    }

    #[test]
    fn the_same_words_are_counted() {
        let reported = EventRecorder::new("rayfleet", None);
        let first = new(reported.next(event("one"), &about(), at(0)));
        reported.next(event("one"), &about(), at(100));
        let third = reported.next(event("one"), &about(), at(200));
        assert_eq!(third.metadata.name, first.metadata.name);
        let series = third.series.unwrap();
        assert_eq!((series.count, series.last_observed_time.0), (3, at(200)));
    }

    #[test]
    fn words_after_a_long_time_are_a_new_event() {
        let reported = EventRecorder::new("rayfleet", None);
        reported.next(event("one"), &about(), at(0));
        let again = new(reported.next(event("one"), &about(), at(361)));
        assert!(again.series.is_none());
    }
}
