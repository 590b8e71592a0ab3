//! Which fleets need a look, now or later. A fleet is in the queue at most once; it is never handed
//! out twice at the same time. First come, first served: a fleet that asks all the time comes after those that asked before it.
//! Nothing here knows what a look is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Key;

/// First wait after a failed pass; doubles up to [`BACKOFF_MAX`].
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest wait after failed passes.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The queue. Its size is bounded by the number of fleets.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: Line,
    later: BTreeMap<Key, Instant>,
    /// Looks under way, and when each began.
    running: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
}

/// Fleets in the order in which they asked, each once.
#[derive(Debug, Default)]
struct Line {
    order: BTreeMap<u64, Key>,
    place: BTreeMap<Key, u64>,
    next: u64,
}

impl Line {
    fn insert(&mut self, key: Key) {
        if !self.place.contains_key(&key) {
            self.order.insert(self.next, key.clone());
            self.place.insert(key, self.next);
            self.next += 1;
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(place) = self.place.remove(key) {
            self.order.remove(&place);
        }
    }
}

impl Queue {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a look at once.
    pub(crate) fn add(&self, key: Key) {
        self.state().ready.insert(key);
        self.changed.notify_one();
    }

    /// Asks for a look at `when`, unless one comes earlier.
    fn add_at(state: &mut State, key: Key, when: Instant) {
        let entry = state.later.entry(key).or_insert(when);
        *entry = when.min(*entry);
    }

    /// The next fleet to look at. `clock` reads the time.
    pub(crate) async fn next(&self, clock: fn() -> Instant) -> Key {
        loop {
            let wait = {
                let mut state = self.state();
                let now = clock();
                let due: Vec<Key> = state
                    .later
                    .iter()
                    .filter(|(_, when)| **when <= now)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in due {
                    state.later.remove(&key);
                    state.ready.insert(key);
                }
                let next = state.ready.order.values().find(|key| !state.running.contains_key(*key)).cloned();
                if let Some(key) = next {
                    state.ready.remove(&key);
                    state.later.remove(&key);
                    state.running.insert(key.clone(), now);
                    return key;
                }
                state.later.values().min().map(|when| when.saturating_duration_since(now))
            };
            match wait {
                Some(wait) => {
                    let _ = tokio::time::timeout(wait, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// A look is over: again at `wake`, or soon when it failed.
    pub(crate) fn done(&self, key: &Key, outcome: Result<Option<Instant>, Instant>) {
        {
            let mut state = self.state();
            state.running.remove(key);
            match outcome {
                Ok(wake) => {
                    state.failures.remove(key);
                    if let Some(wake) = wake {
                        Self::add_at(&mut state, key.clone(), wake);
                    }
                }
                Err(now) => {
                    let failures = state.failures.entry(key.clone()).or_default();
                    let wait = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(10)).min(BACKOFF_MAX);
                    *failures = failures.saturating_add(1);
                    Self::add_at(&mut state, key.clone(), now + wait);
                }
            }
        }
        self.changed.notify_one();
    }

    /// How long the oldest look under way has taken. Zero when none is.
    pub(crate) fn longest_look(&self, now: Instant) -> Duration {
        let began = self.state().running.values().min().copied();
        began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Fleets that wait for a look now.
    pub(crate) fn depth(&self) -> usize {
        self.state().ready.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    async fn next(queue: &Queue) -> Option<Key> {
        tokio::time::timeout(Duration::from_millis(50), queue.next(monotonic)).await.ok()
    }

    #[tokio::test]
    async fn a_fleet_is_looked_at_once_for_many_changes() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn a_fleet_is_never_handed_out_twice_at_a_time() {
        let queue = Queue::default();
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        assert_eq!(next(&queue).await, None);
        queue.done(&key("a"), Ok(None));
        assert_eq!(next(&queue).await, Some(key("a")));
    }

    #[tokio::test]
    async fn a_look_that_never_ends_grows_old() {
        let queue = Queue::default();
        let start = monotonic();
        assert_eq!(queue.longest_look(start), Duration::ZERO);
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        let later = monotonic() + Duration::from_mins(20);
        assert!(queue.longest_look(later) >= Duration::from_mins(20));
        queue.done(&key("a"), Ok(None));
        assert_eq!(queue.longest_look(later), Duration::ZERO);
    }

    #[tokio::test]
    async fn one_busy_fleet_does_not_hold_up_another() {
        let queue = Queue::default();
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(next(&queue).await, Some(key("b")));
    }

    #[tokio::test]
    async fn a_fleet_that_asks_all_the_time_starves_no_other() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("z"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        queue.done(&key("a"), Ok(None));
        assert_eq!(next(&queue).await, Some(key("z")), "it asked before the other asked again");
        assert_eq!(next(&queue).await, Some(key("a")));
    }

    #[tokio::test]
    async fn failures_wait_longer_each_time() {
        let queue = Queue::default();
        let start = monotonic();
        for _ in 0..3 {
            queue.add(key("a"));
            assert_eq!(next(&queue).await, Some(key("a")));
            queue.done(&key("a"), Err(start));
        }
        let due = queue.state().later.get(&key("a")).copied();
        assert_eq!(due, Some(start + BACKOFF_FIRST * 4));
    }
}
