//! What people are to be reported and is not written yet: a bounded queue. A decision never waits for an event; where too many come, they
//! are dropped and counted. Nothing here writes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::Notify;

use super::events::EventKey;

/// Notes that wait at the same time.
const ALL: usize = 1024;
/// Of those, notes about one fleet: a fleet that tells much leaves room for the others.
const OF_ONE: usize = 128;

/// One note.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PendingEvent {
    /// The fleet.
    pub(super) about: ObjectReference,
    /// What to tell.
    pub(super) telling: EventKey,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    waiting: Mutex<VecDeque<PendingEvent>>,
    came: Notify,
}

impl EventQueue {
    /// Takes a note, or drops it when too many wait: says whether it was taken.
    pub(super) fn push(&self, note: PendingEvent) -> bool {
        let mut waiting = self.waiting();
        let of_one = waiting.iter().filter(|other| other.telling.about == note.telling.about).count();
        if waiting.len() >= ALL || of_one >= OF_ONE {
            return false;
        }
        waiting.push_back(note);
        drop(waiting);
        self.came.notify_one();
        true
    }

    /// The oldest note, as soon as there is one.
    pub(super) async fn next(&self) -> PendingEvent {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some(note) => return note,
                None => self.came.notified().await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<PendingEvent>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(about: &str, number: usize) -> PendingEvent {
        let telling =
            EventKey { about: about.into(), warning: true, reason: "R".into(), message: number.to_string() };
        PendingEvent { about: ObjectReference::default(), telling }
    }

    #[tokio::test]
    async fn notes_come_in_their_order_and_one_fleet_leaves_room_for_others() {
        let notes = EventQueue::default();
        let taken = (0..1000).filter(|number| notes.push(note("loud", *number))).count();
        assert_eq!(taken, OF_ONE);
        assert!(notes.push(note("other", 0)));
        for number in 0..OF_ONE {
            assert_eq!(notes.next().await, note("loud", number));
        }
        assert_eq!(notes.next().await, note("other", 0));
        let taken = (0..5000).filter(|number| notes.push(note(&(number / 100).to_string(), *number))).count();
        assert_eq!(taken, ALL);
    }
}
