//! Plays a scenario on a environment: the simulation, or a real cluster.

use std::time::Duration;

use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::{Phase, RayClusterFleetStatus, RolloutStep};
use serde_json::Value;

use super::scenario::{Healed, Member, Patch, Refused, Scenario, Step, Until, Victim};

/// Where a scenario happens.
pub trait Environment {
    /// Time since the start.
    fn now(&self) -> Duration;
    /// Adds a line to the trace.
    fn log(&mut self, what: String);
    /// Creates an object as its user would.
    fn create(&mut self, object: &Value) -> impl Future<Output = Result<(), String>>;
    /// Creates a fleet together with what AIBrix's controller creates for it.
    fn create_as_aibrix(&mut self, fleet: &Value) -> impl Future<Output = Result<(), String>>;
    /// The fleet as the API server has it.
    fn fleet(&mut self) -> impl Future<Output = Option<RayClusterFleet>>;
    /// Whether anything is left of what the fleet owned.
    fn leftovers(&mut self) -> impl Future<Output = bool>;
    /// Changes the fleet as its user would. A refusal by the API server is an error.
    fn apply(&mut self, patch: &Patch) -> impl Future<Output = Result<(), String>>;
    /// Deletes the fleet.
    fn delete(&mut self) -> impl Future<Output = Result<(), String>>;
    /// Breaks something.
    fn kill(&mut self, victim: &Victim) -> impl Future<Output = Result<(), String>>;
    /// Repairs it.
    fn heal(&mut self, healed: &Healed) -> impl Future<Output = Result<(), String>>;
    /// Uncordons a node.
    fn uncordon(&mut self, node: &str) -> impl Future<Output = Result<(), String>>;
    /// Makes the API server refuse some calls, or none.
    fn refuse(&mut self, refused: Option<&Refused>) -> impl Future<Output = Result<(), String>>;
    /// Cordons the node of a pod.
    fn cordon(&mut self, member: Member) -> impl Future<Output = Result<(), String>>;
    /// Cordons the node of a pod and evicts the fleet's pods from it until none is left.
    fn drain(&mut self, member: Member) -> impl Future<Output = Result<(), String>>;
    /// Lets time pass until something may have changed, at most this long.
    fn pass(&mut self, longest: Duration) -> impl Future<Output = ()>;
}

/// A scenario that could not be played to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// A step failed.
    #[error("step {step}: {cause}")]
    Step {
        /// Number of the step, from 1; 0 is the creation.
        step: usize,
        /// The reason.
        cause: String,
    },
    /// A condition was not reached in time.
    #[error("step {step}: after {} s this does not hold: {wanted}; the fleet: {is}", waited.as_secs())]
    Waiting {
        /// Number of the step.
        step: usize,
        /// The condition.
        wanted: String,
        /// The actual state.
        is: String,
        /// Time waited.
        waited: Duration,
    },
}

/// Plays all steps.
pub async fn play<S: Environment>(scenario: &Scenario, environment: &mut S) -> Result<(), Stuck> {
    let at = |step: usize| move |cause: String| Stuck::Step { step, cause };
    for object in &scenario.others {
        environment.create(object).await.map_err(at(0))?;
    }
    if scenario.from_aibrix {
        environment.create_as_aibrix(&scenario.fleet).await.map_err(at(0))?;
    } else {
        environment.create(&scenario.fleet).await.map_err(at(0))?;
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        let number = index + 1;
        environment.log(format!("step {number}: {step:?}"));
        match step {
            Step::Apply(patch) => environment.apply(patch).await.map_err(at(number))?,
            Step::Try(patch) => {
                if let Err(refusal) = environment.apply(patch).await {
                    environment.log(format!("refused: {refusal}"));
                }
            }
            Step::Delete => environment.delete().await.map_err(at(number))?,
            Step::Kill(victim) => environment.kill(victim).await.map_err(at(number))?,
            Step::Heal(healed) => environment.heal(healed).await.map_err(at(number))?,
            Step::Uncordon(node) => environment.uncordon(node).await.map_err(at(number))?,
            Step::Refuse(refused) => environment.refuse(Some(refused)).await.map_err(at(number))?,
            Step::Allow => environment.refuse(None).await.map_err(at(number))?,
            Step::Cordon(member) => environment.cordon(*member).await.map_err(at(number))?,
            Step::Drain(member) => environment.drain(*member).await.map_err(at(number))?,
            Step::Wait(length) => {
                let end = environment.now() + length.0;
                while environment.now() < end {
                    let left = end.saturating_sub(environment.now());
                    environment.pass(left).await;
                }
            }
            Step::Until(until) => wait(number, until, environment).await?,
        }
    }
    Ok(())
}

