//! The one world behind all handles.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::ordered_notify::{OrderedNotify, Subscriber};
use super::world::World;

/// The world, its time, and who waits for a change of it.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) world: Mutex<World>,
    /// Version of the world that was reported last.
    pub(super) reported: AtomicU64,
    pub(super) changed: OrderedNotify,
}

impl Shared {
    /// Looks at the world, or does something to it, after all that was due has happened.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.clock.now());
        let done = work(&mut world);
        let version = world.version;
        drop(world);
        if self.reported.swap(version, Ordering::Relaxed) != version {
            self.changed.notify();
        }
        done
    }

    /// Does something to the world.
    pub(super) fn change(&self, work: impl FnOnce(&mut World)) {
        self.with(|world| {
            work(world);
            world.touch();
        });
    }

    /// Waits until something changes, something is due, or `until` is reached.
    pub(super) async fn next(&self, mut changes: Subscriber, until: Option<Duration>) {
        let due = self.with(|world| world.next_due());
        let wake = due.into_iter().chain(until).min();
        let slept = async {
            match wake {
                Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = changes.changed() => {}
            () = slept => {}
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
