//! The loop around a reconciler that does what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::debug_span;

use super::*;

/// Counts its passes in what it remembers, and what `act` makes of the number is how one ends.
struct Counting {
    queue: Queue<&'static str>,
    act: fn(u32) -> Result<Next, WriteError>,
    at_once: AtomicUsize,
    most: AtomicUsize,
    passes: Mutex<Vec<(&'static str, u32)>>,
    stopped: AtomicUsize,
}

impl Reconciler for Counting {
    type Key = &'static str;
    type State = u32;
    const PARALLEL: usize = 2;

    fn queue(&self) -> &Queue<&'static str> {
        &self.queue
    }
    fn span(key: &&'static str) -> Span {
        debug_span!("pass", key)
    }
    async fn reconcile(&self, key: &&'static str, state: &mut u32) -> Result<Next, WriteError> {
        *state += 1;
        self.passes.lock().push((*key, *state));
        let running = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(running, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        (self.act)(*state)
    }
    fn leads(&self) {
        for key in ["a", "b", "c"] {
            self.queue.add(key);
        }
    }
    fn stopped(&self) {
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A controller that does this, and its reconciler.
fn counting(act: fn(u32) -> Result<Next, WriteError>) -> (Arc<Controller<Counting>>, Arc<Counting>, Metrics) {
    let reconciler = Arc::new(Counting {
        queue: Queue::default(),
        act,
        at_once: AtomicUsize::default(),
        most: AtomicUsize::default(),
        passes: Mutex::default(),
        stopped: AtomicUsize::default(),
    });
    let metrics = Metrics::default();
    (Controller::new(reconciler.clone(), metrics.clone()), reconciler, metrics)
}

async fn run_for(seconds: u64, controller: Arc<Controller<Counting>>) {
    let (leadership, _lease) = Leadership::always();
    let _ = tokio::time::timeout(Duration::from_secs(seconds), controller.run(leadership)).await;
}

#[tokio::test(start_paused = true)]
async fn every_key_has_its_pass_and_only_so_many_run_at_once() {
    let (controller, reconciler, _) = counting(|_| Ok(Next::WhenMarked));
    run_for(10, controller).await;
    assert_eq!(*reconciler.passes.lock(), [("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(reconciler.most.load(Ordering::Relaxed), Counting::PARALLEL);
    assert_eq!(reconciler.stopped.load(Ordering::Relaxed), 1, "it ends with the loop");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_looked_at_again_at_its_time() {
    let (controller, reconciler, _) =
        counting(|_| Ok(Next::At(clock::now().saturating_add(Duration::from_mins(1)).unwrap())));
    run_for(100, controller).await;
    assert_eq!(reconciler.passes.lock().iter().filter(|(key, _)| *key == "a").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn state_ends_with_its_key_and_with_a_panic() {
    let (controller, reconciler, metrics) = counting(|pass| {
        assert!(pass != 2, "a bug");
        if pass == 1 { Err(WriteError::NotLeader("write")) } else { Ok(Next::Gone) }
    });
    run_for(4, controller.clone()).await;
    let of_a: Vec<u32> =
        reconciler.passes.lock().iter().filter(|(key, _)| *key == "a").map(|(_, pass)| *pass).collect();
    assert_eq!(of_a[..3], [1, 2, 1], "a failure keeps it, a panic does not");
    assert!(metrics.panics.get() >= 1);
    let (controller, ..) = counting(|_| Ok(Next::Gone));
    run_for(10, controller.clone()).await;
    assert_eq!(controller.remembered(), Vec::<&str>::new());
}

#[test]
fn a_time_of_day_is_as_far_away_on_the_other_clock() {
    let now = Timestamp::from_second(1_000).unwrap();
    let start = clock::monotonic();
    let at = |second| instant_of(Timestamp::from_second(second).unwrap(), now, start) - start;
    assert_eq!(at(1_090), Duration::from_secs(90));
    assert_eq!(at(900), Duration::ZERO, "what is over is due now");
    assert!(instant_of(Timestamp::MAX, now, start) > start);
}
