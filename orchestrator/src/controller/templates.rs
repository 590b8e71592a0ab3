//! What KubeRay's CRD says of templates, asked once for each. What follows from an objection is the controller's business.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayfleet_api::ValidFleet;

use super::TRY_AGAIN;
use crate::clock;
use crate::cluster::{Executor, Key, WriteError};

/// Templates that KubeRay's CRD was asked about.
#[derive(Debug, Default)]
pub(super) struct Templates {
    asked: Mutex<BTreeMap<Key, Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    /// Pod revision of the template.
    revision: String,
    /// The objection, and when it was heard: KubeRay may be upgraded.
    objection: Option<(String, Instant)>,
}

impl Templates {
    /// What KubeRay's CRD has against a fleet's template.
    pub(super) async fn objection(
        &self,
        executor: &Executor,
        fleet: &ValidFleet,
    ) -> Result<Option<String>, WriteError> {
        let key = Key::new(&fleet.namespace, &fleet.name);
        let known = self.known(&key).filter(|answer| answer.revision == fleet.revision.pod);
        match known.map(|answer| answer.objection) {
            Some(None) => return Ok(None),
            Some(Some((words, when))) if clock::monotonic().saturating_duration_since(when) < TRY_AGAIN => {
                return Ok(Some(words));
            }
            Some(Some(_)) | None => {}
        }
        let words = match executor.try_cluster(fleet).await {
            Ok(()) => None,
            Err(error) => match error.rejected() {
                Some(words) => Some(words.to_owned()),
                None => return Err(error),
            },
        };
        let objection = words.clone().map(|words| (words, clock::monotonic()));
        let answer = Answer { revision: fleet.revision.pod.clone(), objection };
        self.lock().insert(key, answer);
        Ok(words)
    }

    /// The fleet is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn known(&self, key: &Key) -> Option<Answer> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Answer>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
