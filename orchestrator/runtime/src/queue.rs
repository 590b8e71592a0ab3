//! Which keys need a pass, now or later. A key is in the queue at most once; it is never handed
//! out twice at the same time. Keys that had a pass come before keys that had none, so that a thousand new ones hold up nothing that
//! serves. Within each of the two tenants take turns, and of one tenant it is first come, first served: a key that asks all the time comes
//! after those that asked before it. Where nobody takes them, no keys are kept. Nothing here knows what a pass is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::line::Line;
pub use self::line::Tenant;

mod line;

/// First wait after a failed pass; doubles up to [`BACKOFF_MAX`].
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest wait after failed passes.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// After so many keys that had a pass in a row, a new one that waits is next: what has begun is finished first, but starves nothing.
const KNOWN_IN_A_ROW: u32 = 15;

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All is done until then, or until somebody asks.
    Done(Option<Instant>),
    /// It failed, at this moment: again soon.
    Failed(Instant),
    /// The key stands for nothing any more. If it ever asks again, it is new.
    Gone,
}

/// The queue. Its size is bounded by the number of keys.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    /// Nobody takes keys, and all will be marked before somebody does: others could make up as many as they like.
    closed: bool,
    /// Keys that had a pass.
    known: BTreeSet<K>,
    ready: Line<K>,
    /// As `ready`, keys that had none.
    fresh: Line<K>,
    /// Keys of `ready` that were handed out since the last of `fresh`.
    in_a_row: u32,
    later: BTreeMap<K, Instant>,
    /// Passes under way, and when each began.
    running: BTreeMap<K, Instant>,
    failures: BTreeMap<K, u32>,
}

// Derived, both would ask for a key without a value.
impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Notify::new() }
    }
}

