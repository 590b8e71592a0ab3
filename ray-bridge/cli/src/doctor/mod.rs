//! `doctor`: reads what a deployment depends on, and says why an engine would not be placed or not start. The
//! checks themselves are in `checks`.

mod checks;

use std::time::Duration;

use futures::future::{join, join3};
use ray_bridge::diagnose::{Diagnosis, History, Observation, StallThresholds, diagnose};
use ray_bridge::engine::plan_of;
use ray_bridge::observe::ClusterState;
use ray_bridge::{CallError, CallErrorKind as Call, Target};
use rayfleet_cli_kit::age::between;
use rayfleet_cli_kit::{CliError, Kind, Terminal, clock};
use serde::Serialize;

use crate::args::{DoctorArgs, ModelArgs, PlacementArgs};
use crate::connect::Session;
use crate::{Answer, error, model, status};

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Good.
    Ok,
    /// Works now, but may not later or elsewhere.
    Warn,
    /// Prevents a deployment.
    Fail,
}

/// One check.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    level: Level,
    #[serde(rename = "check")]
    what: &'static str,
    message: String,
    cure: Option<String>,
}

/// All checks.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

pub(crate) async fn run(
    args: &DoctorArgs,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let model = match &args.file {
        Some(file) => Some(model::load(&ModelArgs {
            file: file.clone(),
            name: args.name.clone(),
            placement: PlacementArgs::default(),
        })?),
        None => None,
    };
    let (mut found, unreachable) = reach(session).await;
    if let Some(fault) = unreachable {
        report(found, terminal)?;
        return Err(fault);
    }
    let dashboard = session.dashboard();
    let (look, groups, jobs) =
        join3(session.look(None, None), dashboard.placement_groups(&[]), dashboard.jobs()).await;
    let (groups, jobs) = (groups.map_err(error::call)?, jobs.map_err(error::call)?);
    let cluster: ClusterState =
        look?.cluster.ok_or_else(|| CliError::plain("Ray did not describe the cluster"))?;
    found.push(checks::version(&cluster.version));
    found.extend(checks::nodes(&cluster.nodes));
    found.push(checks::gpus(&cluster.nodes, &groups));
    found.extend(checks::waiting(&groups));
    if let Some(model) = &model {
        found.push(checks::name(&model.spec, &jobs));
        found.push(checks::place(model, &cluster.nodes));
        found.push(checks::port(&model.spec, &cluster.nodes, &jobs));
    }
    for (id, _) in jobs.iter().filter(|(_, job)| !job.status.has_ended() && plan_of(job).is_some()) {
        let looked = match session.find(id).await {
            Ok(found) => status::look(&found, session).await,
            Err(fault) => Err(fault),
        };
        found.push(checks::engine(id, looked));
    }
    report(found, terminal)
}

/// Whether the dashboard answers, and whether it accepts us. Returns the fault if it does not.
async fn reach(session: &Session) -> (Vec<Check>, Option<CliError>) {
    let target = session.target(None);
    let stranger = Target { token: None, ..target.clone() };
    let (with, without) = (session.bridge.dashboard(&target), session.bridge.dashboard(&stranger));
    let began = clock::now();
    let known = async { (with.version().await, between(began, clock::now())) };
    let ((known, took), unknown) = join(known, without.version()).await;
    let address = crate::view::trimmed(session.address.as_str());
    match known {
        Ok(_) => {
            let open = unknown.is_ok();
            (vec![checks::reached(&address, took), checks::auth(open, target.token.is_some())], None)
        }
        Err(error) => {
            let (history, patience) = (History::default(), StallThresholds::new(session.pace));
            let around = session.bridge.look_around(&target, &history).await;
            let diagnosis = diagnose(clock::now(), Observation::Nothing(&error, &around), &history, patience);
            refused(&address, took, error, diagnosis)
        }
    }
}

fn refused(
    address: &str,
    took: Duration,
    error: CallError,
    diagnosis: Option<Diagnosis>,
) -> (Vec<Check>, Option<CliError>) {
    let turned_away = matches!(error.kind, Call::Unauthorized | Call::Forbidden);
    let said = error.kind.to_string();
    // Any other answer is not from a Ray dashboard, which is then not reached either.
    let fault = CliError { kind: Kind::Unreachable, ..error::call(error) };
    let fail = |what, message| Check { level: Level::Fail, what, message, cure: fault.cure.clone() };
    let checks = if turned_away {
        vec![checks::reached(address, took), fail("auth", said)]
    } else {
        // The evidence begins with the error that is printed before it.
        let seen = diagnosis
            .map(|d| format!("{}: {}", d.trouble, d.evidence.get(1..).unwrap_or_default().join("; ")));
        let seen = seen.map(|message| Check { level: Level::Fail, what: "cause", message, cure: None });
        std::iter::once(fail("dashboard", format!("{address}: {said}"))).chain(seen).collect()
    };
    (checks, Some(fault))
}

fn report(checks: Vec<Check>, terminal: &Terminal) -> Result<Answer, CliError> {
    let report = Report { ok: checks.iter().all(|check| check.level != Level::Fail), checks };
    terminal.result(&report, &text(&report.checks))?;
    Ok(if report.ok { Answer::Yes } else { Answer::No })
}

fn text(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let level = match check.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let cure = check.cure.as_ref().map(|cure| format!("{:<16} cure: {cure}\n", "")).unwrap_or_default();
        format!("{level:<5} {:<10} {}\n{cure}", check.what, check.message)
    };
    checks.iter().map(line).collect()
}
