//! Wakes those who wait for a change. They are woken in the order in which they began to wait: a run is to be the same each
//! time, and `tokio::sync::watch` wakes in an order of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes and wakes those who wait for one. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OrderedNotify(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    changed: Notify,
}

impl OrderedNotify {
    /// Something has changed.
    pub fn notify(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    /// Somebody who knows of all changes until now.
    pub fn subscribe(&self) -> Subscriber {
        Subscriber { known: self.count(), notify: self.clone() }
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// Somebody who waits for changes.
#[derive(Clone, Debug)]
pub struct Subscriber {
    notify: OrderedNotify,
    known: u64,
}

impl Subscriber {
    /// Whether there was a change that is not known yet.
    pub fn has_changed(&self) -> bool {
        self.notify.count() != self.known
    }

    /// All changes until now are known.
    pub fn mark_unchanged(&mut self) {
        self.known = self.notify.count();
    }

    /// Waits for a change that is not known yet.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.notify.0.changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.has_changed() {
                break;
            }
            notified.await;
        }
        self.mark_unchanged();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let (notify, woken) = (OrderedNotify::default(), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let (mut subscriber, woken) = (notify.subscribe(), woken.clone());
                tokio::spawn(async move {
                    subscriber.changed().await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        notify.notify();
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_before_the_wait_counts_once_and_one_that_is_known_does_not() {
        let notify = OrderedNotify::default();
        let mut subscriber = notify.subscribe();
        notify.notify();
        assert!(subscriber.has_changed());
        subscriber.changed().await;
        assert!(!subscriber.has_changed());
        notify.notify();
        subscriber.mark_unchanged();
        let waits = tokio::time::timeout(std::time::Duration::from_secs(1), subscriber.changed());
        assert!(waits.await.is_err());
    }
}
