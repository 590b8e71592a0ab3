//! Jobs as Ray runs them: from the submit to their end, with their traps. What the entrypoint does is in `launch`.

use std::time::Duration;

use ray_bridge::engine::LAUNCHER_ENTRYPOINT;
use serde_json::{Value, json};

use super::actor::{Actor, Death};
use super::gcs::{Job, Status};
use super::ids::{JobKey, job_hex};
use super::launch::EXIT_STOPPED;
use super::world::World;

/// A job that cannot start is given up then.
const START_TIMEOUT: Duration = Duration::from_mins(15);
/// From a stop request to its effect.
const STOP: Duration = Duration::from_millis(200);
/// An entrypoint that is not the launcher runs for this long.
const SHORT: Duration = Duration::from_secs(1);
/// A job that is deleted sooner after its end comes back.
const SETTLED: Duration = Duration::from_secs(3);
const COMES_BACK: Duration = Duration::from_secs(4);

/// A refusal: status and text.
pub(super) type Refused = (u16, String);

impl World {
    pub(super) fn submit(&mut self, cluster: &str, body: &Value) -> Result<Value, Refused> {
        let field = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
        let Some(entrypoint) = body.get("entrypoint").and_then(Value::as_str).map(str::to_owned) else {
            let words =
                "TypeError: JobSubmitRequest.__init__() missing 1 required positional argument: 'entrypoint'";
            return Err((400, traceback(words)));
        };
        let (now, serial) = (self.now, self.ids.number());
        let id = match field("submission_id") {
            Value::String(id) => id,
            _ => format!("raysubmit_{}", self.ids.hex(16)),
        };
        let start = self.about(self.timing.job_start);
        let Some(gcs) = self.heads.get_mut(cluster) else { return Err((500, "no GCS".to_owned())) };
        if gcs.job(&id).is_some() {
            let words = format!(
                "ValueError: Job with submission_id {id} already exists. Please use a different submission_id."
            );
            return Err((500, traceback(&format!("{words}\n."))));
        }
        let pin = body.pointer("/entrypoint_label_selector/ray.io~1node-id").and_then(Value::as_str);
        gcs.jobs.push(Job {
            serial,
            id: id.clone(),
            entrypoint,
            metadata: field("metadata"),
            runtime_env: field("runtime_env"),
            pin: pin.map(str::to_owned),
            status: Status::Pending,
            message: "Job has not started yet.".to_owned(),
            error_type: None,
            began: Some(now),
            ended: None,
            node: None,
            exit_code: None,
            launch: None,
        });
        if let Some(package) =
            package_of(body.get("runtime_env")).and_then(|name| gcs.packages.get_mut(&name))
        {
            package.used = true;
        }
        let key = JobKey { cluster: cluster.to_owned(), life: gcs.life, serial };
        let late = key.clone();
        self.after(start, move |world| world.job_starts(key));
        self.after(START_TIMEOUT, move |world| world.job_never_started(&late));
        Ok(json!({ "job_id": id, "submission_id": id }))
    }

    fn job_starts(&mut self, key: JobKey) {
        let (id, pid) = (format!("{}{}", self.ids.hex(24), job_hex(key.serial)), self.ids.pid());
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let head = gcs.nodes.iter().find(|(_, node)| node.head).map(|(id, _)| id.clone());
        let Some(job) = gcs.job_of(key.serial).filter(|job| job.status == Status::Pending) else { return };
        let name = job.id.clone();
        let Some(node) = job.pin.clone().or(head) else { return };
        let (entrypoint, package) = (job.entrypoint.clone(), package_of(Some(&job.runtime_env)));
        if !gcs.answers(&node) {
            // Its node is gone for ever, so it waits until it is given up.
            return;
        }
        if let Some(missing) = package.filter(|name| !gcs.packages.contains_key(name)) {
            let words = format!(
                "runtime_env setup failed: Failed to set up runtime environment.\nFailed to download runtime_env file package \
                 gcs://{missing} from the GCS to the Ray worker node. The package may have prematurely been deleted from the GCS."
            );
            return self.job_ends(&key, Status::Failed, words, Some("RUNTIME_ENV_SETUP_FAILURE"), None);
        }
        let Some(job) = gcs.job_of(key.serial) else { return };
        job.status = Status::Running;
        "Job is currently running.".clone_into(&mut job.message);
        job.node = Some(node.clone());
        gcs.actors.push(Actor {
            id,
            class: "JobSupervisor",
            name: format!("_ray_internal_job_actor_{name}"),
            state: "ALIVE",
            job_id: job_hex(key.serial),
            node: Some(node),
            pid,
            group: None,
            bundle: None,
            gpus: 0,
            detached: true,
            death: None,
        });
        self.print(&key, &format!("Running entrypoint for job {name}: {entrypoint}"));
        if entrypoint == LAUNCHER_ENTRYPOINT {
            return self.launch(key);
        }
        self.after(SHORT, move |world| {
            let words = "Job finished successfully.".to_owned();
            world.job_ends(&key, Status::Succeeded, words, None, Some(0));
        });
    }

    fn job_never_started(&mut self, key: &JobKey) {
        if self.job(key).is_some_and(|job| job.status == Status::Pending) {
            let words = "Job supervisor actor failed to start within 900.0 seconds. This timeout can be configured by setting \
                         the environment variable RAY_JOB_START_TIMEOUT_SECONDS.";
            let kind = Some("JOB_SUPERVISOR_ACTOR_START_TIMEOUT");
            self.job_ends(key, Status::Failed, words.to_owned(), kind, None);
        }
    }

