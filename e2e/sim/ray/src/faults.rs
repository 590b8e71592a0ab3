//! What breaks, and what follows from it, with the times and the order that real Ray and vLLM show: first Ray lists the dead
//! actor, then the engine takes the other ranks down and answers 503, then the launcher gives up and the job ends.

use std::time::Duration;

use super::actor::{Actor, Death};
use super::container::End;
use super::gcs::{GroupState, Job, Status};
use super::ids::{Address, JobKey};
use super::launch::EXIT_ENGINE;
use super::world::World;

/// From the death of a process until Ray lists it.
const LISTED: Duration = Duration::from_millis(300);
/// Until the engine has taken its other ranks down, and until it answers 503.
const TAKEN_DOWN: Duration = Duration::from_millis(600);
const UNHEALTHY: Duration = Duration::from_millis(900);
/// Until the launcher gives up an engine with a dead rank: its next look, and its grace.
const GIVEN_UP: Duration = Duration::from_millis(4_400);
/// Until the server of an engine that knows itself to be dead has left.
const SERVER_LEAVES: Duration = Duration::from_millis(5_700);
/// Until a dead engine core has taken the API server with it.
const CORE_LEAVES: Duration = Duration::from_secs(3);
/// Until a pod's own engine that is dead has left.
const OWN_LEAVES: Duration = Duration::from_secs(5);

impl World {
    /// The launch of a cluster that goes on; the newest if there are several.
    fn launch_of(&mut self, cluster: &str) -> Option<JobKey> {
        let gcs = self.heads.get(cluster)?;
        let running = |status: Status| status == Status::Running;
        let job = gcs.jobs.iter().rev().find(|job| running(job.status) && job.launch.is_some())?;
        Some(JobKey { cluster: cluster.to_owned(), life: gcs.life, serial: job.serial })
    }

    fn address_of(&mut self, key: &JobKey) -> Option<Address> {
        self.job(key)?.launch.as_ref()?.at.clone()
    }

    /// The engine that a pod of this cluster runs by itself.
    fn own_engine_of(&self, cluster: &str) -> Option<Address> {
        let own = self.engines.iter().find(|(_, e)| e.job.is_none() && e.cluster == cluster && e.listens());
        own.map(|(at, _)| at.clone())
    }

    pub(super) fn rank_dies(&mut self, cluster: &str, rank: usize) {
        let Some(key) = self.launch_of(cluster) else { return self.core_dies(cluster) };
        let victim = self.ranks(&key).get(rank).filter(|actor| actor.alive()).map(|actor| actor.id.clone());
        let Some(victim) = victim else { return };
        self.stall(&key);
        let of = key.clone();
        self.after(LISTED, move |world| world.actors_die(&of, &Death::Killed, |actor| actor.id == victim));
        self.falls_apart(&key, UNHEALTHY);
        self.after(GIVEN_UP, move |world| world.give_up_dead(&key));
    }

    pub(super) fn core_dies(&mut self, cluster: &str) {
        let Some(key) = self.launch_of(cluster) else {
            let Some(at) = self.own_engine_of(cluster) else { return };
            return self.own_dies(at);
        };
        self.stall(&key);
        if let Some(at) = self.address_of(&key) {
            self.after(LISTED, move |world| world.engine_dead(&at));
        }
        let of = key.clone();
        self.after(TAKEN_DOWN, move |world| world.actors_die(&of, &Death::Owner, |actor| actor.gpus > 0));
        self.after(CORE_LEAVES, move |world| {
            let words = "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.";
            world.give_up(&key, words, EXIT_ENGINE, Some("the engine exited with code 1"));
        });
    }

    /// The process that answers requests dies, and with it the core that it had started.
    pub(super) fn server_dies(&mut self, cluster: &str) {
        let Some(key) = self.launch_of(cluster) else { return self.core_dies(cluster) };
        self.stall(&key);
        if let Some(at) = self.address_of(&key) {
            self.engine_closed(&at);
        }
        let of = key.clone();
        self.after(LISTED, move |world| {
            world.actors_die(&of, &Death::Killed, |actor| actor.class == "ApiServer");
            world.actors_die(&of, &Death::Owner, |actor| actor.gpus > 0);
        });
        self.after(CORE_LEAVES, move |world| {
            let words = "The actor died unexpectedly before finishing this task.";
            world.give_up(&key, words, EXIT_ENGINE, Some(words));
        });
    }

