//! `deploy`: places and launches an engine, and follows it until it answers. The name makes it idempotent: a
//! running engine that matches the file is followed, an ended one is replaced, a different one of the same
//! name is left alone.

use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::dashboard::{Job, JobStatus};
use ray_bridge::engine::LaunchRecord;
use ray_bridge::placement::{self, FreeGpus, Placement, Policy, RayNode};
use ray_bridge::{CallError, CallErrorKind as Call, LaunchError, Launched};
use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::{CliError, Terminal, clock};
use tokio::time::sleep;

use crate::args::DeployArgs;
use crate::connect::{Found, Session};
use crate::model::{self, Model};
use crate::plan::{self, Plan};
use crate::{Answer, error, follow};

/// Ray re-creates the entry of a job that is deleted within 3 s of its end.
const LETS_GO: Duration = Duration::from_secs(4);
/// Ray's report of free GPUs is at most this old, and a little older on a busy head.
const REPORT: Duration = Duration::from_secs(10);
/// Tries of a launch that may be retried.
const TRIES: u32 = 3;

/// What to do about the job of the engine's name.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// There is none.
    Launch,
    /// It has ended: remove it, then launch.
    Replace,
    /// It is the engine of the file.
    Keep,
    /// It is a different engine.
    Refuse,
}

pub(crate) async fn run(
    args: &DeployArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let model = model::load(&args.model)?;
    let wanted = LaunchRecord::of(&model.spec);
    let name = &model.spec.name;
    let existing = session.job(name).await?;
    let began = clock::now();
    let found = match (decide(existing.as_ref(), &wanted), existing) {
        (Decision::Refuse, _) => {
            return Err(CliError::failed(
                format!(
                    "engine {name} runs with another model, shape, arguments or environment than the file says"
                ),
                format!("stop it first (ray-bridge stop {name} --drain), or give this one another --name"),
            ));
        }
        (Decision::Keep, Some(_)) => {
            terminal.progress(&format!("engine {name} already runs as the file says"));
            session.find(name).await?
        }
        (Decision::Replace, Some(job)) => {
            clear(&model, &job, session, terminal).await?;
            launch(&model, wanted, session, terminal).await?
        }
        (Decision::Launch | Decision::Keep | Decision::Replace, _) => {
            launch(&model, wanted, session, terminal).await?
        }
    };
    if args.wait {
        let limit = args.timeout.unwrap_or(model.start_timeout);
        return follow::until_answered(&found, &model.probe, (began, limit), session, terminal).await;
    }
    terminal.progress(&format!("follow it: ray-bridge watch {name}"));
    let document = started(&found, session).await?;
    terminal.result(&document, &plan::text(&document))?;
    Ok(Answer::Yes)
}

fn decide(existing: Option<&Job>, wanted: &LaunchRecord) -> Decision {
    match existing {
        None => Decision::Launch,
        Some(job) if job.status.has_ended() => Decision::Replace,
        Some(job) if LaunchRecord::read(job).as_ref() == Some(wanted) => Decision::Keep,
        Some(_) => Decision::Refuse,
    }
}

/// Removes an ended job, and waits until Ray has forgotten it.
async fn clear(model: &Model, job: &Job, session: &Session, terminal: &Terminal) -> Result<(), CliError> {
    let name = &model.spec.name;
    let how = if job.status == JobStatus::Stopped { "was stopped" } else { "has failed" };
    terminal.progress(&format!("an earlier engine {name} {how}: removing its job"));
    sleep(rest(job, clock::now())).await;
    match session.dashboard().delete(name).await {
        Ok(()) | Err(CallError { kind: Call::NotFound { .. }, .. }) => Ok(()),
        Err(error) => Err(error::call(error)),
    }
}

/// How much longer Ray may re-create the job. An unknown end, or one in the future, counts as now.
fn rest(job: &Job, now: Timestamp) -> Duration {
    let since = job.ended.map_or(Duration::ZERO, |ended| between(ended, now));
    LETS_GO.saturating_sub(since)
}

