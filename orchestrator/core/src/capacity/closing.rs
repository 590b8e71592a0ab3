//! Signs that a node will lose its pods, and how soon. A node that is being drained waits for its pods; a
//! machine that is about to end does not. Which groups leave, and when, is decided elsewhere.

use super::node_room::NodeRoom;

/// A node that its pods must leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The sign, as the end of a sentence about the node: `is cordoned`, `has the taint
    /// karpenter.sh/disrupted`.
    pub what: String,
    /// How much time is left.
    pub how: Leaving,
}

/// How much time the pods of a node have left. Ordered: the most time first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaving {
    /// The node is being drained, and the drain waits for its pods.
    Emptied,
    /// The machine ends within minutes, with or without pods.
    Ends,
    /// Its kubelet is terminating all containers.
    ShutsDown,
}

impl Closing {
    /// Whether the pods on the node will be lost soon, whatever is done.
    pub fn is_lost_soon(&self) -> bool {
        self.how >= Leaving::Ends
    }

    /// Whether the containers on the node are terminating already.
    pub fn shuts_down(&self) -> bool {
        self.how == Leaving::ShutsDown
    }
}

/// Taints of a node that is being drained, by something that waits for its pods: Kubernetes' cluster
/// autoscaler, Karpenter (which uses no other taint when a spot machine ends; its Node is being deleted
/// then), the AWS Node Termination Handler for events that are planned or only likely, and people.
const EMPTIED: [&str; 6] = [
    "node.kubernetes.io/unschedulable",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "aws-node-termination-handler/scheduled-maintenance",
    "aws-node-termination-handler/rebalance-recommendation",
];
/// Taints of a machine that is about to end, or has ended.
const ENDS: [&str; 3] = [
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
    "cloud.google.com/impending-node-termination",
];
/// All taints of the AWS Node Termination Handler except those above: spot-itn, asg-lifecycle-termination.
const ENDS_PREFIX: &str = "aws-node-termination-handler/";

/// The sign that the pods of a node must leave it, if there is one; of several, the one that leaves the least
/// time. Whether pods tolerate a taint does not matter: they are evicted or lost all the same.
pub fn closing(node: &NodeRoom) -> Option<Closing> {
    let closing = |what: &str, how| Some(Closing { what: what.to_owned(), how });
    if node.shuts_down {
        return closing("is being shut down", Leaving::ShutsDown);
    }
    let tainted = |how| {
        let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
        let taint = hard.map(|taint| &taint.key).find(|key| says(key) == Some(how))?;
        Some(Closing { what: format!("has the taint {taint}"), how })
    };
    if let Some(ends) = tainted(Leaving::Ends) {
        return Some(ends);
    }
    if node.deleting {
        return closing("is being deleted", Leaving::Ends);
    }
    if node.unschedulable {
        return closing("is cordoned", Leaving::Emptied);
    }
    tainted(Leaving::Emptied)
}

/// The meaning of a taint, by its key.
fn says(key: &str) -> Option<Leaving> {
    if EMPTIED.contains(&key) {
        Some(Leaving::Emptied)
    } else if ENDS.contains(&key) || key.starts_with(ENDS_PREFIX) {
        Some(Leaving::Ends)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::Taint;
    use super::*;

    fn tainted(keys: &[&str], effect: &str) -> NodeRoom {
        let taint =
            |key: &&str| Taint { key: (*key).to_owned(), effect: effect.to_owned(), ..Taint::default() };
        NodeRoom { taints: keys.iter().map(taint).collect(), ..NodeRoom::default() }
    }

    fn says(node: &NodeRoom) -> Option<(String, Leaving)> {
        closing(node).map(|closing| (closing.what, closing.how))
    }

    #[test]
    fn a_cordon_or_a_taint_marks_a_node_that_is_being_drained() {
        let cordoned = NodeRoom { unschedulable: true, ..NodeRoom::default() };
        assert_eq!(says(&cordoned), Some(("is cordoned".to_owned(), Leaving::Emptied)));
        for key in EMPTIED {
            let expected = Some((format!("has the taint {key}"), Leaving::Emptied));
            assert_eq!(says(&tainted(&[key], "NoSchedule")), expected);
        }
        // It is lost, which is handled elsewhere.
        assert_eq!(says(&tainted(&["node.kubernetes.io/unreachable"], "NoExecute")), None);
        assert_eq!(says(&tainted(&["nvidia.com/gpu"], "NoSchedule")), None);
        assert_eq!(says(&tainted(&["karpenter.sh/disrupted"], "PreferNoSchedule")), None);
        assert_eq!(says(&NodeRoom::default()), None);
    }

    #[test]
    fn a_machine_that_ends_is_distinguished_from_a_drained_node() {
        for key in [
            "aws-node-termination-handler/spot-itn",
            "aws-node-termination-handler/asg-lifecycle-termination",
            "cloud.google.com/impending-node-termination",
            "node.kubernetes.io/out-of-service",
            "node.cloudprovider.kubernetes.io/shutdown",
        ] {
            for effect in ["NoSchedule", "NoExecute"] {
                let expected = Some((format!("has the taint {key}"), Leaving::Ends));
                assert_eq!(says(&tainted(&[key], effect)), expected);
                assert_eq!(
                    says(&tainted(&["karpenter.sh/disrupted", key], effect)),
                    expected,
                    "the sign that leaves less time counts"
                );
            }
            assert_eq!(says(&tainted(&[key], "PreferNoSchedule")), None);
        }
        // Karpenter taints the node of a spot machine like any other, and deletes the Node.
        let karpenter = NodeRoom { deleting: true, ..tainted(&["karpenter.sh/disrupted"], "NoSchedule") };
        assert_eq!(says(&karpenter), Some(("is being deleted".to_owned(), Leaving::Ends)));
        let shut = NodeRoom { shuts_down: true, unschedulable: true, ..karpenter };
        assert_eq!(says(&shut), Some(("is being shut down".to_owned(), Leaving::ShutsDown)));
    }
}
