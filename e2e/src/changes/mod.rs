//! Changes of a fleet, each beginning where the one before ended: what a plan says of them is compared with what happens, on a real
//! cluster and in the simulation.

pub mod compared;

use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::RolloutStep;
use serde_json::{Value, json};

use crate::cluster::manifest::Manifest;
use crate::cluster::ready;
use crate::examples;

/// Number of GPUs of a group.
pub const GPUS: u32 = 2;

/// How a change ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The fleet matches its spec.
    Complete,
    /// `spec.paused` holds it.
    Paused,
    /// There is no room for it.
    Stalled,
}

/// One change.
pub struct Change {
    /// What its user does.
    pub name: &'static str,
    /// How it ends.
    pub end: End,
    make: fn(Manifest) -> anyhow::Result<Manifest>,
}

impl Change {
    /// The manifest after this change.
    pub fn applied_to(&self, manifest: Manifest) -> anyhow::Result<Manifest> {
        (self.make)(manifest)
    }
}

impl End {
    /// The word of `kubectl rayfleet plan` for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::Paused => "Paused",
            Self::Stalled => "Stalled",
        }
    }

    /// Whether a fleet has ended so.
    pub fn reached(self, fleet: &RayClusterFleet) -> bool {
        let Some(status) = fleet.status.as_ref() else { return false };
        let seen = status.observed_generation == fleet.metadata.generation;
        let step = status.rollout.as_ref().map(|rollout| rollout.step);
        let stalled =
            |type_: &str| status.conditions.iter().any(|it| it.type_ == type_ && it.status == "True");
        match self {
            // A partition leaves groups of the revision before.
            Self::Complete => seen && step == Some(RolloutStep::Complete) && ready::whole(fleet),
            Self::Paused => seen && step == Some(RolloutStep::Paused),
            Self::Stalled => seen && stalled("Stalled"),
        }
    }
}

/// The fleet before the first change: two groups of two pods.
pub fn first() -> anyhow::Result<Manifest> {
    rolling(examples::read("light.yaml")?.named("planned"), &json!(1), &json!(0))
}

/// All changes, in order.
pub fn changes() -> Vec<Change> {
    let complete = |name, make| Change { name, end: End::Complete, make };
    vec![
        complete("other pods; maxSurge 1, maxUnavailable 0", |it| Ok(pods(it, "1"))),
        complete("other engine arguments; maxSurge 0, maxUnavailable 1", |it| {
            Ok(rolling(it, &json!(0), &json!(1))?.with_engine_arg(TOKENS, "21"))
        }),
        complete("replicas from 2 to 3", |it| it.with("/spec/replicas", json!(3))),
        complete("replicas from 3 to 2", |it| it.with("/spec/replicas", json!(2))),
        complete("other pods; maxSurge 0, maxUnavailable 1", |it| Ok(pods(it, "2"))),
        complete("other pods; both 50%", |it| Ok(pods(rolling(it, &json!("50%"), &json!("50%"))?, "3"))),
        Change {
            name: "other pods, paused",
            end: End::Paused,
            make: |it| pods(rolling(it, &json!(1), &json!(0))?, "4").with("/spec/paused", json!(true)),
        },
        complete("resumed", |it| it.with("/spec/paused", json!(false))),
        complete("other engine arguments, partition 1", |it| {
            Ok(partition(rolling(it, &json!(0), &json!(1))?, 1)?.with_engine_arg(TOKENS, "22"))
        }),
        complete("partition 0", |it| partition(it, 0)),
        complete("back to the pods before", |it| Ok(pods(rolling(it, &json!(1), &json!(1))?, "3"))),
        Change {
            name: "pods that no node takes; maxSurge 1, maxUnavailable 0",
            end: End::Stalled,
            make: |it| nowhere(rolling(it, &json!(1), &json!(0))?),
        },
        complete("corrected, with other pods", |it| Ok(pods(anywhere(it)?, "5"))),
        complete("other pods; Recreate", |it| {
            Ok(pods(it.with("/spec/strategy", json!({"type": "Recreate"}))?, "6"))
        }),
    ]
}

const TOKENS: &str = "--tokens-per-second";

fn pods(manifest: Manifest, number: &str) -> Manifest {
    manifest.with_env("RAYFLEET_E2E_CHANGE", number)
}

fn rolling(manifest: Manifest, surge: &Value, unavailable: &Value) -> anyhow::Result<Manifest> {
    manifest
        .with("/spec/strategy", json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}))
}

fn partition(manifest: Manifest, partition: u32) -> anyhow::Result<Manifest> {
    manifest.with("/spec/strategy/rollingUpdate/partition", json!(partition))
}

const POD_SPECS: [&str; 2] = [
    "/spec/template/spec/headGroupSpec/template/spec",
    "/spec/template/spec/workerGroupSpecs/0/template/spec",
];

/// A label that no node has.
fn nowhere(manifest: Manifest) -> anyhow::Result<Manifest> {
    select(manifest, &json!({"rayfleet.io/absent": "true"}))
}

fn anywhere(manifest: Manifest) -> anyhow::Result<Manifest> {
    select(manifest, &json!({}))
}

fn select(manifest: Manifest, labels: &Value) -> anyhow::Result<Manifest> {
    POD_SPECS
        .iter()
        .try_fold(manifest, |manifest, spec| manifest.with(&format!("{spec}/nodeSelector"), labels.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_valid_and_changes_something() {
        let mut manifest = first().unwrap();
        manifest.valid().unwrap();
        for change in changes() {
            let next = change.applied_to(manifest.clone()).unwrap();
            next.valid().unwrap();
            assert_ne!(next.fleet, manifest.fleet, "{}", change.name);
            manifest = next;
        }
        assert!(changes().len() >= 10);
    }
}
