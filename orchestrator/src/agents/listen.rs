//! Whether a group's machines give signs of life, asked beside its Ray and its engine.

use std::sync::Arc;

use futures::future::join_all;
use ray_bridge::Bridge;
use tokio::sync::watch;

use super::assignment::Assignment;
use super::reachability::{ASK, Reachability};
use crate::clock;

/// Asks the group's machines for a sign of life, for ever.
pub(super) async fn listen(
    bridge: Bridge,
    hearing: Arc<Reachability>,
    assignment: watch::Receiver<Assignment>,
) {
    loop {
        let (group, pods) = {
            let assignment = assignment.borrow();
            (assignment.group.clone(), assignment.pods.clone())
        };
        let asked = clock::monotonic();
        hearing.probing(&group, &pods.ips, pods.well, asked);
        // What a watched engine says is a sign of its machine.
        let heard = pods.head_ip.as_ref().filter(|_| hearing.is_watched(&group, asked));
        let ips = pods.ips.iter().filter(|ip| heard != Some(*ip));
        // Each answer counts when it comes: a dead machine takes a second to be silent.
        let (bridge, hearing, group) = (&bridge, &hearing, &group);
        join_all(ips.map(|ip| async move {
            hearing.record_connection(group, ip, bridge.gives_sign(ip).await, asked);
        }))
        .await;
        tokio::time::sleep_until((asked + ASK).into()).await;
    }
}
