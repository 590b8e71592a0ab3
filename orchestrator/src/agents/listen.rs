//! Whether a group's machines give signs of life, asked beside its Ray and its engine.

use std::sync::Arc;

use futures::future::{join, join_all};
use ray_bridge::Bridge;
use tokio::sync::watch;

use super::assignment::Assignment;
use super::reachability::{ASK, Reachability};
use crate::clock;
use crate::kubernetes::{GroupKey, GroupPods};

/// Asks the group's machines for a sign of life, for ever.
pub(super) async fn listen(
    bridge: Bridge,
    reachability: Arc<Reachability>,
    assignment: watch::Receiver<Assignment>,
) {
    join(ask_workers(&bridge, &reachability, &assignment), ask_head(&bridge, &reachability, &assignment))
        .await;
}

async fn ask_workers(bridge: &Bridge, reachability: &Reachability, assignment: &watch::Receiver<Assignment>) {
    loop {
        let (group, pods) = current(assignment);
        let asked = clock::monotonic();
        reachability.probing(&group, &pods.ips, pods.well, asked);
        let workers = pods.ips.iter().filter(|ip| pods.head_ip.as_ref() != Some(*ip));
        let group = &group;
        // Each answer counts when it comes: a dead machine takes a second to be silent.
        join_all(workers.map(|ip| async move {
            reachability.record_connection(group, ip, bridge.gives_sign(ip).await, asked);
        }))
        .await;
        tokio::time::sleep_until(clock::slot(asked + ASK).into()).await;
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
                reachability.record_connection(&group, ip, bridge.gives_sign(ip).await, asked);
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
