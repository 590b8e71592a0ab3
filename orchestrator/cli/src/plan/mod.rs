//! `kubectl rayfleet plan`: predicts the effect of a change with the orchestrator's own planner on the
//! present state of the cluster. Read-only.

mod apply;
mod read;
mod show;

use kube::core::DynamicObject;
use rayfleet_cli_kit::{CliError, Terminal};
use rayfleet_core::forecast::{Outcome, Pace, Question, forecast};
pub(crate) use read::node;

use crate::args::PlanArgs;
use crate::fleets::Fleets;

pub(crate) async fn run(args: &PlanArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let inputs = read::inputs(args, fleets).await?;
    let mut question = question(&inputs);
    if let Some(start) = args.start {
        question.pace = Pace { start, observed: true, ..question.pace };
    }
    let forecast = forecast(&question);
    terminal.result(&show::value(&question, &forecast), &show::text(&question, &forecast, terminal.color))?;
    match forecast.outcome {
        Outcome::Complete | Outcome::Paused => Ok(()),
        Outcome::Stalled(_) | Outcome::Open => {
            let name = &inputs.fleet.name;
            Err(CliError::plain(format!("the rollout of fleet \"{name}\" would not become complete")))
        }
    }
}

/// What a fleet would come to, in one line. `object` is the fleet as it would be.
pub(crate) async fn outcome(
    object: &DynamicObject,
    fleets: &Fleets,
    color: bool,
) -> Result<String, CliError> {
    let inputs = read::of(object, &PlanArgs::default(), fleets).await?;
    let question = question(&inputs);
    Ok(show::line(&question, &forecast(&question), color))
}

fn question(inputs: &read::Inputs) -> Question<'_> {
    Question {
        fleet: &inputs.fleet,
        stable: inputs.stable.as_ref(),
        status: &inputs.status,
        capacity: &inputs.capacity,
        pace: Pace::of(&inputs.fleet, &inputs.status),
        now: inputs.now,
    }
}
