//! The lines in which the launcher reports its progress: `RAYFLEET_PHASE {"phase": "Loading", "seconds":
//! 12.5, …}`.

use serde::{Deserialize, Serialize};

const MARK: &str = "RAYFLEET_PHASE ";
const LONGEST_MESSAGE: usize = 2000;

/// The phase of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseKind {
    /// Waiting for the placement group.
    PlacementGroup,
    /// Starting the actors of the API server and of the ranks.
    Ranks,
    /// The engine is loading the model.
    Loading,
    /// The API server answers.
    Serving,
    /// The launch failed; `message` says why.
    Failed,
    /// A phase that this version does not know, from a newer launcher.
    #[serde(other)]
    Unknown,
}

/// One line of the launcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// The phase that began.
    #[serde(rename = "phase")]
    pub kind: PhaseKind,
    /// Seconds since the launcher started.
    #[serde(default)]
    pub seconds: f64,
    /// A message for people; in `Failed` the cause.
    pub message: Option<String>,
    /// In `Failed`: the phase that failed.
    pub during: Option<String>,
    /// In `Failed`: the launcher's exit code.
    pub exit_code: Option<i64>,
}

/// All phases in the end of a job's log, oldest first. Lines that cannot be parsed are skipped.
pub fn parse_phases(log: &str) -> Vec<Phase> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Phase>(line.split_once(MARK)?.1.trim()).ok())
        .map(|mut phase| {
            phase.message = phase.message.map(|m| m.chars().take(LONGEST_MESSAGE).collect());
            phase
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_between_other_output_are_read() {
        let log = "2026-11-22 INFO job_manager.py\n\
            RAYFLEET_PHASE {\"phase\": \"Loading\", \"name\": \"chat\", \"seconds\": 1.5, \"ranks\": 4}\n\
            (ApiServer pid=1) INFO x\n\
            RAYFLEET_PHASE {\"phase\": \"Failed\", \"seconds\": 2, \"during\": \"Loading\", \"exitCode\": 5, \"message\": \"no such model\"}\n";
        let phases = parse_phases(log);
        assert_eq!(
            phases.iter().map(|p| p.kind).collect::<Vec<_>>(),
            [PhaseKind::Loading, PhaseKind::Failed]
        );
        assert_eq!(phases.last().and_then(|p| p.message.as_deref()), Some("no such model"));
        assert_eq!(phases.last().and_then(|p| p.exit_code), Some(5));
    }

    #[test]
    fn cut_lines_are_skipped_and_unknown_phases_are_read() {
        assert_eq!(parse_phases("SE {\"phase\": \"Loading\"}\nRAYFLEET_PHASE {\"phase\": \"Lo"), vec![]);
        let newer = parse_phases("RAYFLEET_PHASE {\"phase\": \"Compiling\", \"percent\": 3}");
        assert_eq!(newer.first().map(|p| p.kind), Some(PhaseKind::Unknown));
    }
}
