//! Follows the fleet and its pods: what there is to read, as it is now. What is read is decided elsewhere.

use k8s_openapi::api::core::v1::Pod as PodKind;
use kube::core::ApiResource;
use rayfleet_api::names::LABEL_FLEET;
use rayfleet_cli_kit::CliError;

use super::args::LogsArgs;
use super::facts::{Pod, World};
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::view::Fleet;
use crate::watch::{Kept, Target, Watch};

/// The fleet and its pods, as they are now.
pub(super) struct Watched {
    fleet: Follow,
    pods: Watch,
    known: Kept<Pod>,
    world: World,
    name: String,
    namespace: String,
}

impl Watched {
    /// Reads both once; an error if there is no such fleet.
    pub(super) async fn new(args: &LogsArgs, fleets: &Fleets) -> Result<Self, CliError> {
        let pods = Target {
            resource: ApiResource::erase::<PodKind>(&()),
            namespace: Some(fleets.namespace.clone()),
            labels: format!("{LABEL_FLEET}={}", args.fleet),
            fields: String::new(),
        };
        let mut watched = Self {
            fleet: Follow::new(fleets, Scope::One(&args.fleet)),
            pods: Watch::new(fleets, pods),
            known: Kept::default(),
            world: World::default(),
            name: args.fleet.clone(),
            namespace: fleets.namespace.clone(),
        };
        watched.of_fleet(true).await?;
        while !watched.known.apply(watched.pods.next().await?, Pod::read) {}
        watched.put_pods();
        Ok(watched)
    }

    pub(super) fn world(&self) -> World {
        self.world.clone()
    }

    async fn of_fleet(&mut self, first: bool) -> Result<(), CliError> {
        let Some(object) = self.fleet.next().await?.values().next() else {
            return Err(error::gone(&self.name, &self.namespace, !first));
        };
        self.world.groups = World::groups(&Fleet::read(object));
        Ok(())
    }

    fn put_pods(&mut self) {
        self.world.pods =
            self.known.known.iter().map(|((_, name), pod)| (name.clone(), pod.clone())).collect();
    }

    /// Waits for a change of the fleet or its pods. May be dropped while it waits.
    pub(super) async fn changed(&mut self) -> Result<World, CliError> {
        let before = self.world.clone();
        while self.world == before {
            tokio::select! {
                now = self.fleet.next() => match now?.values().next() {
                    Some(object) => self.world.groups = World::groups(&Fleet::read(object)),
                    None => return Err(error::gone(&self.name, &self.namespace, true)),
                },
                change = self.pods.next() => {
                    if self.known.apply(change?, Pod::read) {
                        self.put_pods();
                    }
                }
            }
        }
        Ok(self.world())
    }
}
