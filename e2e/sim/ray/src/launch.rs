//! What the launcher does in a job: its phases from the specification to a serving engine, and how it ends.
//! It writes the same lines to the job's log as the real launcher.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::actor::{Actor, Death};
use super::clock;
use super::engine::EngineArguments;
use super::gcs::{GroupState, Launch, Status};
use super::ids::{JobKey, job_hex};
use super::spec::Spec;
use super::world::World;

const EXIT_SPEC: i32 = 2;
pub(super) const EXIT_ENGINE: i32 = 5;
pub(super) const EXIT_STOPPED: i32 = 143;

/// From the entrypoint's start to the launcher's first line, and to the placement group.
const PYTHON: Duration = Duration::from_millis(400);
const RAY_INIT: Duration = Duration::from_secs(1);
/// From the last rank's actor until the launcher observes it, and from the engine's first answer.
const SEEN: Duration = Duration::from_millis(500);
/// From the launcher's last line until its placement group is removed, and until the job has ended.
const CLEAN_UP: Duration = Duration::from_millis(600);
const EXIT: Duration = Duration::from_millis(700);

impl World {
    /// The launcher's process starts.
    pub(super) fn launch(&mut self, key: JobKey) {
        self.after(PYTHON, move |world| world.launch_begins(key));
    }

    fn launch_begins(&mut self, key: JobKey) {
        let now = self.now;
        let Some(job) = self.job(&key).filter(|job| job.status == Status::Running) else { return };
        let spec = Spec::read(&job.runtime_env);
        let (spec, fault) = match spec {
            Ok(spec) => (spec, None),
            Err(fault) => (Spec::nothing(), Some(fault)),
        };
        let (ranks, timeout) = (spec.bundles.len(), spec.placement_timeout_seconds);
        let started = json!({ "name": spec.name, "ms": clock::millis(now) });
        job.launch = Some(Launch { began: now, spec, phase: "", group: None, at: None, ending: false });
        self.print(&key, &format!("RAYFLEET_LAUNCH {started}"));
        if let Some(fault) = fault {
            return self.give_up(&key, &fault, EXIT_SPEC, None);
        }
        self.enter(&key, "PlacementGroup", json!({ "ranks": ranks, "timeout": timeout }));
        self.after(RAY_INIT, move |world| world.reserve(key));
    }

    /// The launch of a job, if it has not ended.
    pub(super) fn launching(&mut self, key: &JobKey) -> Option<&mut Launch> {
        let job = self.job(key).filter(|job| job.status == Status::Running)?;
        job.launch.as_mut().filter(|launch| !launch.ending)
    }

    /// The placement group is placed: actors start.
    pub(super) fn placed(&mut self, key: JobKey) {
        let Some(launch) = self.launching(&key).filter(|l| l.phase == "PlacementGroup") else { return };
        let (spec, group) = (launch.spec.clone(), launch.group.clone().unwrap_or_default());
        let wanted = spec.bundles.len();
        self.enter(&key, "Ranks", json!({ "placementGroup": group, "alive": 0, "wanted": wanted }));
        let server = spec.bundles.iter().position(|p| p.node_id == spec.api_server_node_id).unwrap_or(wanted);
        let engine = clock::timestamp(self.now).as_millisecond() * 1_000_000;
        let mut actors = vec![(
            "ApiServer",
            format!("{}/api", spec.name),
            spec.api_server_node_id.clone(),
            u32::try_from(server).unwrap_or(u32::MAX),
            0,
        )];
        actors.extend((0..).zip(&spec.bundles).map(|(rank, planned)| {
            ("RayWorkerProc", spec.rank_name(engine, rank), planned.node_id.clone(), rank, 1)
        }));
        let job_id = job_hex(key.serial);
        let (count, all) =
            (u32::try_from(actors.len()).unwrap_or(u32::MAX), self.about(self.timing.ranks_start));
        for (number, (class, name, node, bundle, gpus)) in (1..).zip(actors) {
            let (id, pid) = (format!("{}{job_id}", self.ids.hex(24)), self.ids.pid());
            let actor = Actor {
                id: id.clone(),
                class,
                name,
                state: "PENDING_CREATION",
                job_id: job_id.clone(),
                node: None,
                pid,
                group: Some(group.clone()),
                bundle: Some(bundle),
                gpus,
                detached: false,
                death: None,
            };
            let (begins, lives) = (all / 4, all * number / count);
            let key = key.clone();
            self.after(begins, move |world| {
                if world.launching(&key).is_none() {
                    return;
                }
                if let Some(gcs) = world.gcs(&key.cluster, key.life) {
                    gcs.actors.push(actor);
                }
                world.after(lives.saturating_sub(begins), move |world| {
                    if world.launching(&key).is_some() {
                        world.actor_lives(&key, &id, node);
                    }
                });
            });
        }
        self.after(all + SEEN, move |world| world.loads(key));
    }