/// Plans and submits.
async fn launch(
    model: &Model,
    record: LaunchRecord,
    session: &Session,
    terminal: &Terminal,
) -> Result<Found, CliError> {
    let spec = &model.spec;
    let (placement, nodes) = place(model, session, terminal).await?;
    let target = session.target(None);
    let mut tries = 0;
    let launched = loop {
        tries += 1;
        match session.bridge.launch(&target, spec, &placement).await {
            Ok(launched) => break launched,
            // A launch that timed out may have been applied; its name makes a second submit harmless.
            Err(LaunchError::Call(error)) if error.retryable() && tries < TRIES => {
                terminal.progress(&format!("launching again: {error}"));
                sleep(session.pace).await;
            }
            Err(error) => return Err(error::launch(error)),
        }
    };
    if launched == Launched::AlreadyThere && tries == 1 {
        return Err(CliError::failed(
            format!("engine {}: somebody else has just submitted a job of this name", spec.name),
            format!("see: ray-bridge status {}", spec.name),
        ));
    }
    let Some(job) = session.job(&spec.name).await? else {
        return Err(CliError::failed(
            format!("engine {}: Ray accepted the job but does not list it", spec.name),
            "deploy again",
        ));
    };
    let engine = session.engine_url(&record, &placement, &nodes);
    Ok(Found { id: spec.name.clone(), job, record: Some(record), plan: Some(placement), engine })
}

/// Plans. Ray reports the GPUs of an engine that has just ended as reserved for a while, so this waits for
/// them.
async fn place(
    model: &Model,
    session: &Session,
    terminal: &Terminal,
) -> Result<(Placement, Vec<RayNode>), CliError> {
    let all = Policy { free: FreeGpus::All, ..model.policy.clone() };
    let began = clock::now();
    let mut reported = false;
    loop {
        let nodes = plan::nodes(session).await?;
        let (document, placement) = plan::make(&model.spec, &model.policy, &nodes);
        if let Some(placement) = placement {
            for node in &document.avoided {
                terminal.progress(&plan::avoided(node));
            }
            return Ok((placement, nodes));
        }
        let missing = document.missing.unwrap_or_default();
        let may_be_free_soon = placement::plan(model.spec.shape, &nodes, &all).is_ok();
        if !may_be_free_soon || between(began, clock::now()) >= REPORT {
            let message = format!("engine {} does not fit: {missing}", document.name);
            return Err(CliError::failed(message, document.cure.unwrap_or_default()));
        }
        if !std::mem::replace(&mut reported, true) {
            let seconds = REPORT.as_secs();
            terminal.progress(&format!("waiting up to {seconds} s for GPUs to be reported free: {missing}"));
        }
        sleep(session.pace).await;
    }
}

/// The plan that an engine was launched with, as a document.
async fn started(found: &Found, session: &Session) -> Result<Plan, CliError> {
    let nodes = plan::nodes(session).await?;
    let placement = found.plan.as_ref();
    let placement =
        placement.ok_or_else(|| CliError::plain(format!("engine {}: no plan in its job", found.id)))?;
    Ok(plan::of(&found.id, placement, found.engine.as_ref(), &nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::job;
    use crate::model::tests::tiny;

    #[test]
    fn a_job_of_the_name_is_kept_replaced_or_left_alone() {
        let wanted = LaunchRecord::of(&tiny("", "").spec);
        let other = LaunchRecord::of(&tiny("'1'", "'2'").spec);
        assert_eq!(decide(None, &wanted), Decision::Launch);
        for (status, record, decision) in [
            ("RUNNING", &wanted, Decision::Keep),
            ("PENDING", &wanted, Decision::Keep),
            ("RUNNING", &other, Decision::Refuse),
            ("STOPPED", &wanted, Decision::Replace),
            ("FAILED", &other, Decision::Replace),
            ("SUCCEEDED", &wanted, Decision::Replace),
        ] {
            assert_eq!(decide(Some(&job(status, record)), &wanted), decision, "{status}");
        }
    }

    #[test]
    fn a_job_that_has_just_ended_is_removed_after_a_pause() {
        let mut job = job("STOPPED", &LaunchRecord::of(&tiny("", "").spec));
        let ended = Timestamp::from_second(1_000).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        job.ended = Some(ended);
        assert_eq!(rest(&job, at(1_001)), Duration::from_secs(3));
        assert_eq!(rest(&job, at(1_100)), Duration::ZERO);
        assert_eq!(rest(&job, at(900)), LETS_GO, "a clock behind Ray's");
        job.ended = None;
        assert_eq!(rest(&job, at(1_100)), LETS_GO);
    }
}
