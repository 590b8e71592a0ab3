//! How engines begin to serve, die, and stand still.

use std::collections::BTreeMap;

use super::behaviour::EngineBehaviour;
use super::container::End;
use super::engine::{Engine, EngineArguments, Port};
use super::ids::{Address, JobKey};
use super::world::World;

impl World {
    /// An engine begins to answer. Another one that was there before is gone.
    pub(super) fn serve(
        &mut self,
        at: Address,
        cluster: String,
        job: Option<JobKey>,
        arguments: EngineArguments,
        behaviour: EngineBehaviour,
    ) {
        let token = self.containers.get(&at.0).and_then(|c| c.pod.token.clone());
        let engine = Engine {
            life: self.ids.number(),
            cluster,
            counts: job.is_some(),
            job,
            name: arguments.name,
            model: arguments.model,
            source: arguments.source,
            token,
            port: if behaviour.dead { Port::Dead } else { Port::Serving },
            behaviour,
            since: self.now,
            still: None,
            fault: false,
            requests: BTreeMap::new(),
            served: 0,
            last: None,
            draining: false,
            tokens: 0,
            prompts: 0,
        };
        self.engines.insert(at, engine);
    }

    /// A pod that serves by itself.
    pub(super) fn own_engine(&mut self, ip: &str, life: u64, port: u16) {
        let behaviour = (self.models)("", &[]);
        let ip = ip.to_owned();
        let load = self.about(behaviour.load);
        self.after(load, move |world| {
            let Some(container) = world.running(&ip, life) else { return };
            let cluster = container.pod.cluster.clone();
            if behaviour.fails.is_some() {
                return world.end(&ip, 1, End::Died);
            }
            world.serve((ip, port), cluster, None, EngineArguments::default(), behaviour);
        });
    }

    fn change(&mut self, at: &Address, port: Port, fault: bool) {
        let now = self.now;
        if let Some(engine) = self.engines.get_mut(at) {
            engine.fault |= fault && engine.listens();
            engine.becomes(port, now);
        }
    }

    /// From now on it answers 503.
    pub(super) fn engine_dead(&mut self, at: &Address) {
        self.change(at, Port::Dead, false);
    }

    /// From now on nothing listens there.
    pub(super) fn engine_closed(&mut self, at: &Address) {
        self.change(at, Port::Closed, false);
    }

    /// It makes no steps from now on.
    pub(super) fn engine_still(&mut self, at: &Address, fault: bool) {
        let now = self.now;
        if let Some(engine) = self.engines.get_mut(at).filter(|engine| engine.listens()) {
            engine.still.get_or_insert(now);
            engine.fault |= fault;
        }
    }

    pub(super) fn close_engines_at(&mut self, ip: &str, how: End) {
        let here: Vec<Address> = self.engines.keys().filter(|at| at.0 == ip).cloned().collect();
        self.close(here, how);
    }

    pub(super) fn close_engines_of(&mut self, cluster: &str, life: u64, how: End) {
        let of = |engine: &Engine| {
            engine.job.as_ref().is_some_and(|job| job.cluster == cluster && job.life == life)
        };
        let its: Vec<Address> =
            self.engines.iter().filter(|(_, engine)| of(engine)).map(|(at, _)| at.clone()).collect();
        self.close(its, how);
    }

    fn close(&mut self, engines: Vec<Address>, how: End) {
        for at in engines {
            match how {
                End::Stopped => self.change(&at, Port::Closed, false),
                End::Died => self.change(&at, Port::Closed, true),
                End::Lost => self.change(&at, Port::Vanished, true),
            }
        }
    }
}
