//! What KubeRay's CRD says of a fleet's template, asked once. What follows from an objection is the controller's business.

use std::time::{Duration, Instant};

use rayfleet_api::{PodRevision, ValidFleet};

use super::TRY_AGAIN;
use crate::clock;
use crate::kubernetes::{Executor, WriteError};

/// First wait after an answer that says nothing about the template; doubles up to [`TRY_AGAIN`].
const FIRST: Duration = Duration::from_secs(1);

/// What is known of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DryRunResult {
    /// KubeRay's CRD takes it, or a quota alone is in the way, which ends where a group ends.
    Fits,
    /// KubeRay's CRD refuses it: its words.
    Refused(String),
    /// The API server does not say now, or does not let us: object, words, cure.
    NotNow(String),
}

/// The template of one fleet that KubeRay's CRD was asked about.
#[derive(Debug, Default)]
pub(super) struct TemplateDryRun {
    asked: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    /// Pod revision of the template.
    revision: PodRevision,
    opinion: DryRunResult,
    /// When it is asked again, and how long that is after the answer. KubeRay may be upgraded, a policy be removed.
    again: Option<(Instant, Duration)>,
}

impl TemplateDryRun {
    /// What KubeRay's CRD has against a fleet's template.
    pub(super) async fn check(
        &mut self,
        executor: &Executor,
        fleet: &ValidFleet,
    ) -> Result<DryRunResult, WriteError> {
        let known = self.asked.as_ref().filter(|answer| answer.revision == fleet.revision.pod);
        let waits = |(when, _): (Instant, Duration)| clock::monotonic() < when;
        if let Some(known) = known.filter(|answer| answer.again.is_none_or(waits)) {
            return Ok(known.opinion.clone());
        }
        let last = known
            .filter(|answer| matches!(answer.opinion, DryRunResult::NotNow(_)))
            .and_then(|answer| answer.again);
        let (opinion, wait) = match executor.try_cluster(fleet).await {
            Ok(()) => (DryRunResult::Fits, None),
            Err(error) if error.is_not_leader() => return Err(error),
            Err(error) if error.is_quota() => (DryRunResult::Fits, Some(TRY_AGAIN)),
            Err(error) => {
                if let Some(words) = error.about_the_object() {
                    (DryRunResult::Refused(words.to_owned()), Some(TRY_AGAIN))
                } else {
                    let wait = last.map_or(FIRST, |(_, wait)| wait.saturating_mul(2).min(TRY_AGAIN));
                    (DryRunResult::NotNow(words(fleet, &error)), Some(wait))
                }
            }
        };
        let again = wait.and_then(|wait| Some((clock::monotonic().checked_add(wait)?, wait)));
        self.asked = Some(Answer { revision: fleet.revision.pod.clone(), opinion: opinion.clone(), again });
        Ok(opinion)
    }

    /// When it has to be asked again after `now`.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.asked.as_ref()?.again.map(|(when, _)| when).filter(|when| *when > now)
    }
}

fn words(fleet: &ValidFleet, error: &WriteError) -> String {
    format!(
        "RayClusters of revision {} cannot be created: {}; the groups that are there are kept meanwhile",
        fleet.revision,
        error.words()
    )
}
