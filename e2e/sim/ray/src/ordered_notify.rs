//! Tells those who wait that something has changed. They are woken in the order in which they began to wait: a run is to be the same each
//! time, and `tokio::sync::watch` wakes in an order of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// What there is news of. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct News(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    reported: Notify,
}

impl News {
    /// Something has changed.
    pub(crate) fn tell(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.reported.notify_waiters();
    }

    /// Somebody who knows of all changes until now.
    pub(crate) fn listen(&self) -> Listener {
        Listener { seen: self.count(), news: self.clone() }
    }

    fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

/// Somebody who waits for news.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    news: News,
    seen: u64,
}

impl Listener {
    /// Whether there was a change that is not known yet.
    pub(crate) fn has_news(&self) -> bool {
        self.news.count() != self.seen
    }

    /// All changes until now are known.
    pub(crate) fn caught_up(&mut self) {
        self.seen = self.news.count();
    }

    /// Waits for a change that is not known yet.
    pub(crate) async fn changed(&mut self) {
        loop {
            let reported = self.news.0.reported.notified();
            tokio::pin!(reported);
            reported.as_mut().enable();
            if self.has_news() {
                break;
            }
            reported.await;
        }
        self.caught_up();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let (news, woken) = (News::default(), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let (mut listener, woken) = (news.listen(), woken.clone());
                tokio::spawn(async move {
                    listener.changed().await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        news.tell();
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_before_the_wait_counts_once_and_one_that_is_known_does_not() {
        let news = News::default();
        let mut listener = news.listen();
        news.tell();
        assert!(listener.has_news());
        listener.changed().await;
        assert!(!listener.has_news());
        news.tell();
        listener.caught_up();
        let waits = tokio::time::timeout(std::time::Duration::from_secs(1), listener.changed());
        assert!(waits.await.is_err());
    }
}
