//! Simulates a rollout: the orchestrator's own `decide`, on a simulated clock and on groups that take as long
//! as this fleet's groups took so far. Nothing is written, and no fault is simulated.

mod group;
mod moments;
mod pace;
mod question;
mod world;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use rayfleet_api::status::RolloutStep;
use rayfleet_api::{RayClusterFleetStatus, ValidFleet};

use crate::decide::{self, decide};
use crate::time;
pub use moments::{Moment, What};
pub use pace::Pace;
pub use question::Question;
use world::ForecastState;

/// The most passes of a forecast: a few for each step of a group, for a thousand groups.
const PASSES: usize = 50_000;

/// The predicted course, without faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The events, in order.
    pub moments: Vec<Moment>,
    /// The end.
    pub outcome: Outcome,
    /// Seconds until the end: until the rollout is complete, or else until the last event.
    pub seconds: i64,
    /// Fewest groups that take traffic at any time.
    pub fewest_ready: u32,
    /// Most groups that exist at any time.
    pub most_groups: u32,
    /// GPUs that the fleet's pods hold now.
    pub gpus_now: u32,
    /// Most GPUs that its pods hold at any time.
    pub gpus_peak: u32,
}

/// The end of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All groups match the spec.
    Complete,
    /// `spec.paused` holds it.
    Paused,
    /// It is stuck, with the message that the condition `Stalled` would have.
    Stalled(String),
    /// It takes longer than the forecast simulates.
    Open,
}

/// Simulates a rollout to its end.
pub fn forecast(question: &Question<'_>) -> Forecast {
    Run::new(question).until_the_end()
}

/// The state of a simulation.
struct Run<'a> {
    question: &'a Question<'a>,
    world: ForecastState<'a>,
    status: RayClusterFleetStatus,
    now: Timestamp,
    forecast: Forecast,
}

impl<'a> Run<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        let world = ForecastState::new(question);
        let ready = u32::try_from(question.status.ready_replicas).unwrap_or_default();
        let gpus = world.gpus();
        let forecast = Forecast {
            moments: Vec::new(),
            outcome: Outcome::Open,
            seconds: 0,
            fewest_ready: ready,
            most_groups: count(question.status),
            gpus_now: gpus,
            gpus_peak: gpus,
        };
        Self { question, world, status: question.status.clone(), now: question.now, forecast }
    }

    fn until_the_end(mut self) -> Forecast {
        for _ in 0..PASSES {
            self.world.advance(self.now);
            let (changed, wake) = self.pass();
            if changed {
                continue;
            }
            let next = self.world.next(self.now);
            if let Some(outcome) = self.outcome(next.is_some()) {
                if outcome == Outcome::Complete {
                    self.forecast.seconds = self.seconds();
                }
                self.forecast.outcome = outcome;
                break;
            }
            match time::earliest(next, wake.filter(|wake| *wake > self.now)) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.forecast
    }

    /// One pass of the orchestrator. Returns whether anything changed, and the time of the next pass.
    fn pass(&mut self) -> (bool, Option<Timestamp>) {
        let stable = self.stable();
        let decision = decide(&decide::ReconcileInput {
            fleet: self.question.fleet,
            stable,
            held: None,
            failed_writes: &[],
            status: &self.status,
            groups: &self.world.observed(&self.status, self.now),
            capacity: Some(self.world.capacity()),
            now: self.now,
        });
        let mut changed = decision.status != self.status;
        let mut new = moments::of(&self.status, &decision);
        self.status = decision.status;
        for effect in decision.effects {
            changed |= self.world.perform(effect, self.now);
        }
        self.world.advance(self.now);
        self.count(&mut new);
        (changed, decision.wake)
    }

    /// The fleet at the revision that is stable by now.
    fn stable(&self) -> Option<&'a ValidFleet> {
        let stable = self.status.rollout.as_ref()?.stable.as_ref()?;
        let known = self.question.stable.into_iter().chain([self.question.fleet]);
        known.into_iter().find(|fleet| fleet.revision == *stable)
    }

    fn count(&mut self, new: &mut Vec<Moment>) {
        let gpus = self.world.gpus();
        let groups = count(&self.status);
        let ready = u32::try_from(self.status.ready_replicas).unwrap_or_default();
        let seconds = self.seconds();
        let forecast = &mut self.forecast;
        forecast.fewest_ready = forecast.fewest_ready.min(ready);
        forecast.most_groups = forecast.most_groups.max(groups);
        forecast.gpus_peak = forecast.gpus_peak.max(gpus);
        for moment in &mut *new {
            (moment.seconds, moment.ready, moment.groups, moment.gpus) = (seconds, ready, groups, gpus);
        }
        if !new.is_empty() {
            forecast.seconds = seconds;
        }
        forecast.moments.append(new);
    }

    fn seconds(&self) -> i64 {
        self.now.as_second() - self.question.now.as_second()
    }

    /// The end, if this is one.
    fn outcome(&self, under_way: bool) -> Option<Outcome> {
        let step = self.status.rollout.as_ref().map(|rollout| rollout.step);
        let stalled = self.status.conditions.iter().find(|it| it.type_ == "Stalled" && it.status == "True");
        match step {
            Some(RolloutStep::Complete) => Some(Outcome::Complete),
            Some(RolloutStep::Paused) if !under_way => Some(Outcome::Paused),
            _ if under_way => None,
            _ => stalled.map(|stalled| Outcome::Stalled(stalled.message.clone())),
        }
    }
}

fn count(status: &RayClusterFleetStatus) -> u32 {
    u32::try_from(status.groups.len()).unwrap_or(u32::MAX)
}