    fn actor_lives(&mut self, key: &JobKey, id: &str, node: String) {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let answers = gcs.answers(&node);
        if let Some(actor) = gcs.actors.iter_mut().find(|actor| actor.id == *id && actor.alive() && answers) {
            (actor.state, actor.node) = ("ALIVE", Some(node));
        }
    }

    /// All ranks are alive: the model is loaded.
    fn loads(&mut self, key: JobKey) {
        let Some(launch) = self.launching(&key).filter(|l| l.phase == "Ranks") else { return };
        let spec = launch.spec.clone();
        let wanted = spec.bundles.len();
        let alive = self.ranks(&key).iter().filter(|rank| rank.state == "ALIVE").count();
        if alive < wanted {
            // A node is gone; this launch ends when that is noticed.
            return;
        }
        self.enter(&key, "Loading", json!({ "alive": alive, "wanted": wanted }));
        let source = spec.source();
        let behaviour = (self.models)(&source, spec.argv.get(1..).unwrap_or_default());
        let load = self.about(behaviour.load);
        self.after(load, move |world| {
            if world.launching(&key).is_none() {
                return;
            }
            let ip = world.gcs(&key.cluster, key.life).map(|gcs| gcs.ip_of(Some(&spec.api_server_node_id)));
            let Some(ip) = ip else { return };
            world.print_last_lines(&key, &source);
            if let Some(words) = &behaviour.fails {
                return world.load_fails(&key, words);
            }
            let at = (ip, spec.port);
            if let Some(launch) = world.launching(&key) {
                launch.at = Some(at.clone());
            }
            let address = format!("{}:{}", at.0, at.1);
            let arguments = EngineArguments { name: spec.name.clone(), model: spec.model(), source };
            world.serve(at, key.cluster.clone(), Some(key.clone()), arguments, behaviour);
            world.after(SEEN, move |world| {
                if world.launching(&key).is_some() {
                    world.enter(&key, "Serving", json!({ "address": address }));
                }
            });
        });
    }

    /// Prints a last line for each rank.
    fn print_last_lines(&mut self, key: &JobKey, source: &str) {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let group = gcs.job_of(key.serial).and_then(|job| job.launch.as_ref()?.group.clone());
        let of = |actor: &&Actor| actor.gpus > 0 && actor.group.is_some() && actor.group == group;
        let lines: Vec<String> = gcs
            .actors
            .iter()
            .filter(of)
            .map(|rank| {
                let ip = gcs.ip_of(rank.node.as_deref());
                format!("(RayWorkerProc pid={}, ip={ip}) INFO loaded its part of {source}", rank.pid)
            })
            .collect();
        for line in lines {
            self.print(key, &line);
        }
    }

    fn load_fails(&mut self, key: &JobKey, words: &str) {
        for line in words.lines() {
            self.print(key, &format!("(ApiServer pid=1) {line}"));
        }
        let cause = words.lines().map(str::trim).find(|line| is_exception(line));
        let cause =
            cause.or_else(|| words.lines().last()).unwrap_or("the engine exited with code 1").to_owned();
        self.give_up(key, &cause, EXIT_ENGINE, Some("the engine exited with code 1"));
    }

