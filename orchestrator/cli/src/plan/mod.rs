//! `kubectl rayfleet plan`: predicts the effect of a change with the orchestrator's own planner on the
//! present state of the cluster. Read-only.

mod apply;
mod read;
mod show;

use rayfleet_cli_kit::{CliError, Terminal, clock};
use rayfleet_core::forecast::{Outcome, Pace, Question, forecast};
pub(crate) use read::node;

use crate::args::PlanArgs;
use crate::fleets::Fleets;

pub(crate) async fn run(args: &PlanArgs, fleets: &Fleets, terminal: &Terminal) -> Result<(), CliError> {
    let inputs = read::inputs(args, fleets).await?;
    let mut pace = Pace::of(&inputs.fleet, &inputs.status);
    if let Some(start) = args.start {
        pace = Pace { start, observed: true, ..pace };
    }
    let question = Question {
        fleet: &inputs.fleet,
        stable: inputs.stable.as_ref(),
        status: &inputs.status,
        capacity: &inputs.capacity,
        pace,
        now: clock::now(),
    };
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
