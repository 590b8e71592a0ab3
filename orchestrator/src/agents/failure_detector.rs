//! What the bridge's diagnosis means for a decision: that an engine is broken for good, why, and on which nodes. Pure;
//! remembers one launch. Patience with what may pass by itself is the core's business.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::SubmissionId;
use ray_bridge::diagnose::{Diagnosis, Fault, History, Observation, StallThresholds, diagnose};
use ray_bridge::observe::{EngineState, RayState};
use ray_bridge::placement::RayNode;
use rayfleet_api::status::FailureKind;
use rayfleet_core::observed::EngineFault;

use super::report::brief;

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
        Some(EngineFault {
            kind: fatal(&trouble)?,
            nodes: self.culprits(&trouble, state.engine.as_ref()),
            evidence: brief(&Diagnosis { trouble, evidence }.to_string()),
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

/// What no wait brings back. The rest may pass, or is judged by the core with its own patience.
fn fatal(fault: &Fault) -> Option<FailureKind> {
    match fault {
        Fault::RankDied { .. } => Some(FailureKind::RankDied),
        Fault::EngineDied => Some(FailureKind::EngineDied),
        Fault::NodeLost { .. } => Some(FailureKind::NodeLost),
        Fault::HeadLost => Some(FailureKind::HeadLost),
        Fault::DashboardUnreachable { .. }
        | Fault::Hung { .. }
        | Fault::Slow { .. }
        | Fault::WrongPlacement
        | Fault::NotEnoughNodes => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_name_that_ray_bridge_gives_it() {
        let faults = [
            Fault::RankDied { ranks: vec![1] },
            Fault::EngineDied,
            Fault::NodeLost { nodes: Vec::new() },
            Fault::HeadLost,
        ];
        for fault in faults {
            assert_eq!(fatal(&fault).map(FailureKind::as_str), Some(fault.name()));
        }
        let names: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let hung = Fault::Hung { since: Timestamp::UNIX_EPOCH };
        for fault in [hung, Fault::WrongPlacement] {
            assert!(names.contains(&fault.name()), "{}", fault.name());
        }
    }
}
