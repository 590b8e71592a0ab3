//! Whether this replica may write, and until when: what everyone but the election sees of the lease.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::rule::DURATION;
use crate::clock;

/// How long a leader goes on writing after its last renewal.
pub(super) const FENCE: Duration = Duration::from_secs(10);
/// A write that is given up at the fence may be on its way to the API server for this long, and still come
/// before the first write of another leader.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(5);
const _: () = assert!(FENCE.as_millis() + ON_ITS_WAY.as_millis() <= DURATION.as_millis());

/// Whether this replica may write. Holds when the lease was last renewed, while it leads.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// What the sender says.
    pub(super) fn new(renewals: watch::Receiver<Option<Instant>>) -> Self {
        Self(renewals)
    }

    /// A replica that always leads, where there is only one.
    pub fn always() -> (Self, watch::Sender<Option<Instant>>) {
        let far = clock::monotonic() + Duration::from_secs(u64::from(u32::MAX));
        let (sender, receiver) = watch::channel(Some(far));
        (Self(receiver), sender)
    }

    /// Whether writes are allowed at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        holds(*self.0.borrow(), now)
    }

    /// Waits until this replica may write.
    pub async fn gained(&mut self) {
        let gained = self.0.wait_for(|renewed| holds(*renewed, clock::monotonic())).await.is_ok();
        if !gained {
            // The election has ended, so this replica never leads again.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this replica may not write any more: another one leads, or the fence has come. At once
    /// if it may not now.
    pub async fn lost(&mut self) {
        loop {
            let renewed = *self.0.borrow_and_update();
            let Some(renewed) = renewed.filter(|_| holds(renewed, clock::monotonic())) else { return };
            tokio::select! {
                // Whichever comes: the loop looks at the last renewal again.
                biased;
                Ok(()) = self.0.changed() => {}
                () = tokio::time::sleep_until((renewed + FENCE).into()) => {}
            }
        }
    }
}

/// Whether a lease that was last renewed then allows writes at `now`.
pub(super) fn holds(renewed: Option<Instant>, now: Instant) -> bool {
    renewed.is_some_and(|renewed| now.saturating_duration_since(renewed) < FENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led() -> (Leadership, watch::Sender<Option<Instant>>) {
        let (sender, receiver) = watch::channel(Some(clock::monotonic()));
        (Leadership::new(receiver), sender)
    }

    #[tokio::test(start_paused = true)]
    async fn writes_end_at_the_fence_and_another_may_begin_only_later() {
        let (mut leadership, _sender) = led();
        let renewed = clock::monotonic();
        leadership.lost().await;
        let ended = clock::monotonic();
        assert!(!leadership.holds(ended));
        assert!(leadership.holds(renewed + FENCE.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(ended + ON_ITS_WAY <= renewed + DURATION, "{:?}", ended - renewed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_moves_the_fence() {
        let (mut leadership, sender) = led();
        let started = clock::monotonic();
        let lost = tokio::spawn(async move {
            leadership.lost().await;
            clock::monotonic()
        });
        tokio::time::sleep(Duration::from_secs(8)).await;
        sender.send_replace(Some(clock::monotonic()));
        let after = lost.await.unwrap() - started;
        assert_eq!(after.as_secs(), 18);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_reported_at_once() {
        let (mut leadership, sender) = led();
        let started = clock::monotonic();
        sender.send_replace(None);
        leadership.lost().await;
        assert_eq!(clock::monotonic(), started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_is_too_old_is_no_leadership() {
        let (mut leadership, sender) = led();
        tokio::time::sleep(FENCE).await;
        let waited = tokio::time::timeout(Duration::from_mins(1), leadership.gained()).await;
        assert!(waited.is_err());
        sender.send_replace(Some(clock::monotonic()));
        leadership.gained().await;
        assert!(leadership.holds(clock::monotonic()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_replica_leads_for_good() {
        let (mut leadership, _sender) = Leadership::always();
        let year = Duration::from_hours(24 * 365);
        assert!(tokio::time::timeout(year, leadership.lost()).await.is_err());
        leadership.gained().await;
    }
}