    /// The launcher reports a failure and exits.
    pub(super) fn give_up(&mut self, key: &JobKey, message: &str, exit: i32, ended: Option<&str>) {
        let Some(during) = self.launching(key).map(|launch| launch.phase) else { return };
        let mut detail = json!({ "during": during, "exitCode": exit, "message": message });
        if let (Some(ended), Value::Object(fields)) = (ended, &mut detail) {
            fields.insert("ended".to_owned(), json!(ended));
        }
        self.enter(key, "Failed", detail);
        if let Some(launch) = self.launching(key) {
            launch.ending = true;
        }
        let key = key.clone();
        self.after(CLEAN_UP, move |world| {
            world.clean_up(&key);
            world.after(EXIT, move |world| {
                if exit == EXIT_STOPPED {
                    let words = "Job was intentionally stopped.".to_owned();
                    return world.job_ends(&key, Status::Stopped, words, None, None);
                }
                let log = world.log_of(&key);
                let words = format!(
                    "Job entrypoint command failed with exit code {exit}, last available logs (truncated to 20,000 chars):\n{log}"
                );
                let kind = Some("JOB_ENTRYPOINT_COMMAND_ERROR");
                world.job_ends(&key, Status::Failed, words, kind, Some(exit));
            });
        });
    }

    /// Removes server, placement group and ranks.
    pub(super) fn clean_up(&mut self, key: &JobKey) {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let Some(job) = gcs.job_of(key.serial) else { return };
        let (at, group) = job.launch.as_ref().map_or((None, None), |l| (l.at.clone(), l.group.clone()));
        if let Some(id) = group {
            if let Some(group) = gcs.group_of(&id).filter(|group| group.state != GroupState::Removed) {
                (group.state, group.scheduling) = (GroupState::Removed, "REMOVED");
            }
            for actor in gcs.actors.iter_mut().filter(|a| a.group.as_ref() == Some(&id) && a.alive()) {
                let server = actor.class == "ApiServer";
                actor.state = "DEAD";
                actor.death = Some(if server { Death::RayKill } else { Death::GroupRemoved });
            }
        }
        if let Some(at) = at {
            self.engine_closed(&at);
        }
        self.resources_changed(&key.cluster);
    }

    /// The rank actors of a launch, in rank order.
    pub(super) fn ranks(&mut self, key: &JobKey) -> Vec<&mut Actor> {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return Vec::new() };
        let group = gcs.job_of(key.serial).and_then(|job| job.launch.as_ref()?.group.clone());
        let Some(group) = group else { return Vec::new() };
        gcs.actors.iter_mut().filter(|a| a.gpus > 0 && a.group.as_ref() == Some(&group)).collect()
    }

    pub(super) fn enter(&mut self, key: &JobKey, phase: &'static str, detail: Value) {
        let now = self.now;
        let Some(launch) = self.launching(key) else { return };
        launch.phase = phase;
        let seconds = (now.saturating_sub(launch.began).as_secs_f64() * 100.0).round() / 100.0;
        let mut line = Map::from_iter([
            ("phase".to_owned(), json!(phase)),
            ("name".to_owned(), json!(launch.spec.name)),
        ]);
        line.insert("seconds".to_owned(), json!(seconds));
        if let Value::Object(detail) = detail {
            line.extend(detail);
        }
        self.print(key, &format!("RAYFLEET_PHASE {}", Value::Object(line)));
    }
}

/// A line that names an exception, as the launcher knows one.
fn is_exception(line: &str) -> bool {
    let name = line.split([':', ' ']).next().unwrap_or_default();
    let class = name.rsplit('.').next().unwrap_or_default();
    let kinds = ["Error", "Exception", "Interrupt", "Exit", "Failure", "NotFound"];
    class.starts_with(|c: char| c.is_ascii_uppercase()) && kinds.iter().any(|kind| class.ends_with(kind))
}