    /// The launcher ends with a code of its own: with 0 the job counts as SUCCEEDED, although nothing serves any more.
    pub(super) fn launcher_leaves(&mut self, cluster: &str, code: i32) {
        let Some(key) = self.launch_of(cluster) else { return };
        self.stall(&key);
        let log = self.log_of(&key);
        let (status, words, kind) = if code == 0 {
            (Status::Succeeded, "Job finished successfully.".to_owned(), None)
        } else {
            let words = format!(
                "Job entrypoint command failed with exit code {code}, last available logs (truncated to 20,000 chars):\n{log}"
            );
            (Status::Failed, words, Some("JOB_ENTRYPOINT_COMMAND_ERROR"))
        };
        self.job_ends(&key, status, words, kind, Some(code));
    }

    pub(super) fn engine_hangs(&mut self, cluster: &str) {
        let launched = self.launch_of(cluster).and_then(|key| self.address_of(&key));
        if let Some(at) = launched.or_else(|| self.own_engine_of(cluster)) {
            self.engine_still(&at, true);
        }
    }

    fn own_dies(&mut self, at: Address) {
        self.engine_still(&at, true);
        let life = self.containers.get(&at.0).map(|container| container.life);
        let ip = at.0.clone();
        self.after(UNHEALTHY, move |world| world.engine_dead(&at));
        self.after(OWN_LEAVES, move |world| {
            if life.is_some_and(|life| world.running(&ip, life).is_some()) {
                world.end(&ip, 1, End::Died);
            }
        });
    }

    /// Processes on a node have gone. Connections to them break, unless the machine has lost its power.
    pub(super) fn ranks_gone(&mut self, cluster: &str, life: u64, node: &str, how: End) {
        for key in self.launches_on(cluster, life, node) {
            if let Some(at) = self.address_of(&key) {
                self.engine_still(&at, how != End::Stopped);
            }
            if how == End::Lost {
                continue;
            }
            self.falls_apart(&key, UNHEALTHY);
            self.after(SERVER_LEAVES, move |world| {
                let words = "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.";
                world.give_up(&key, words, EXIT_ENGINE, Some("the engine exited with code 1"));
            });
        }
    }

    /// Ray has noticed that a node is gone.
    pub(super) fn node_dead(&mut self, cluster: &str, life: u64, id: &str, why: &'static str) {
        let now = self.now;
        let affected = self.launches_on(cluster, life, id);
        let Some(gcs) = self.gcs(cluster, life) else { return };
        let Some(node) = gcs.nodes.get_mut(id).filter(|node| node.dead.is_none()) else { return };
        node.dead = Some((now, why));
        for actor in gcs.actors.iter_mut().filter(|a| a.alive() && a.node.as_deref() == Some(id)) {
            (actor.state, actor.death) = ("DEAD", Some(Death::Node(why)));
        }
        for group in gcs.groups.iter_mut().filter(|group| group.state == GroupState::Created) {
            for bundle in group.bundles.iter_mut().filter(|b| b.node.as_deref() == Some(id)) {
                bundle.node = None;
                (group.state, group.scheduling) = (GroupState::Rescheduling, "INFEASIBLE");
            }
        }
        let ip = gcs.ip_of(Some(id));
        let driven: Vec<(u64, String)> = gcs
            .jobs
            .iter()
            .filter(|job| job.node.as_deref() == Some(id) && !job.status.ended())
            .map(|job| (job.serial, job.id.clone()))
            .collect();
        for (serial, name) in driven {
            let words = format!(
                "Job supervisor actor died: The actor died unexpectedly before finishing this task.\n\tclass_name: JobSupervisor\n\t\
                 name: _ray_internal_job_actor_{name}\n\tnamespace: SUPERVISOR_ACTOR_RAY_NAMESPACE\n\tip: {ip}\nThe actor died \
                 because its node has died. Node Id: {id}\n\tthe actor's node was terminated unexpectedly: {why}"
            );
            let key = JobKey { cluster: cluster.to_owned(), life, serial };
            self.job_ends(&key, Status::Failed, words, Some("JOB_SUPERVISOR_ACTOR_DIED"), None);
        }
        for key in affected {
            self.falls_apart(&key, LISTED);
            self.after(GIVEN_UP, move |world| world.give_up_dead(&key));
        }
        self.resources_changed(cluster);
    }

