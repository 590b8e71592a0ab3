//! Many runs of the scenarios: every fault at every write, or random faults by seed. Each run has its own
//! thread; runs are independent of each other.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::faults::{Fault, Kind, Plan};
use super::oracle::differences;
use super::report::Report;
use super::scenario::Scenario;
use super::world::simulated;

/// Number of watch events between two that are hit: there are many, and neighbours are similar.
const EVENTS_APART: u64 = 40;

/// All plans of one fault each for a scenario whose run without faults is known; of each kind every `stride`-th place, which ones
/// by `offset`.
pub fn plans(baseline: &Report, stride: u64, offset: u64) -> Vec<Plan> {
    let stride = stride.max(1);
    let offset = offset % stride;
    let writes = u64::try_from(baseline.writes.len()).unwrap_or(u64::MAX);
    let mut plans = Vec::new();
    for (index, kind) in (0_u64..).zip(Kind::OF_WRITES) {
        // Kinds begin at different writes, so that with a stride all writes are hit by some.
        plans.extend(
            (1..=writes)
                .filter(|at| (at + index + offset).is_multiple_of(stride))
                .map(|at| Plan::one(kind, at)),
        );
    }
    for (index, kind) in (0_u64..).zip(Kind::OF_EVENTS) {
        let apart = EVENTS_APART * stride;
        let begin = index * 10 + EVENTS_APART * offset;
        plans.extend(
            (1..=baseline.events)
                .filter(|at| (at + begin).is_multiple_of(apart))
                .map(|at| Plan::one(kind, at)),
        );
    }
    plans
}

/// A plan of one to four random faults.
pub fn random(baseline: &Report, seed: u64) -> Plan {
    let mut random = fastrand::Rng::with_seed(seed);
    let faults = (0..random.usize(1..=4)).map(|_| {
        let of_events = random.u32(0..4) == 0;
        let (kinds, places): (&[Kind], u64) = if of_events {
            (&Kind::OF_EVENTS, baseline.events)
        } else {
            (&Kind::OF_WRITES, u64::try_from(baseline.writes.len()).unwrap_or(u64::MAX))
        };
        Fault {
            kind: kinds.get(random.usize(0..kinds.len())).copied().unwrap_or(Kind::Lost),
            at: random.u64(1..=places.max(1)),
        }
    });
    Plan(faults.collect())
}

/// A run of a scenario, compared with the run without faults.
pub fn judged(scenario: &Scenario, baseline: &Report, plan: &Plan) -> Report {
    let mut report = simulated(scenario, baseline.seed, plan);
    report.failures.extend(differences(baseline, &report));
    report
}

/// Does `work` for each item on `threads` threads, and passes on each result as it is ready.
pub fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    report: impl FnMut(R) + Send,
) {
    let next = AtomicUsize::new(0);
    let report = Mutex::new(report);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(item);
                    (report.lock().unwrap_or_else(PoisonError::into_inner))(result);
                }
            });
        }
    });
}
