//! Reads a manifest back as the API server and the orchestrator will: what they would refuse is never printed.

use ray_bridge_model::{FieldError, standalone};
use rayfleet_api::{RayClusterFleet, ValidFleet};
use rayfleet_cli_kit::CliError;
use serde_json::Value;

/// The documents of a manifest, of which the first is the fleet; or the field that would be refused.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, CliError> {
    let documents = rayfleet_lint::read::objects(text.as_bytes())
        .map_err(|error| refused(&format!("the manifest {error}")))?;
    let fleet = documents.first().cloned().unwrap_or_default();
    let problems = problems(fleet)?;
    if problems.is_empty() {
        return Ok(documents);
    }
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(refused(&problems.join("; ")))
}

/// By the schema of the model block, as the API server has it; then by the orchestrator's rules.
fn problems(fleet: Value) -> Result<Vec<FieldError>, CliError> {
    let within = |problem: FieldError| problem.within("spec.model");
    if let Err(problems) = standalone::model(&fleet["spec"]["model"]) {
        return Ok(problems.into_iter().map(within).collect());
    }
    let raw: RayClusterFleet = serde_json::from_value(fleet).map_err(|error| refused(&error.to_string()))?;
    Ok(match ValidFleet::new(&raw) {
        Ok(valid) => valid.launch_problems(),
        Err(problems) => problems,
    })
}

fn refused(problems: &str) -> CliError {
    CliError::usage(
        format!("the fleet would be refused: {problems}"),
        "change the flag or the key of the profile that this field is made of: kubectl rayfleet template --help",
    )
}
