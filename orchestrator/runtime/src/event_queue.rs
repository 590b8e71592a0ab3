//! Events that are not written yet: a bounded queue. A decision never waits for an event; where too many come, they
//! are dropped and counted. Nothing here writes.

use std::collections::{BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::ObjectReference;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::events::EventKey;

/// Events that wait at the same time.
const ALL: usize = 1024;
/// Of those, events about one object: one with much to say leaves room for the others.
const OF_ONE: usize = 128;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingEvent {
    /// What it is about.
    pub(crate) about: ObjectReference,
    /// What it says.
    pub(crate) key: EventKey,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<VecDeque<PendingEvent>>,
    came: Notify,
}

impl EventQueue {
    /// Takes an event, or drops it when too many wait: says whether it was taken.
    pub(crate) fn push(&self, event: PendingEvent) -> bool {
        let mut waiting = self.waiting.lock();
        let of_one = waiting.iter().filter(|other| other.key.about == event.key.about).count();
        if waiting.len() >= ALL || of_one >= OF_ONE {
            return false;
        }
        waiting.push_back(event);
        drop(waiting);
        self.came.notify_one();
        true
    }

    /// The oldest event that is not about one of these objects, as soon as there is one.
    pub(crate) async fn next(&self, busy: &BTreeSet<String>) -> PendingEvent {
        loop {
            let next = {
                let mut waiting = self.waiting.lock();
                let place = waiting.iter().position(|event| !busy.contains(&event.key.about));
                place.and_then(|place| waiting.remove(place))
            };
            match next {
                Some(event) => return event,
                None => self.came.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(about: &str, number: usize) -> PendingEvent {
        let key =
            EventKey { about: about.into(), warning: true, reason: "R".into(), message: number.to_string() };
        PendingEvent { about: ObjectReference::default(), key }
    }

    #[tokio::test]
    async fn events_come_in_their_order_and_one_object_leaves_room_for_others() {
        let events = EventQueue::default();
        let taken = (0..1000).filter(|number| events.push(event("loud", *number))).count();
        assert_eq!(taken, OF_ONE);
        assert!(events.push(event("other", 0)));
        let busy = |about: &str| BTreeSet::from([about.to_owned()]);
        assert_eq!(events.next(&busy("loud")).await, event("other", 0));
        for number in 0..OF_ONE {
            assert_eq!(events.next(&busy("other")).await, event("loud", number));
        }
        let taken =
            (0..5000).filter(|number| events.push(event(&(number / 100).to_string(), *number))).count();
        assert_eq!(taken, ALL);
    }
}