async fn wait<S: Environment>(step: usize, until: &Until, environment: &mut S) -> Result<(), Stuck> {
    let started = environment.now();
    let end = started + until.within.0;
    loop {
        let fleet = environment.fleet().await;
        let left = fleet.is_none() && environment.leftovers().await;
        if holds(until, fleet.as_ref(), left) {
            return Ok(());
        }
        let rest = end.saturating_sub(environment.now());
        if rest.is_zero() {
            let is = fleet.as_ref().map_or_else(|| "gone".to_owned(), words);
            return Err(Stuck::Waiting { step, wanted: format!("{until:?}"), is, waited: until.within.0 });
        }
        environment.pass(rest).await;
    }
}

fn holds(until: &Until, fleet: Option<&RayClusterFleet>, left: bool) -> bool {
    let Some(fleet) = fleet else { return until.gone && !left };
    let status = fleet.status.clone().unwrap_or_default();
    let current = status.observed_generation == fleet.metadata.generation;
    let step = status.rollout.as_ref().map(|rollout| rollout.step);
    let is =
        |wanted: Option<u32>, there: i32| wanted.is_none_or(|wanted| i64::from(wanted) == i64::from(there));
    let wanted = fleet.spec.replicas.unwrap_or(1);
    let stalled = |reason: &String| condition(&status, "Stalled") == Some(("True", reason.as_str()));
    current
        && !until.gone
        && is(until.ready, status.ready_replicas)
        && is(until.updated, status.updated_replicas)
        && until.groups.is_none_or(|groups| status.groups.len() == groups)
        && until.reached.is_none_or(|phase| reached(&status, phase))
        && (!until.complete || step == Some(RolloutStep::Complete) && status.ready_replicas == wanted)
        && until.stalled.as_ref().is_none_or(stalled)
        && (!until.rolled_back || step == Some(RolloutStep::RolledBack))
}

/// Whether a group of the rollout's target revision has reached a phase.
fn reached(status: &RayClusterFleetStatus, phase: Phase) -> bool {
    let to = status.rollout.as_ref().map(|rollout| &rollout.to);
    let mut new = status.groups.iter().filter(|group| Some(&group.revisions()) == to);
    new.any(|group| phase <= group.phase && group.phase <= Phase::Ready)
}

/// Status and reason of a condition.
pub fn condition<'a>(status: &'a RayClusterFleetStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&found.status, &found.reason))
}

/// A fleet in one line.
pub fn words(fleet: &RayClusterFleet) -> String {
    let status = fleet.status.clone().unwrap_or_default();
    let rollout = status.rollout.clone().unwrap_or_default();
    let groups: Vec<String> = status
        .groups
        .iter()
        .map(|group| {
            let message =
                group.message.as_deref().map_or_else(String::new, |message| format!(" ({message})"));
            format!("{} {:?} {}{message}", group.name, group.goal, group.phase.as_str())
        })
        .collect();
    format!(
        "{} ready, {} updated of {}; {}: {}; {}",
        status.ready_replicas,
        status.updated_replicas,
        fleet.spec.replicas.unwrap_or(1),
        rollout.step,
        rollout.reason.unwrap_or_default(),
        groups.join("; ")
    )
}
