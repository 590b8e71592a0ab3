//! What is remembered between observations of one engine. A failed observation changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::NodeId;
use crate::engine::{Health, Load, PhaseKind, Stall, StallDetector};
use crate::observe::RayState;
use crate::placement::RayNode;

/// Results of earlier observations of one engine. A new launch needs a new history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Nodes as Ray last reported them, also dead ones.
    pub(super) nodes: Vec<RayNode>,
    /// Ray's session at the first observation; another session means that the head restarted.
    pub(super) session: Option<String>,
    /// The engine was healthy at some observation, or its launcher found it healthy before this one.
    pub(super) served: bool,
    /// The launcher found the engine healthy.
    said: bool,
    /// The stall of the engine, if it is stalled.
    pub(super) still: Option<Stall>,
    /// Since when the port of an engine that had served gives no answer.
    pub(super) silent_since: Option<Timestamp>,
    detector: StallDetector,
}

impl History {
    /// Records what Ray reported at `now`. Call it before [`diagnose`](super::diagnose) with the same
    /// observation.
    pub fn learn(&mut self, now: Timestamp, state: &RayState) {
        if let Some(cluster) = &state.cluster {
            // Labels are dropped to save memory: a history lives as long as its engine.
            let bare = |node: &RayNode| RayNode { labels: BTreeMap::new(), ..node.clone() };
            self.nodes = cluster.nodes.iter().map(bare).collect();
            self.session.get_or_insert_with(|| cluster.session.clone());
        }
        let Some(engine) = &state.engine else { return };
        let says_so = engine.phase.as_ref().is_some_and(|phase| phase.kind == PhaseKind::Serving);
        // An observation asks the port before it reads the launcher's log: an engine that began to listen in
        // between is not dead. If the port answers and is unhealthy, the order does not matter.
        let listened = engine.health != Some(Health::NotYet);
        self.served |= self.said || (says_so && listened) || engine.health == Some(Health::Serving);
        self.said |= says_so;
        let silent = self.served && matches!(engine.health, Some(Health::Unreachable(_)));
        self.silent_since = if silent { self.silent_since.or(Some(now)) } else { None };
        if engine.has_ended() {
            self.still = None;
        } else {
            self.observe_load(now, engine.load.as_ref());
        }
    }

    /// Enters what the engine itself said at `now`, to be called where Ray did not tell of it.
    pub fn observe_load(&mut self, now: Timestamp, load: Option<&Load>) {
        self.still = self.detector.observe(now, load);
    }

    /// Since when the engine stands still, by the last look.
    pub fn still(&self) -> Option<Stall> {
        self.still
    }

    /// What stays true for the next engine on the same cluster: its nodes.
    #[must_use]
    pub fn next_launch(&mut self) -> Self {
        Self { nodes: std::mem::take(&mut self.nodes), ..Self::default() }
    }

    /// Nodes when Ray last reported, dead ones too.
    pub fn nodes(&self) -> &[RayNode] {
        &self.nodes
    }

    /// Worker nodes that were alive at Ray's last report, to ask when the head does not answer.
    pub fn workers(&self) -> impl Iterator<Item = &RayNode> {
        self.nodes.iter().filter(|node| node.alive && !node.is_head)
    }

    pub(super) fn node(&self, id: &NodeId) -> Option<&RayNode> {
        self.nodes.iter().find(|node| node.id == *id)
    }
}
