//! What KubeRay's CRD says of a fleet's template, asked once, and once for fleets that are alike. What follows from an objection is the
//! controller's business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use rayfleet_api::{PodRevision, ValidFleet};
use rayfleet_core::HoldReason;

use super::TRY_AGAIN;
use crate::clock;
use crate::kubernetes::{Executor, Trial, WriteError};
use crate::refusal;

/// First wait after an answer that says nothing about the template; doubles up to [`TRY_AGAIN`].
const FIRST: Duration = Duration::from_secs(1);

/// How long what was admitted for one fleet counts for others that are alike.
const ADMITTED: Duration = Duration::from_mins(1);
/// Templates that are remembered as admitted.
const MOST: usize = 1024;

/// Trials that the API server has admitted a moment ago, by their fingerprints. An objection is each fleet's own to hear.
#[derive(Debug, Default)]
pub(super) struct AdmittedTemplates(Mutex<BTreeMap<(String, u64), Instant>>);

impl AdmittedTemplates {
    fn contains(&self, trial: &(String, u64), now: Instant) -> bool {
        self.0.lock().get(trial).is_some_and(|at| now.saturating_duration_since(*at) < ADMITTED)
    }

    fn insert(&self, trial: (String, u64), now: Instant) {
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.retain(|_, at| now.saturating_duration_since(*at) < ADMITTED);
        }
        if known.len() < MOST {
            known.insert(trial, now);
        }
    }
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
    held: Option<HoldReason>,
    /// When it is asked again, and how long that is after the answer. KubeRay may be upgraded, a policy be removed.
    again: Option<(Instant, Duration)>,
}

impl TemplateDryRun {
    /// What KubeRay's CRD has against a fleet's template, or why the API server does not say that now. A quota alone, which ends where a
    /// group ends, is nothing against it.
    pub(super) async fn check(
        &mut self,
        executor: &Executor,
        admitted: &AdmittedTemplates,
        fleet: &ValidFleet,
    ) -> Result<Option<HoldReason>, WriteError> {
        let known = self.asked.as_ref().filter(|answer| answer.revision == fleet.revision.pod);
        let waits = |(when, _): (Instant, Duration)| clock::monotonic() < when;
        if let Some(known) = known.filter(|answer| answer.again.is_none_or(waits)) {
            return Ok(known.held.clone());
        }
        let last = known
            .filter(|answer| answer.held.as_ref().is_some_and(|held| held.temporary))
            .and_then(|answer| answer.again);
        let trial = Trial::of(fleet);
        let fingerprint = trial.fingerprint();
        // Once: a minute later it is asked for this fleet itself.
        let is_known = known.is_none() && admitted.contains(&fingerprint, clock::monotonic());
        let tried = if is_known {
            Ok(())
        } else {
            let tried = executor.try_cluster(&trial).await;
            if tried.is_ok() {
                admitted.insert(fingerprint, clock::monotonic());
            }
            tried
        };
        let (held, wait) = match tried {
            // By another fleet's answer.
            Ok(()) if is_known => (None, Some(TRY_AGAIN)),
            Ok(()) => (None, None),
            Err(error) if error.is_not_leader() => return Err(error),
            Err(error) if error.is_quota() => (None, Some(TRY_AGAIN)),
            Err(error) => {
                if let Some(words) = error.about_the_object() {
                    (Some(refusal::template(words)), Some(TRY_AGAIN))
                } else {
                    let wait = last.map_or(FIRST, |(_, wait)| wait.saturating_mul(2).min(TRY_AGAIN));
                    (Some(refusal::not_now(&words(fleet, &error))), Some(wait))
                }
            }
        };
        let again = wait.and_then(|wait| Some((clock::monotonic().checked_add(wait)?, wait)));
        self.asked = Some(Answer { revision: fleet.revision.pod.clone(), held: held.clone(), again });
        Ok(held)
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
