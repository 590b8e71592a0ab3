//! What a plan says of a change at the moment in which it is made: the forecast of `kubectl rayfleet plan`, on what the simulated API
//! server has.

use std::sync::Arc;
use std::time::Duration;

use rayfleet_api::{RayClusterFleet, ValidFleet};
use rayfleet_core::capacity::{About, Capacity, NodeRoom, NodeSpec, NodeStatus, PodSpec, Tally, Viewer};
use rayfleet_core::forecast::{Forecast, Pace, Question, forecast};
use rayfleet_sim_kube::api::{ApiServer, Kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A change with its plan, and the states of the fleet from then on until the next one.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub forecast: Forecast,
    /// Durations that it was calculated with.
    pub pace: Pace,
    /// When it was made.
    pub at: Duration,
    /// The fleet before it, and after each write since, with the time of the write.
    pub states: Vec<(Duration, RayClusterFleet)>,
}

/// Makes the plans of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Planner {
    /// The fleet as it was asked for before.
    known: Vec<ValidFleet>,
    all: Vec<Planned>,
}

impl Planner {
    /// Plans a change. `fleet` is the fleet as it would be.
    pub(super) fn plan(
        &mut self,
        api: &ApiServer,
        before: &Value,
        fleet: &Value,
        at: Duration,
    ) -> Result<(), String> {
        let (before, raw) = (typed(before)?, typed(fleet)?);
        self.known.push(valid(&before)?);
        let status = before.status.clone().unwrap_or_default();
        let fleet = valid(&raw)?;
        let stable = status.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
        let pace = Pace::of(&fleet, &status);
        let forecast = forecast(&Question {
            fleet: &fleet,
            stable: self.known.iter().find(|known| Some(&known.revision) == stable),
            status: &status,
            capacity: &capacity(api, &Viewer::of(&fleet)),
            pace,
            now: rayfleet_orchestrator::clock::now(),
        });
        self.all.push(Planned { forecast, pace, at, states: vec![(at, before)] });
        Ok(())
    }

    /// Enters a state of the fleet.
    pub(super) fn saw(&mut self, fleet: &Value, at: Duration) {
        let Some(last) = self.all.last_mut() else { return };
        let version = &fleet["metadata"]["resourceVersion"];
        let known = last.states.last().and_then(|(_, known)| known.metadata.resource_version.as_deref());
        if known != version.as_str()
            && let Ok(fleet) = typed(fleet)
        {
            last.states.push((at, fleet));
        }
    }

    pub(super) fn end(self) -> Vec<Planned> {
        self.all
    }
}

fn typed(fleet: &Value) -> Result<RayClusterFleet, String> {
    RayClusterFleet::deserialize(fleet).map_err(|error| error.to_string())
}

fn valid(fleet: &RayClusterFleet) -> Result<ValidFleet, String> {
    ValidFleet::new(fleet)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn capacity(api: &ApiServer, viewer: &Viewer) -> Capacity {
    let mut tally = Tally::default();
    for node in api.list(&Kind::NODE) {
        let (spec, status): (NodeSpec, NodeStatus) = (part(&node["spec"]), part(&node["status"]));
        let labels = part(&node["metadata"]["labels"]);
        tally.set_node(Arc::new(NodeRoom::of(text(&node["metadata"]["name"]).into(), labels, spec, &status)));
    }
    for pod in api.list(&Kind::POD) {
        let metadata = &pod["metadata"];
        let labels = part(&metadata["labels"]);
        let about = About {
            namespace: text(&metadata["namespace"]),
            labels: Some(&labels),
            phase: pod["status"]["phase"].as_str(),
            deleting: !metadata["deletionTimestamp"].is_null(),
        };
        let name = format!("{}/{}", about.namespace, text(&metadata["name"]));
        tally.add(&name, &part::<PodSpec>(&pod["spec"]).claim(&about));
    }
    tally.capacity(viewer, [])
}

fn part<T: Default + DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
