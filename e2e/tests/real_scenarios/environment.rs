//! The real cluster as a environment. Its states come from a watch, in order: a condition is found even if it
//! held only for a moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hyper::{Method, Request};
use kube::Api;
use kube::api::PostParams;
use kube::core::{DynamicObject, TypeMeta};
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_e2e::clock;
use rayfleet_e2e::cluster::call;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::processes::Process;
use rayfleet_e2e::cluster::room::Room;
use rayfleet_sim::run::environment::Environment;
use rayfleet_sim::run::scenario::{Healed, Member, Patch, Refused, Victim};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clients::Killed;
use crate::end;
use crate::fixture::Fixture;
use crate::watches::Watches;

/// Longest wait for the watch to deliver a change that was made.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Longest interval between checks of what no watch covers.
const LOOK: Duration = Duration::from_millis(500);

/// A state of the fleet.
enum Position {
    /// No state was read yet.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Here(Box<RayClusterFleet>),
}

pub(crate) struct RealEnvironment<'s> {
    pub(crate) fixture: &'s Fixture,
    pub(crate) fleet: Fleet,
    pub(crate) room: Room,
    pub(crate) watches: Watches,
    pub(crate) start: Instant,
    /// The last state that was read.
    position: Position,
    /// The fleet was created and is not to be deleted.
    made: bool,
    /// States of an earlier generation precede the last change.
    generation: i64,
    /// Services that were created with it.
    pub(crate) services: Vec<String>,
    /// The last progress line, for people.
    pub(crate) last_reported: String,
    pub(crate) killed: Vec<Killed>,
    /// Stopped processes, by group.
    pub(crate) stopped: BTreeMap<usize, Vec<Process>>,
    /// The node that last lost power.
    pub(crate) lost: Option<String>,
    /// Nodes that were cordoned by steps.
    pub(crate) cordoned: Vec<String>,
    /// Tasks that bring KubeRay back.
    pub(crate) kuberay_away: JoinSet<()>,
}

impl<'s> RealEnvironment<'s> {
    pub(crate) fn new(fixture: &'s Fixture, name: &str, room: Room, start: Instant) -> Self {
        let fleet = Fleet::new(&fixture.cluster, name);
        Self {
            fixture,
            watches: Watches::begin(&fleet, fixture.console, start),
            fleet,
            room,
            start,
            position: Position::Unknown,
            made: false,
            generation: 0,
            services: Vec::new(),
            last_reported: String::new(),
            killed: Vec::new(),
            stopped: BTreeMap::new(),
            lost: None,
            cordoned: Vec::new(),
            kuberay_away: JoinSet::new(),
        }
    }

    /// Reads the next state, if it arrives in time.
    async fn advance(&mut self, longest: Duration) -> bool {
        match timeout(longest, self.watches.states.recv()).await {
            Ok(Some(state)) => {
                self.position = state.map_or(Position::Absent, |fleet| Position::Here(Box::new(fleet)));
                true
            }
            _ => false,
        }
    }

    fn is_behind(&self) -> bool {
        match &self.position {
            Position::Unknown => true,
            Position::Absent => self.made,
            Position::Here(fleet) => fleet.metadata.generation.unwrap_or_default() < self.generation,
        }
    }

    async fn made(&mut self, object: &Value) -> anyhow::Result<()> {
        let types: TypeMeta = serde_json::from_value(object.clone()).context("apiVersion and kind")?;
        let resource = kube::core::ApiResource::from_gvk(&(&types).try_into()?);
        let client = self.fixture.cluster.client.clone();
        let api: Api<DynamicObject> =
            Api::namespaced_with(client, &self.fixture.cluster.namespace, &resource);
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let what = format!("create the {}", types.kind);
        let made = call(&what, api.create(&PostParams::default(), &object)).await?;
        if types.kind == names::KIND {
            self.made = true;
            self.generation = made.metadata.generation.unwrap_or_default();
        } else {
            self.services.extend(made.metadata.name);
        }
        Ok(())
    }

    async fn patched(&mut self, patch: &Patch) -> anyhow::Result<()> {
        let (kind, body) = match patch {
            Patch::Merge(body) => ("application/merge-patch+json", serde_json::to_vec(body)?),
            Patch::Json(body) => ("application/json-patch+json", serde_json::to_vec(body)?),
        };
        let place = format!(
            "/apis/{}/{}/namespaces/{}/rayclusterfleets/{}",
            names::GROUP,
            names::VERSION,
            self.fixture.cluster.namespace,
            self.fleet.name
        );
        let request = Request::builder().method(Method::PATCH).uri(place).header("Content-Type", kind);
        let client = &self.fixture.cluster.client;
        let changed = call("change the fleet", client.request::<Value>(request.body(body)?)).await?;
        let generation = changed["metadata"]["generation"].as_i64();
        self.generation = generation.ok_or_else(|| anyhow!("a fleet without a generation: {changed}"))?;
        Ok(())
    }
}

/// The text of a refusal, causes included.
fn words(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

impl Environment for RealEnvironment<'_> {
    fn now(&self) -> Duration {
        Duration::from_secs_f64(clock::seconds_since(self.start))
    }

    fn log(&mut self, what: String) {
        self.fixture.console.say(format_args!("- {what}"));
        self.last_reported = what;
    }

    async fn create(&mut self, object: &Value) -> Result<(), String> {
        self.made(object).await.map_err(|error| words(&error))
    }

    async fn create_as_aibrix(&mut self, _: &Value) -> Result<(), String> {
        Err("there is no AIBrix on the real cluster".to_owned())
    }

    async fn fleet(&mut self) -> Option<RayClusterFleet> {
        // A state from before the last change must not be taken for its result.
        while self.is_behind() && self.advance(CATCH_UP).await {}
        match &self.position {
            Position::Here(fleet) => Some(RayClusterFleet::clone(fleet)),
            Position::Unknown | Position::Absent => None,
        }
    }

    async fn leftovers(&mut self) -> bool {
        // While the fleet exists, something of it does.
        if matches!(self.position, Position::Here(_)) {
            return true;
        }
        end::leftovers(&self.fleet).await.unwrap_or(true)
    }

    async fn apply(&mut self, patch: &Patch) -> Result<(), String> {
        self.patched(patch).await.map_err(|error| words(&error))
    }

    async fn delete(&mut self) -> Result<(), String> {
        self.made = false;
        let (api, params) = (self.fleet.api(), kube::api::DeleteParams::background());
        call("delete the fleet", api.delete(&self.fleet.name, &params))
            .await
            .map(drop)
            .map_err(|error| words(&error))
    }

    async fn kill(&mut self, victim: &Victim) -> Result<(), String> {
        self.strike(victim).await.map_err(|error| words(&error))
    }

    async fn heal(&mut self, healed: &Healed) -> Result<(), String> {
        self.mend(healed).await.map_err(|error| words(&error))
    }

    async fn uncordon(&mut self, node: &str) -> Result<(), String> {
        self.room.uncordon(node).await.map_err(|error| words(&error))
    }

    async fn refuse(&mut self, _: Option<&Refused>) -> Result<(), String> {
        Err("the simulation alone lets the API server refuse things".to_owned())
    }

    async fn cordon(&mut self, member: Member) -> Result<(), String> {
        self.close_node(member).await.map(drop).map_err(|error| words(&error))
    }

    async fn drain(&mut self, member: Member) -> Result<(), String> {
        self.empty_node(member).await.map_err(|error| words(&error))
    }

    async fn pass(&mut self, longest: Duration) {
        self.advance(longest.min(LOOK)).await;
    }
}