    /// A job has ended, however. The first end counts.
    pub(super) fn job_ends(
        &mut self,
        key: &JobKey,
        status: Status,
        message: String,
        error_type: Option<&'static str>,
        exit_code: Option<i32>,
    ) {
        let now = self.now;
        let Some(job) = self.job(key).filter(|job| !job.status.ended()) else { return };
        (job.status, job.message, job.error_type) = (status, message, error_type);
        (job.exit_code, job.ended) = (exit_code, Some(now));
        let supervisor = format!("_ray_internal_job_actor_{}", job.id);
        self.clean_up(key);
        if let Some(gcs) = self.gcs(&key.cluster, key.life) {
            for actor in gcs.actors.iter_mut().filter(|actor| actor.name == supervisor && actor.alive()) {
                (actor.state, actor.death) = ("DEAD", Some(Death::Intended));
            }
        }
        self.drop_packages(&key.cluster, key.life);
    }

    /// Packages go with the last job that used them, unless somebody has just read them.
    fn drop_packages(&mut self, cluster: &str, life: u64) {
        let now = self.now;
        let Some(gcs) = self.gcs(cluster, life) else { return };
        let open = gcs.jobs.iter().filter(|job| !job.status.ended());
        let needed: Vec<String> = open.filter_map(|job| package_of(Some(&job.runtime_env))).collect();
        gcs.packages.retain(|name, package| !package.used || package.pinned > now || needed.contains(name));
        let later = gcs.packages.iter().filter(|(name, p)| p.used && !needed.contains(name));
        let Some(next) = later.map(|(_, package)| package.pinned).min() else { return };
        let cluster = cluster.to_owned();
        self.after(next.saturating_sub(now), move |world| world.drop_packages(&cluster, life));
    }

    /// `None` if there is no such job, else whether it was to be stopped.
    pub(super) fn stop_job(&mut self, cluster: &str, id: &str) -> Option<bool> {
        let gcs = self.heads.get(cluster)?;
        let job = gcs.job(id)?;
        if job.status.ended() {
            return Some(false);
        }
        let key = JobKey { cluster: cluster.to_owned(), life: gcs.life, serial: job.serial };
        self.after(STOP, move |world| {
            if world.launching(&key).is_some() {
                return world.give_up(&key, "stopped on request", EXIT_STOPPED, None);
            }
            // A launcher that gives up by itself is left to it.
            if world.job(&key).is_none_or(|job| job.launch.is_none()) {
                let words = "Job was intentionally stopped.".to_owned();
                world.job_ends(&key, Status::Stopped, words, None, None);
            }
        });
        Some(true)
    }

    /// Removes a job that has ended. One that has just ended comes back.
    pub(super) fn delete_job(&mut self, cluster: &str, id: &str) -> Result<(), Refused> {
        let now = self.now;
        let unknown = (404, format!("Job {id} does not exist"));
        let gcs = self.heads.get_mut(cluster).ok_or_else(|| unknown.clone())?;
        let at = gcs.jobs.iter().position(|job| job.id == id).ok_or(unknown)?;
        let (life, status) = (gcs.life, gcs.jobs.get(at).map(|job| job.status));
        if let Some(status) = status.filter(|status| !status.ended()) {
            let state = status.word();
            let words = format!(
                "RuntimeError: Attempted to delete job '{id}', but it is in a non-terminal state {state}.\n."
            );
            return Err((500, traceback(&words)));
        }
        let job = gcs.jobs.remove(at);
        // What had watched it writes it once more; nothing watches one that came back.
        if job.began.is_some() && job.ended.is_some_and(|ended| now < ended + SETTLED) {
            let cluster = cluster.to_owned();
            self.after(COMES_BACK, move |world| world.comes_back(&cluster, life, job));
        }
        Ok(())
    }

    fn comes_back(&mut self, cluster: &str, life: u64, job: Job) {
        let (now, serial) = (self.now, self.ids.number());
        let Some(gcs) = self.gcs(cluster, life) else { return };
        if gcs.job(&job.id).is_none() {
            gcs.jobs.push(Job {
                serial,
                entrypoint: "Entrypoint not found.".to_owned(),
                metadata: Value::Null,
                runtime_env: Value::Null,
                status: Status::Failed,
                message: "Job supervisor actor died: The actor died unexpectedly before finishing this task."
                    .to_owned(),
                error_type: Some("JOB_SUPERVISOR_ACTOR_DIED"),
                began: None,
                ended: Some(now),
                node: None,
                exit_code: None,
                launch: None,
                ..job
            });
        }
    }

    /// Writes a line to a job's log.
    pub(super) fn print(&mut self, key: &JobKey, line: &str) {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return };
        let Some(job) = gcs.job_of(key.serial) else { return };
        let (Some(node), id) = (job.node.clone(), job.id.clone()) else { return };
        let log = gcs.logs.entry((node, id)).or_default();
        log.push_str(line);
        log.push('\n');
    }

    pub(super) fn log_of(&mut self, key: &JobKey) -> String {
        let Some(gcs) = self.gcs(&key.cluster, key.life) else { return String::new() };
        let file = gcs.job_of(key.serial).and_then(|job| Some((job.node.clone()?, job.id.clone())));
        file.and_then(|file| gcs.logs.get(&file).cloned()).unwrap_or_default()
    }
}

/// The package that a runtime environment names.
fn package_of(runtime_env: Option<&Value>) -> Option<String> {
    let dir = runtime_env?.get("working_dir")?.as_str()?;
    dir.strip_prefix("gcs://").map(str::to_owned)
}

/// A refusal as Ray words it.
fn traceback(words: &str) -> String {
    format!(
        "Traceback (most recent call last):\n  File \"ray/dashboard/modules/job/job_head.py\", line 419, in call\n{words}\n"
    )
}
