//! Keeps the status below etcd's limit for a request, by leaving out what is only informative. A status that
//! cannot be written would stop the reconciliation of its fleet.

use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::status::GroupStatus;

use super::conditions::Verdict;
use crate::text;

/// The most bytes of a status: the rest of etcd's 1.5 MiB per request is for the spec and the metadata.
pub(super) const LIMIT: usize = 1 << 20;

/// A part that may be left out, and how.
type LeftOut = (&'static str, fn(&mut GroupStatus));

/// The parts that are left out, in this order, until the status fits.
const STEPS: [LeftOut; 3] = [
    ("status.groups[].placement", |group| group.placement.clear()),
    ("nodes, misplaced and avoidNodes of groups", |group| {
        group.nodes.clear();
        group.misplaced.clear();
        // Nodes that a RayCluster must avoid are needed until it is created.
        if group.uid.is_some() {
            group.avoid_nodes.clear();
        }
    }),
    ("most messages of groups", |group| {
        for text in [&mut group.message, &mut group.goal_reason].into_iter().flatten() {
            *text = text::short(text);
        }
    }),
];

/// Leaves out parts of a status that is too large, and returns the condition that reports it.
pub(super) fn fit(status: &mut RayClusterFleetStatus) -> Option<Verdict> {
    if at_most(status) <= LIMIT || bytes(status) <= LIMIT {
        return None;
    }
    let mut left_out = Vec::new();
    for (what, leave_out) in STEPS {
        status.groups.iter_mut().for_each(leave_out);
        left_out.push(what);
        if bytes(status) <= LIMIT {
            break;
        }
    }
    let message = format!(
        "the status of {} groups is larger than {} KiB: it is without {}; `kubectl get pods` and events have that; smaller \
         fleets report everything",
        status.groups.len(),
        LIMIT / 1024,
        left_out.join(", "),
    );
    Some(Verdict { type_: "StatusTruncated", status: "True", reason: "TooLarge", message })
}

/// An upper limit of the size from the number of entries. Fast, and sufficient for nearly all fleets.
fn at_most(status: &RayClusterFleetStatus) -> usize {
    const REST: usize = 256 * 1024;
    const GROUP: usize = 4 * 1024;
    const NODE: usize = 320;
    let of = |group: &GroupStatus| {
        let nodes = group.placement.len() + group.nodes.len() + group.avoid_nodes.len();
        GROUP + NODE * nodes + 2 * text::LONGEST * group.misplaced.len()
    };
    REST + status.groups.iter().map(of).sum::<usize>()
}

/// Size of a status as it is sent and stored, in bytes, with a reserve for the condition that is added later.
pub(super) fn bytes(status: &RayClusterFleetStatus) -> usize {
    const CONDITION: usize = 1024;
    serde_json::to_vec(status).map_or(usize::MAX, |json| json.len() + CONDITION)
}
