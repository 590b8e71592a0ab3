//! What the bridge's diagnosis means for a decision: that an engine is broken for good, why, and on which nodes. Pure;
//! remembers one launch. Patience with what may pass by itself is the core's business.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::SubmissionId;
use ray_bridge::diagnose::{Diagnosis, Fault, History, Observation, StallThresholds, diagnose};
use ray_bridge::observe::{EngineState, RayState};
use ray_bridge::placement::RayNode;

/// How an engine is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineFault {
    /// What is wrong and what says so.
    pub words: String,
    /// Addresses of the nodes that it came from, as far as that is known.
    pub nodes: Vec<String>,
}

/// What earlier looks at a launch had found.
#[derive(Debug, Default)]
pub(crate) struct FailureDetector {
    of: Option<SubmissionId>,
    history: History,
    /// Ray's nodes when it last reported, dead ones too.
    nodes: Vec<RayNode>,
}

impl FailureDetector {
    /// Enters a look at a launch, and says how its engine is broken, if it is.
    pub(crate) fn observe(
        &mut self,
        want: &SubmissionId,
        now: Timestamp,
        state: &RayState,
    ) -> Option<EngineFault> {
        if self.of.as_ref() != Some(want) {
            *self = Self { of: Some(want.clone()), ..Self::default() };
        }
        if let Some(cluster) = &state.cluster {
            // Without labels, which nobody here looks at.
            let bare = |node: &RayNode| RayNode { labels: std::collections::BTreeMap::new(), ..node.clone() };
            self.nodes = cluster.nodes.iter().map(bare).collect();
        }
        self.history.learn(now, state);
        // The core has its own patience with engines that stand still.
        let patience = StallThresholds::new(Duration::MAX);
        let Diagnosis { trouble, evidence } =
            diagnose(now, Observation::Ray(state), &self.history, patience)?;
        let fatal = matches!(
            trouble,
            Fault::RankDied { .. } | Fault::EngineDied | Fault::NodeLost { .. } | Fault::HeadLost
        );
        fatal.then(|| EngineFault {
            nodes: self.culprits(&trouble, state.engine.as_ref()),
            words: Diagnosis { trouble, evidence }.to_string(),
        })
    }

    fn culprits(&self, trouble: &Fault, engine: Option<&EngineState>) -> Vec<String> {
        let deaths = engine.map_or(&[][..], |engine| &engine.deaths);
        let is_culprit = |node: &&RayNode| match trouble {
            Fault::RankDied { ranks } => deaths
                .iter()
                .any(|death| ranks.contains(&death.rank) && death.node_id.as_ref() == Some(&node.id)),
            Fault::NodeLost { nodes } => nodes.contains(&node.name),
            _ => false,
        };
        let mut found: Vec<String> =
            self.nodes.iter().filter(is_culprit).map(|node| node.ip.clone()).collect();
        found.sort();
        found.dedup();
        found
    }
}