    /// Launches that go on and have living ranks on a node. One that waits for a rank there waits for ever, as vLLM does.
    fn launches_on(&mut self, cluster: &str, life: u64, node: &str) -> Vec<JobKey> {
        let Some(gcs) = self.gcs(cluster, life) else { return Vec::new() };
        let on_it = |rank: &&Actor| rank.alive() && rank.gpus > 0 && rank.node.as_deref() == Some(node);
        let groups: Vec<&String> =
            gcs.actors.iter().filter(on_it).filter_map(|rank| rank.group.as_ref()).collect();
        let on = |job: &&Job| {
            let launch = job.launch.as_ref().filter(|launch| !launch.ending);
            let group = launch.and_then(|launch| launch.group.as_ref());
            job.status == Status::Running && group.is_some_and(|group| groups.contains(&group))
        };
        let key = |job: &Job| JobKey { cluster: cluster.to_owned(), life, serial: job.serial };
        gcs.jobs.iter().filter(on).map(key).collect()
    }

    fn stall(&mut self, key: &JobKey) {
        if let Some(at) = self.address_of(key) {
            self.engine_still(&at, true);
        }
    }

    /// The engine notices that a rank is dead: it takes the others down and answers 503.
    fn falls_apart(&mut self, key: &JobKey, unhealthy: Duration) {
        let at = self.address_of(key);
        let key = key.clone();
        self.after(TAKEN_DOWN.min(unhealthy), move |world| {
            if world.launching(&key).is_some_and(|launch| launch.phase != "PlacementGroup") {
                let dead: Vec<String> = world.unreachable(&key);
                world.actors_die(&key, &Death::RayKill, |actor| {
                    actor.gpus > 0 && actor.node.as_ref().is_none_or(|node| !dead.contains(node))
                });
            }
        });
        if let Some(at) = at {
            self.after(unhealthy, move |world| world.engine_dead(&at));
        }
    }

    /// Nodes on which nothing runs any more, although Ray counts them in: what was there cannot be taken down.
    fn unreachable(&mut self, key: &JobKey) -> Vec<String> {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return Vec::new() };
        gcs.nodes.iter().filter(|(_, node)| node.gone).map(|(id, _)| id.clone()).collect()
    }

    fn actors_die(&mut self, key: &JobKey, how: &Death, which: impl Fn(&Actor) -> bool) {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let group = gcs.job_of(key.serial).and_then(|job| job.launch.as_ref()?.group.clone());
        let Some(group) = group else { return };
        let of = |actor: &&mut Actor| actor.group.as_ref() == Some(&group) && actor.alive() && which(actor);
        for actor in gcs.actors.iter_mut().filter(of) {
            (actor.state, actor.death) = ("DEAD", Some(how.clone()));
        }
    }

    /// The launcher names the dead rank and what it had printed last.
    fn give_up_dead(&mut self, key: &JobKey) {
        let Some(spec) = self.launching(key).map(|launch| launch.spec.clone()) else { return };
        let ip = self.gcs(&key.cluster, key.life).map(|gcs| gcs.ip.clone()).unwrap_or_default();
        let taken_down = |death: &Death| matches!(death, Death::RayKill | Death::Owner | Death::GroupRemoved);
        let dead = self.ranks(key).into_iter().find_map(|rank| {
            let death = rank.death.clone().filter(|death| !taken_down(death))?;
            let node: String = rank.node.iter().flat_map(|id| id.chars()).take(12).collect();
            let words = death.words(rank, &ip);
            let words = words.split("Some common causes include").next().unwrap_or_default();
            let point = words.split_whitespace().collect::<Vec<_>>().join(" ");
            Some(format!("rank {} on node {node} died: {}: {point}", rank.name, death.reason()))
        });
        let Some(dead) = dead else { return };
        let last = format!("the last lines of this rank: INFO loaded its part of {}", spec.source());
        let ended = Some("a rank is dead, its engine goes on");
        self.give_up(key, &format!("{dead}; {last}"), EXIT_ENGINE, ended);
    }
}
