//! What the bridge's diagnosis means for a decision: that an engine is broken for good, why, and on which nodes. Pure;
//! remembers one launch. Patience with what may pass by itself is the core's business.

use jiff::Timestamp;
use ray_bridge::diagnose::{Diagnosis, History, Observation, Trouble, diagnose};
use ray_bridge::engine::{Load, Stall};
use ray_bridge::observe::{EngineState, RayState};
use ray_bridge::placement::RayNode;
use rayfleet_api::status::FailureKind;
use rayfleet_core::observed::EngineFailure;

use super::assignment::Submission;
use super::brief::brief;

/// What earlier looks at a launch, or at an engine of the pod's own, had found.
#[derive(Debug, Default)]
pub(crate) struct FailureDetector {
    /// The launch; none for an engine of the pod's own.
    of: Option<Submission>,
    history: History,
}

impl FailureDetector {
    /// Enters what Ray said.
    pub(crate) fn learn(&mut self, of: Option<&Submission>, now: Timestamp, state: &RayState) {
        self.turn_to(of);
        self.history.learn(now, state);
    }

    /// Enters what the engine itself said, where Ray did not tell of it.
    pub(crate) fn observe_load(&mut self, of: Option<&Submission>, now: Timestamp, found: Option<&Load>) {
        self.turn_to(of);
        self.history.observe_load(now, found);
    }

    fn turn_to(&mut self, of: Option<&Submission>) {
        if self.of.as_ref() != of {
            *self = Self { of: of.cloned(), history: self.history.next_launch() };
        }
    }

    /// Since when the engine owes answers and makes no step.
    pub(crate) fn still(&self) -> Option<Stall> {
        self.history.still()
    }

    /// Ray's nodes that were alive when it last reported.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &RayNode> {
        self.history.nodes().iter().filter(|node| node.alive)
    }

    /// How the engine is broken, if it is, by a state that has been entered.
    pub(crate) fn failure(&self, now: Timestamp, state: &RayState) -> Option<EngineFailure> {
        let Diagnosis { trouble, evidence } = diagnose(now, Observation::Ray(state), &self.history, None)?;
        Some(EngineFailure {
            kind: fatal(&trouble)?,
            nodes: self.culprits(&trouble, state.engine.as_ref()),
            evidence: brief(&Diagnosis { trouble, evidence }.to_string()),
        })
    }

    fn culprits(&self, trouble: &Trouble, engine: Option<&EngineState>) -> Vec<String> {
        let deaths = engine.map_or(&[][..], |engine| &engine.deaths);
        let is_culprit = |node: &&RayNode| match trouble {
            Trouble::RankDied { ranks } => deaths
                .iter()
                .any(|death| ranks.contains(&death.rank) && death.node_id.as_ref() == Some(&node.id)),
            Trouble::NodeLost { nodes } => nodes.contains(&node.name),
            _ => false,
        };
        let mut found: Vec<String> =
            self.history.nodes().iter().filter(is_culprit).map(|node| node.ip.clone()).collect();
        found.sort();
        found.dedup();
        found
    }
}

/// What no wait brings back. The rest may pass, or is judged by the core with its own patience.
fn fatal(trouble: &Trouble) -> Option<FailureKind> {
    match trouble {
        Trouble::RankDied { .. } => Some(FailureKind::RankDied),
        Trouble::EngineDied => Some(FailureKind::EngineDied),
        Trouble::NodeLost { .. } => Some(FailureKind::NodeLost),
        Trouble::HeadLost => Some(FailureKind::HeadLost),
        Trouble::DashboardUnreachable { .. }
        | Trouble::Hung { .. }
        | Trouble::Slow { .. }
        | Trouble::WrongPlacement
        | Trouble::NotEnoughNodes => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_name_that_ray_bridge_gives_it() {
        let troubles = [
            Trouble::RankDied { ranks: vec![1] },
            Trouble::EngineDied,
            Trouble::NodeLost { nodes: Vec::new() },
            Trouble::HeadLost,
        ];
        for trouble in troubles {
            assert_eq!(fatal(&trouble).map(FailureKind::as_str), Some(trouble.name()));
        }
        let names: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let hung = Trouble::Hung { since: Timestamp::UNIX_EPOCH };
        for trouble in [hung, Trouble::WrongPlacement] {
            assert!(names.contains(&trouble.name()), "{}", trouble.name());
        }
    }
}
