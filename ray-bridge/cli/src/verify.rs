//! `verify`: compares the plan that an engine was launched with with what Ray reports.

use ray_bridge::SubmissionId;
use rayfleet_cli_kit::{CliError, Terminal};
use serde::Serialize;

use crate::Answer;
use crate::connect::Session;
use crate::render::ranks;
use crate::status::look;
use crate::view::{Engine, Slot};

/// The result.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    name: String,
    as_planned: bool,
    differences: Vec<String>,
    ranks: Vec<Slot>,
}

pub(crate) async fn run(
    name: &SubmissionId,
    session: &Session,
    terminal: &Terminal,
) -> Result<Answer, CliError> {
    let found = session.find(name).await?;
    if found.plan.is_none() {
        return Err(CliError::failed(
            format!("engine {name}: its job carries no plan"),
            "only what ray-bridge or Rayfleet has launched can be verified",
        ));
    }
    let verdict = verdict(look(&found, session).await?);
    terminal.result(&verdict, &text(&verdict))?;
    Ok(if verdict.as_planned { Answer::Yes } else { Answer::No })
}

fn verdict(engine: Engine) -> Verdict {
    let mut differences = engine.differences;
    if engine.as_planned.is_none() {
        differences.push(format!("no rank was checked: the engine is {}", engine.state));
    }
    Verdict { name: engine.name, as_planned: differences.is_empty(), differences, ranks: engine.ranks }
}

fn text(verdict: &Verdict) -> String {
    if verdict.as_planned {
        let count = verdict.ranks.len();
        return format!(
            "{}: all {count} ranks are as planned\n\n{}",
            verdict.name,
            ranks::text(&verdict.ranks)
        );
    }
    let count = verdict.differences.len();
    let s = if count == 1 { "" } else { "s" };
    let lines = verdict.differences.join("\n  ");
    format!("{}: {count} difference{s} from the plan\n  {lines}\n", verdict.name)
}
