//! The criteria for a run besides the oracle are violated once, and reported.

use super::*;
use crate::run::faults::Written;

fn shared() -> Shared {
    Shared::new(1, Plan::default(), Trace::begin(), mpsc::unbounded_channel().0)
}

#[tokio::test(start_paused = true)]
async fn a_write_during_the_quiet_part_is_reported() {
    let late = async |rest: Rest, trouble: Duration, after: Duration| {
        let shared = shared();
        shared.state().trouble = trouble;
        let writer = shared.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let written = Written { at: after, who: "a1".to_owned(), what: "x".to_owned(), is_event: false };
            writer.state().writes.push(written);
        });
        quiet(&shared, rest).await
    };
    for rest in [Rest::Short, Rest::Long] {
        let (calm, silence) = rest.lengths();
        let second = Duration::from_secs(1);
        for trouble in [Duration::ZERO, second * 20] {
            let calm = trouble + calm;
            assert_eq!(late(rest, trouble, calm.saturating_sub(second)).await, Ok(()));
            assert_eq!(late(rest, trouble, calm + second).await, Err("1 writes at rest: x".to_owned()));
            assert_eq!(late(rest, trouble, calm + silence + second).await, Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_ends_by_itself_is_reported() {
    let shared = shared();
    replicas::lasting("a1".to_owned(), shared.clone(), async { "over" }).await;
    assert_eq!(shared.state().breaches, ["a1 ended by itself: \"over\""]);
}
