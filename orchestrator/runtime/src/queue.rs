//! Which keys need a pass, now or later. A key is in the queue at most once; it is never handed
//! out twice at the same time. First come, first served: a key that asks all the time comes after those that asked before it.
//! Nothing here knows what a pass is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// First wait after a failed pass; doubles up to [`BACKOFF_MAX`].
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest wait after failed passes.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The queue. Its size is bounded by the number of keys.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: Line<K>,
    later: BTreeMap<K, Instant>,
    /// Passes under way, and when each began.
    running: BTreeMap<K, Instant>,
    failures: BTreeMap<K, u32>,
}

/// Keys in the order in which they asked, each once.
#[derive(Debug)]
struct Line<K> {
    order: BTreeMap<u64, K>,
    place: BTreeMap<K, u64>,
    next: u64,
}

// Derived, it would ask for a key without a value.
impl<K> Default for Queue<K> {
    fn default() -> Self {
        let ready = Line { order: BTreeMap::new(), place: BTreeMap::new(), next: 0 };
        let (later, running, failures) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { state: Mutex::new(State { ready, later, running, failures }), changed: Notify::new() }
    }
}

impl<K: Clone + Ord> Line<K> {
    fn insert(&mut self, key: K) {
        if !self.place.contains_key(&key) {
            self.order.insert(self.next, key.clone());
            self.place.insert(key, self.next);
            self.next += 1;
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some(place) = self.place.remove(key) {
            self.order.remove(&place);
        }
    }
}

impl<K: Clone + Ord> Queue<K> {
    /// Asks for a pass at once.
    pub fn add(&self, key: K) {
        self.state.lock().ready.insert(key);
        self.changed.notify_one();
    }

    /// Asks for a pass at `when`, unless one comes earlier.
    fn add_at(state: &mut State<K>, key: K, when: Instant) {
        let entry = state.later.entry(key).or_insert(when);
        *entry = when.min(*entry);
    }

    /// The next key to look at. `clock` reads the time.
    pub async fn next(&self, clock: fn() -> Instant) -> K {
        loop {
            let wait = {
                let mut state = self.state.lock();
                let State { ready, later, running, .. } = &mut *state;
                let now = clock();
                for (key, _) in later.extract_if(.., |_, when| *when <= now) {
                    ready.insert(key);
                }
                let next = ready.order.values().find(|key| !running.contains_key(*key)).cloned();
                if let Some(key) = next {
                    ready.remove(&key);
                    later.remove(&key);
                    running.insert(key.clone(), now);
                    return key;
                }
                later.values().min().map(|when| when.saturating_duration_since(now))
            };
            match wait {
                Some(wait) => {
                    let _ = tokio::time::timeout(wait, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// A pass is over: again at `wake`, or soon when it failed.
    pub fn done(&self, key: &K, outcome: Result<Option<Instant>, Instant>) {
        {
            let mut state = self.state.lock();
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

    /// How long the oldest pass under way has taken. Zero when none is.
    pub fn longest_pass(&self, now: Instant) -> Duration {
        let began = self.state.lock().running.values().min().copied();
        began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Keys that wait for a pass now.
    pub fn depth(&self) -> usize {
        self.state.lock().ready.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;
    use crate::clock::monotonic;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    async fn next(queue: &Queue<Key>) -> Option<Key> {
        tokio::time::timeout(Duration::from_millis(50), queue.next(monotonic)).await.ok()
    }

    #[tokio::test]
    async fn a_key_is_looked_at_once_for_many_changes() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        assert_eq!(next(&queue).await, None);
    }

    #[tokio::test]
    async fn a_key_is_never_handed_out_twice_at_a_time() {
        let queue = Queue::default();
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        assert_eq!(next(&queue).await, None);
        queue.done(&key("a"), Ok(None));
        assert_eq!(next(&queue).await, Some(key("a")));
    }

    #[tokio::test]
    async fn a_pass_that_never_ends_grows_old() {
        let queue = Queue::default();
        let start = monotonic();
        assert_eq!(queue.longest_pass(start), Duration::ZERO);
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        let later = monotonic() + Duration::from_mins(20);
        assert!(queue.longest_pass(later) >= Duration::from_mins(20));
        queue.done(&key("a"), Ok(None));
        assert_eq!(queue.longest_pass(later), Duration::ZERO);
    }

    #[tokio::test]
    async fn one_busy_key_does_not_hold_up_another() {
        let queue = Queue::default();
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(next(&queue).await, Some(key("b")));
    }

    #[tokio::test]
    async fn a_key_that_asks_all_the_time_starves_no_other() {
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
        let due = queue.state.lock().later.get(&key("a")).copied();
        assert_eq!(due, Some(start + BACKOFF_FIRST * 4));
    }
}