impl<K> Default for State<K> {
    fn default() -> Self {
        Self {
            closed: false,
            known: BTreeSet::new(),
            ready: Line::default(),
            fresh: Line::default(),
            in_a_row: 0,
            later: BTreeMap::new(),
            running: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Clone + Ord + Tenant> State<K> {
    fn add(&mut self, key: K) {
        if self.closed {
            return;
        }
        // One that is forgotten while it waits keeps its place.
        let is_known = self.known.contains(&key) || self.ready.contains(&key);
        let line = if is_known { &mut self.ready } else { &mut self.fresh };
        line.insert(key);
    }

    /// Takes out the key that is next.
    fn take(&mut self) -> Option<K> {
        let may = |key: &K| !self.running.contains_key(key);
        let (ready, fresh) = (self.ready.first(may), self.fresh.first(may));
        let (key, is_fresh) = match (ready, fresh) {
            (Some(key), Some(_)) if self.in_a_row < KNOWN_IN_A_ROW => (key, false),
            (_, Some(key)) => (key, true),
            (Some(key), None) => (key, false),
            (None, None) => return None,
        };
        let key = key.clone();
        if is_fresh {
            self.fresh.serve(&key);
            self.in_a_row = 0;
        } else {
            self.ready.serve(&key);
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        self.later.remove(&key);
        Some(key)
    }

    /// A key had a pass: what it asked for meanwhile is asked by a key that had one.
    fn know(&mut self, key: &K) {
        if self.known.insert(key.clone()) && self.fresh.contains(key) {
            self.fresh.remove(key);
            self.ready.insert(key.clone());
        }
    }
}

impl<K: Clone + Ord + Tenant> Queue<K> {
    /// Asks for a pass at once.
    pub fn add(&self, key: K) {
        self.state.lock().add(key);
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
                let now = clock();
                let due: Vec<K> =
                    state.later.extract_if(.., |_, when| *when <= now).map(|(key, _)| key).collect();
                for key in due {
                    state.add(key);
                }
                if let Some(key) = state.take() {
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

    /// A pass is over.
    pub fn done(&self, key: &K, ended: Ended) {
        {
            let mut state = self.state.lock();
            state.running.remove(key);
            match ended {
                Ended::Done(wake) => {
                    state.failures.remove(key);
                    state.know(key);
                    if let Some(wake) = wake {
                        Self::add_at(&mut state, key.clone(), wake);
                    }
                }
                Ended::Failed(now) => {
                    let failures = state.failures.entry(key.clone()).or_default();
                    let wait = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(10)).min(BACKOFF_MAX);
                    *failures = failures.saturating_add(1);
                    Self::add_at(&mut state, key.clone(), now + wait);
                }
                Ended::Gone => {
                    state.failures.remove(key);
                    state.known.remove(key);
                }
            }
        }
        self.changed.notify_one();
    }

    /// Nobody takes keys any more, until it is opened. Nothing is kept of any key but the passes that are under way.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let running = std::mem::take(&mut state.running);
        *state = State { closed: true, running, ..State::default() };
    }

    /// Keys are taken from now on. All are to be added.
    pub fn open(&self) {
        self.state.lock().closed = false;
    }

    /// What this key stands for has begun before this program did: it comes before new ones.
    pub fn know(&self, key: &K) {
        self.state.lock().know(key);
    }

    /// How long the oldest pass under way has taken. Zero when none is.
    pub fn longest_pass(&self, now: Instant) -> Duration {
        let began = self.state.lock().running.values().min().copied();
        began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Keys that wait for a pass now.
    pub fn depth(&self) -> usize {
        let state = self.state.lock();
        state.ready.len() + state.fresh.len()
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
        queue.done(&key("a"), Ended::Done(None));
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
        queue.done(&key("a"), Ended::Done(None));
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
        for name in ["a", "z"] {
            queue.add(key(name));
            assert_eq!(next(&queue).await, Some(key(name)));
            queue.done(&key(name), Ended::Done(None));
        }
        queue.add(key("a"));
        queue.add(key("z"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.add(key("a"));
        queue.done(&key("a"), Ended::Done(None));
        assert_eq!(next(&queue).await, Some(key("z")), "it asked before the other asked again");
        assert_eq!(next(&queue).await, Some(key("a")));
    }

    #[tokio::test]
    async fn keys_that_had_a_pass_come_before_new_ones_but_starve_none() {
        let queue = Queue::default();
        let known: Vec<Key> = (0..20).map(|number| key(&format!("known-{number}"))).collect();
        for known in &known {
            queue.add(known.clone());
            assert_eq!(next(&queue).await.as_ref(), Some(known));
            queue.done(known, Ended::Done(None));
        }
        queue.add(key("new"));
        queue.add(key("newer"));
        for known in &known {
            queue.add(known.clone());
        }
        assert_eq!(queue.depth(), 22);
        let mut order = Vec::new();
        while let Some(key) = next(&queue).await {
            order.push(key);
        }
        let mut expected = known;
        expected.insert(15, key("new"));
        expected.push(key("newer"));
        assert_eq!(order, expected);
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_key_is_known_once_a_pass_over_it_succeeded_and_until_it_is_gone() {
        let queue = Queue::default();
        for name in ["b", "a"] {
            queue.add(key(name));
            assert_eq!(next(&queue).await, Some(key(name)));
        }
        // It asks during its first pass, before a new one does, and fails.
        queue.add(key("b"));
        queue.add(key("new"));
        queue.add(key("a"));
        queue.done(&key("b"), Ended::Failed(monotonic()));
        queue.done(&key("a"), Ended::Done(None));
        assert_eq!(next(&queue).await, Some(key("a")));
        assert_eq!(next(&queue).await, Some(key("b")));
        assert_eq!(next(&queue).await, Some(key("new")));
        for name in ["a", "b", "new"] {
            queue.done(&key(name), Ended::Done(None));
        }
        queue.add(key("a"));
        assert_eq!(next(&queue).await, Some(key("a")));
        queue.done(&key("a"), Ended::Gone);
        for _ in 0..2 {
            queue.add(key("a"));
            queue.add(key("b"));
            assert_eq!(next(&queue).await, Some(key("b")));
            assert_eq!(next(&queue).await, Some(key("a")));
            queue.done(&key("b"), Ended::Done(None));
            queue.done(&key("a"), Ended::Failed(monotonic()));
            queue.state.lock().later.clear();
        }
        queue.close();
        queue.open();
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(next(&queue).await, Some(key("a")), "both are new");
    }

    #[tokio::test]
    async fn what_has_begun_under_another_leader_comes_first_too() {
        let queue = Queue::default();
        queue.know(&key("serves"));
        queue.add(key("new"));
        queue.add(key("serves"));
        assert_eq!(next(&queue).await, Some(key("serves")));
        assert_eq!(next(&queue).await, Some(key("new")));
    }

    #[tokio::test]
    async fn a_closed_queue_keeps_no_keys() {
        let queue = Queue::default();
        queue.add(key("waits"));
        queue.add(key("runs"));
        assert_eq!(next(&queue).await, Some(key("waits")));
        queue.close();
        for number in 0..100 {
            queue.add(key(&format!("made-up-{number}")));
        }
        assert_eq!(queue.depth(), 0);
        assert_ne!(
            queue.longest_pass(monotonic() + Duration::from_mins(1)),
            Duration::ZERO,
            "it is under way"
        );
        queue.done(&key("waits"), Ended::Done(Some(monotonic())));
        assert_eq!(next(&queue).await, None);
        queue.open();
        queue.add(key("waits"));
        assert_eq!(next(&queue).await, Some(key("waits")));
    }

    #[tokio::test]
    async fn failures_wait_longer_each_time() {
        let queue = Queue::default();
        let start = monotonic();
        for _ in 0..3 {
            queue.add(key("a"));
            assert_eq!(next(&queue).await, Some(key("a")));
            queue.done(&key("a"), Ended::Failed(start));
        }
        let due = queue.state.lock().later.get(&key("a")).copied();
        assert_eq!(due, Some(start + BACKOFF_FIRST * 4));
    }
}
