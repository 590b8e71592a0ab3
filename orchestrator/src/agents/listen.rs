//! Whether a group's machines give signs of life, asked beside its Ray and its engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{join, join_all, poll_fn};
use ray_bridge::{Bridge, HELD_SILENCE, Held, HeldEnd};
use tokio::sync::watch;

use super::assignment::Assignment;
use super::reachability::{ASK, Reachability};
use crate::clock;
use crate::kubernetes::{GroupKey, GroupPods};

/// When a machine is asked whose connection has ended in silence: as long after the kernel's question as after one of ours.
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// Asks the group's machines for a sign of life, for ever.
pub(super) async fn listen(
    bridge: Bridge,
    reachability: Arc<Reachability>,
    assignment: watch::Receiver<Assignment>,
) {
    join(ask_workers(&bridge, &reachability, &assignment), ask_head(&bridge, &reachability, &assignment))
        .await;
}

/// A connection to each is kept: while the kernels keep it, nobody need be asked. Of a few groups all are asked, as witnesses.
async fn ask_workers(bridge: &Bridge, reachability: &Reachability, assignment: &watch::Receiver<Assignment>) {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    loop {
        let (group, pods) = current(assignment);
        let (group, asked) = (&group, clock::monotonic());
        reachability.probing(group, &pods.ips, pods.well, asked);
        let may_hold = reachability.may_hold(group);
        let workers = || pods.ips.iter().filter(|ip| pods.head_ip.as_ref() != Some(*ip));
        held.retain(|ip, _| may_hold && workers().any(|worker| worker == ip));
        for ip in held.keys() {
            reachability.record_held(group, ip, asked);
        }
        // Each answer counts when it comes: a dead machine takes a second to be silent.
        let signs = join_all(workers().filter(|ip| !held.contains_key(*ip)).map(|ip| async move {
            let (answered, taken) = if may_hold {
                let sign = bridge.hold(ip).await;
                (sign.answered(), sign.given())
            } else {
                (bridge.sign_of(ip).await.answered(), None)
            };
            if let Some(answered) = answered {
                reachability.record_connection(group, ip, answered, asked);
            }
            Some((ip.clone(), taken?))
        }));
        let signs = signs.await;
        held.extend(signs.into_iter().flatten());
        wait(&mut held, reachability, group, clock::slot(asked + ASK)).await;
    }
}

/// Waits until a moment, or until it is time to ask machines whose connections were kept and that are silent. One that its machine has
/// closed is opened again at that moment.
async fn wait(
    held: &mut BTreeMap<String, Held>,
    reachability: &Reachability,
    group: &GroupKey,
    mut until: Instant,
) {
    loop {
        let silent = poll_fn(|context| {
            let mut silent = Vec::new();
            held.retain(|ip, connection| match connection.poll_unpin(context) {
                Poll::Pending => true,
                Poll::Ready(HeldEnd::Closed) => false,
                Poll::Ready(HeldEnd::Silent) => {
                    silent.push(ip.clone());
                    false
                }
            });
            if silent.is_empty() { Poll::Pending } else { Poll::Ready(silent) }
        });
        tokio::select! {
            biased;
            silent = silent => {
                let now = clock::monotonic();
                let last = now.checked_sub(HELD_SILENCE).unwrap_or(now);
                for ip in silent {
                    reachability.record_silence(group, &ip, last);
                }
                until = now + AFTER_SILENCE;
            }
            () = tokio::time::sleep_until(until.into()) => return,
        }
    }
}

/// What a watched engine says is a sign of its machine: it is asked when that stays away.
async fn ask_head(bridge: &Bridge, reachability: &Reachability, assignment: &watch::Receiver<Assignment>) {
    loop {
        let (group, pods) = current(assignment);
        let asked = clock::monotonic();
        let next = match (&pods.head_ip, reachability.watched_until(&group, asked)) {
            (_, Some(until)) => until.min(asked + ASK),
            (Some(ip), None) => {
                if let Some(answered) = bridge.sign_of(ip).await.answered() {
                    reachability.record_connection(&group, ip, answered, asked);
                }
                asked + ASK
            }
            (None, None) => asked + ASK,
        };
        tokio::time::sleep_until(clock::slot(next).into()).await;
    }
}

fn current(assignment: &watch::Receiver<Assignment>) -> (GroupKey, GroupPods) {
    let assignment = assignment.borrow();
    (assignment.group.clone(), assignment.pods.clone())
}
