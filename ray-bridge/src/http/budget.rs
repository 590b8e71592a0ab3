//! Bounds the memory of all replies of one process, over all Ray clusters. A cluster with large replies waits
//! for others with large replies; one with small replies never waits. Independent of what a reply contains.
//!
//! The bound is `OWN` per cluster plus `PIECE × PIECES` for all together: a quarter of a MiB per group, plus
//! 64 MiB.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the replies of one cluster may hold without waiting, in bytes.
const OWN: usize = 256 << 10;
/// What a larger reply takes at a time, in bytes.
const PIECE: usize = 4 << 20;
/// Number of pieces.
const PIECES: usize = 16;
/// How many large replies may be parsed at the same time: a parsed reply takes a multiple of its length.
const PARSERS: usize = 2;

/// The memory for replies of one process.
#[derive(Debug)]
pub(crate) struct Budget {
    common: Arc<Common>,
    clusters: Mutex<HashMap<String, Weak<Share>>>,
}

#[derive(Debug)]
struct Common {
    pieces: Arc<Semaphore>,
    parsers: Semaphore,
}

/// The share of one cluster.
#[derive(Debug)]
pub(crate) struct Share {
    common: Arc<Common>,
    own: AtomicUsize,
    /// One large reply at a time: a cluster that sends several waits only for itself.
    large: Arc<Semaphore>,
}

/// The memory that one reply holds; released on drop.
#[derive(Debug)]
pub(crate) struct Hold {
    share: Arc<Share>,
    own: usize,
    large: Option<OwnedSemaphorePermit>,
    pieces: Option<OwnedSemaphorePermit>,
}

/// There is no memory for the rest of this reply while others are read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Default for Budget {
    fn default() -> Self {
        let common = Common { pieces: Arc::new(Semaphore::new(PIECES)), parsers: Semaphore::new(PARSERS) };
        Self { common: Arc::new(common), clusters: Mutex::default() }
    }
}

impl Budget {
    /// The share of a cluster: one object for all callers while any of them holds it.
    pub(crate) fn share(&self, cluster: &str) -> Arc<Share> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = clusters.get(cluster).and_then(Weak::upgrade) {
            return share;
        }
        if clusters.len() == clusters.capacity() {
            clusters.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share {
            common: self.common.clone(),
            own: AtomicUsize::new(0),
            large: Arc::new(Semaphore::new(1)),
        });
        clusters.insert(cluster.to_owned(), Arc::downgrade(&share));
        share
    }
}

impl Share {
    /// A hold for a reply of which nothing was received yet.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        Hold { share: self.clone(), own: 0, large: None, pieces: None }
    }

    fn take_own(&self, more: usize) -> bool {
        let room = |held: usize| held.checked_add(more).filter(|held| *held <= OWN);
        self.own.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok()
    }
}

impl Hold {
    /// Reserves memory for a reply of this many bytes in total. A large one waits for its pieces; callers
    /// bound the time. A reply that has pieces already never waits for more, because two such replies would
    /// deadlock.
    pub(crate) async fn cover(&mut self, bytes: usize) -> Result<(), Busy> {
        let held = self.pieces.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let covered = self.own.saturating_add(held.saturating_mul(PIECE));
        let Some(more) = bytes.checked_sub(covered).filter(|more| *more > 0) else { return Ok(()) };
        if held == 0 && self.share.take_own(more) {
            self.own += more;
            return Ok(());
        }
        let pieces = self.share.common.pieces.clone();
        let wanted = u32::try_from(more.div_ceil(PIECE)).map_err(|_| Busy)?;
        if let Some(held) = &mut self.pieces {
            held.merge(pieces.try_acquire_many_owned(wanted).map_err(|_| Busy)?);
        } else {
            // A caller that gave up while waiting for pieces still holds its turn.
            if self.large.is_none() {
                self.large = Some(self.share.large.clone().acquire_owned().await.map_err(|_| Busy)?);
            }
            self.pieces = Some(pieces.acquire_many_owned(wanted).await.map_err(|_| Busy)?);
        }
        Ok(())
    }

    /// Runs `parse`; large replies only a few at a time.
    pub(crate) async fn parse<T>(&self, parse: impl FnOnce() -> T) -> T {
        let _turn = if self.large.is_some() { self.share.common.parsers.acquire().await.ok() } else { None };
        parse()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.own.fetch_sub(self.own, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn clusters_with_large_replies_never_delay_one_with_small_replies() {
        let budget = Budget::default();
        let mut hostile = Vec::new();
        for number in 0..PIECES {
            let mut hold = budget.share(&format!("hostile-{number}")).hold();
            assert_eq!(hold.cover(PIECE).await, Ok(()));
            hostile.push(hold);
        }
        let mut large = budget.share("large").hold();
        assert!(timeout(SOON, large.cover(PIECE)).await.is_err(), "all pieces are taken");
        let mut small = budget.share("small").hold();
        assert_eq!(timeout(SOON, small.cover(OWN)).await, Ok(Ok(())));
        hostile.pop();
        assert_eq!(
            timeout(SOON, large.cover(PIECE)).await,
            Ok(Ok(())),
            "returned pieces are available again"
        );
    }

    #[tokio::test]
    async fn one_cluster_reads_one_large_reply_at_a_time() {
        let budget = Budget::default();
        let (mut first, mut second) = (budget.share("a").hold(), budget.share("a").hold());
        assert_eq!(first.cover(PIECE).await, Ok(()));
        assert!(timeout(SOON, second.cover(PIECE)).await.is_err());
        assert_eq!(budget.common.pieces.available_permits(), PIECES - 1);
        drop(first);
        assert_eq!(timeout(SOON, second.cover(PIECE)).await, Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_reply_that_holds_a_piece_never_waits_for_another() {
        let budget = Budget::default();
        let mut holds: Vec<Hold> = (0..PIECES).map(|n| budget.share(&n.to_string()).hold()).collect();
        for hold in &mut holds {
            assert_eq!(hold.cover(PIECE).await, Ok(()));
        }
        assert_eq!(timeout(SOON, holds[0].cover(2 * PIECE)).await, Ok(Err(Busy)));
    }

    #[tokio::test]
    async fn small_replies_of_one_cluster_add_up() {
        let budget = Budget::default();
        let mut holds: Vec<Hold> = (0..4).map(|_| budget.share("a").hold()).collect();
        for hold in &mut holds {
            assert_eq!(hold.cover(OWN / 2).await, Ok(()));
            if hold.large.is_some() {
                break;
            }
        }
        assert_eq!(budget.common.pieces.available_permits(), PIECES - 1, "the third takes a piece");
        drop(holds);
        assert_eq!(budget.common.pieces.available_permits(), PIECES);
        assert_eq!(budget.share("a").own.load(Ordering::Acquire), 0);
    }

    #[test]
    fn clusters_without_replies_are_removed() {
        let budget = Budget::default();
        for number in 0..1000 {
            drop(budget.share(&number.to_string()));
        }
        assert!(budget.clusters.lock().unwrap().len() < 100);
    }
}
