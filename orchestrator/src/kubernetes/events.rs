//! What people are reported, as Kubernetes events: the same words about the same fleet within some minutes are one event that
//! counts. Pure; the executor writes. kube's own recorder takes events for the same whose words differ, and loses the later ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use rayfleet_api::text::cut;
use rayfleet_api::valid::after;

/// Who tells.
const CONTROLLER: &str = "rayfleet";
/// Words that were not said for so long are said again; Kubernetes' own recorder waits as long.
const SERIES: Duration = Duration::from_mins(6);
/// Bytes of an event's text that the API server takes.
const LONGEST_NOTE: usize = 1024;

/// One thing to tell.
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

/// How an event is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EventWrite {
    /// It is new.
    New(Event),
    /// It is there already, and is counted once more.
    Repeat(Event),
}

/// What was reported in the last minutes.
#[derive(Debug)]
pub(crate) struct EventRecorder {
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
    pub(crate) fn new(instance: Option<String>) -> Self {
        Self { instance: instance.unwrap_or_else(|| CONTROLLER.to_owned()), known: Mutex::default() }
    }

    /// How to tell this at `now`. The event counts as written from here on: one that was lost is not worth a second try.
    pub(crate) fn next(&self, telling: EventKey, about: &ObjectReference, now: Timestamp) -> EventWrite {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.said.retain(|_, (_, last)| after(*last, SERIES) > now);
        if let Some((event, last)) = known.said.get_mut(&telling) {
            let count = event.series.as_ref().map_or(1, |series| series.count).saturating_add(1);
            event.series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
            *last = now;
            return EventWrite::Repeat(event.clone());
        }
        known.number = known.number.wrapping_add(1);
        let name = about.name.as_deref().unwrap_or(CONTROLLER);
        let event = Event {
            metadata: ObjectMeta {
                namespace: about.namespace.clone(),
                name: Some(format!("{name}.{:x}.{:x}", now.as_microsecond(), known.number)),
                ..ObjectMeta::default()
            },
            action: Some(telling.reason.clone()),
            reason: Some(telling.reason.clone()),
            note: Some(cut(&telling.message, LONGEST_NOTE)),
            type_: Some(if telling.warning { "Warning" } else { "Normal" }.to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        known.said.insert(telling, (event.clone(), now));
        EventWrite::New(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(message: &str) -> EventKey {
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

    fn new(written: EventWrite) -> Event {
        match written {
            EventWrite::New(event) => event,
            EventWrite::Repeat(event) => panic!("reported before: {event:?}"),
        }
    }

    #[test]
    fn other_words_are_another_event() {
        let reported = EventRecorder::new(None);
        let one = new(reported.next(telling("one"), &about(), at(0)));
        let other = new(reported.next(telling("other"), &about(), at(0)));
        assert_eq!(other.note.as_deref(), Some("other"));
        assert_ne!(one.metadata.name, other.metadata.name);
    }

    #[test]
    fn the_same_words_are_counted() {
        let reported = EventRecorder::new(None);
        let first = new(reported.next(telling("one"), &about(), at(0)));
        reported.next(telling("one"), &about(), at(100));
        let EventWrite::Repeat(third) = reported.next(telling("one"), &about(), at(200)) else {
            panic!("not counted")
        };
        assert_eq!(third.metadata.name, first.metadata.name);
        let series = third.series.unwrap();
        assert_eq!((series.count, series.last_observed_time.0), (3, at(200)));
    }

    #[test]
    fn words_that_were_not_said_for_long_are_news() {
        let reported = EventRecorder::new(None);
        reported.next(telling("one"), &about(), at(0));
        let again = new(reported.next(telling("one"), &about(), at(361)));
        assert!(again.series.is_none());
    }
}
