//! Groups that somebody wants replaced, and those with a pod on a node that is to be emptied, and these nodes. Only what was observed;
//! what follows is decided in `moving`.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::status::GroupStatus;
use rayfleet_api::{GroupName, NodeName, names};

use crate::capacity::Leaving;
use crate::observed::ObservedGroup;

/// Which groups have to move, and from where.
#[derive(Clone, Debug, Default)]
pub(super) struct ClosingNodes {
    /// By group: how soon it has to go, and what is the matter with its node. `None`: somebody wants another group in its place, and its
    /// nodes stay.
    groups: BTreeMap<GroupName, (Option<Leaving>, String)>,
    nodes: BTreeSet<NodeName>,
}

impl ClosingNodes {
    pub(super) fn new(observed: &BTreeMap<GroupName, ObservedGroup>, groups: &[GroupStatus]) -> Self {
        let mut closing = Self::default();
        for group in groups {
            let found = observed.get(&group.name);
            if found.and_then(|observed| observed.cluster.as_ref()).is_some_and(|cluster| cluster.replace) {
                let why = format!("somebody asked to replace it (annotation {})", names::ANNOTATION_REPLACE);
                closing.groups.insert(group.name.clone(), (None, why));
            }
            let pods = found.into_iter().flat_map(|observed| &observed.pods);
            for pod in pods.filter(|pod| !pod.deleting) {
                if let (Some(node), Some(state)) = (&pod.node, &pod.node_closing) {
                    closing.nodes.insert(node.clone());
                    let found = (Some(state.how), format!("node {node} {}", state.what));
                    let known = closing.groups.entry(group.name.clone()).or_insert_with(|| found.clone());
                    if known.0 < found.0 {
                        *known = found;
                    }
                }
            }
        }
        closing
    }

    /// A group has a pod on such a node, or is to be replaced.
    pub(super) fn has(&self, group: &GroupStatus) -> bool {
        self.groups.contains_key(&group.name)
    }

    /// It is lost soon with its machine, whatever is done.
    pub(super) fn is_lost_soon(&self, group: &GroupStatus) -> bool {
        self.groups.get(&group.name).is_some_and(|(how, _)| *how >= Some(Leaving::Ends))
    }

    /// Another group may take its place on its own nodes: they stay.
    pub(super) fn may_stay_in_place(&self, group: &GroupStatus) -> bool {
        self.groups.get(&group.name).is_some_and(|(how, _)| how.is_none())
    }

    /// What drives a group off.
    pub(super) fn why(&self, group: &GroupStatus) -> Option<&str> {
        self.groups.get(&group.name).map(|(_, why)| why.as_str())
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> Vec<NodeName> {
        self.nodes.iter().cloned().collect()
    }
}
