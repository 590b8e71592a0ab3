//! Everything simulated of Ray in one value, and its time: what happens later stands in a queue, and whoever looks first lets
//! it happen. Nothing in here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::behaviour::{DashboardState, EngineBehaviour, Timing};
use super::container::Container;
use super::engine::Engine;
use super::gcs::{Gcs, Job};
use super::ids::{Address, Ids, JobKey};

/// Something that happens later.
type Step = Box<dyn FnOnce(&mut World) + Send>;
/// What engines do, by source and arguments.
pub(super) type Models = Box<dyn Fn(&str, &[String]) -> EngineBehaviour + Send>;

/// All of it.
pub(super) struct World {
    pub(super) now: Duration,
    queue: BTreeMap<(Duration, u64), Step>,
    queued: u64,
    /// Grows with everything that happens.
    pub(super) version: u64,
    pub(super) ids: Ids,
    pub(super) random: fastrand::Rng,
    pub(super) timing: Timing,
    pub(super) models: Models,
    /// The last container at each address.
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) lost_hosts: BTreeSet<String>,
    /// Addresses that are not reached from here.
    pub(super) cut: BTreeSet<String>,
    /// The living head of each cluster.
    pub(super) heads: BTreeMap<String, Gcs>,
    pub(super) dashboards: BTreeMap<String, DashboardState>,
    pub(super) engines: BTreeMap<Address, Engine>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            queued: 0,
            version: 0,
            ids: Ids::new(seed),
            random: fastrand::Rng::with_seed(seed),
            timing: Timing::default(),
            models: Box::new(|_, _| EngineBehaviour::default()),
            containers: BTreeMap::new(),
            lost_hosts: BTreeSet::new(),
            cut: BTreeSet::new(),
            heads: BTreeMap::new(),
            dashboards: BTreeMap::new(),
            engines: BTreeMap::new(),
        }
    }

    /// Lets everything happen that was to happen until `now`.
    pub(super) fn advance(&mut self, now: Duration) {
        while let Some(entry) = self.queue.first_entry() {
            let due = entry.key().0;
            if due > now {
                break;
            }
            let step = entry.remove();
            self.now = due;
            step(self);
            self.touch();
        }
        self.now = self.now.max(now);
    }

    /// When something happens next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Something has changed.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    pub(super) fn touch_if(&mut self, changed: bool) {
        if changed {
            self.touch();
        }
    }

    /// Lets something happen later.
    pub(super) fn after(&mut self, delay: Duration, step: impl FnOnce(&mut World) + Send + 'static) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), Box::new(step));
    }

    /// About so long.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        let spread = self.timing.spread.clamp(0.0, 1.0);
        if spread > 0.0 { time.mul_f64(1.0 + spread * (2.0 * self.random.f64() - 1.0)) } else { time }
    }

    /// The head's memory of a cluster, if the head still lives its life `life`.
    pub(super) fn gcs(&mut self, cluster: &str, life: u64) -> Option<&mut Gcs> {
        self.heads.get_mut(cluster).filter(|gcs| gcs.life == life)
    }

    pub(super) fn job(&mut self, key: &JobKey) -> Option<&mut Job> {
        self.gcs(&key.cluster, key.life)?.job_of(key.serial)
    }
}
