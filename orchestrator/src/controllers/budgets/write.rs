//! The writes.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use rayfleet_api::ValidFleet;
use rayfleet_runtime::WriteError;
use rayfleet_runtime::writer::{gone_is_fine, if_it_is, of};

use super::BudgetReconciler;
use super::plan::Budgets;
use crate::kubernetes::{Key, controls, is_orphan};

impl BudgetReconciler {
    /// Deletes and makes `PodDisruptionBudgets`, each whatever becomes of the others; deletions first, as a quota may need the room.
    /// Gives the first failure.
    pub(super) async fn write(&self, fleet: &ValidFleet, change: Budgets) -> Result<(), WriteError> {
        let mut failed = None;
        for name in change.delete {
            let key = Key::<String>::new(&fleet.namespace, &name);
            let uid = self.index.read(|store| store.budgets.get(&key).and_then(|budget| budget.uid()));
            if let Err(error) = self.delete(&key, uid).await {
                failed.get_or_insert(error);
            }
        }
        for budget in change.create {
            if let Err(error) = self.create(fleet, &budget).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &Key, uid: Option<String>) -> Result<(), WriteError> {
        let request = of::<PodDisruptionBudget>(&key.namespace).delete(&key.name, &if_it_is(uid));
        gone_is_fine(self.executor.writer.send("delete PodDisruptionBudget", request).await.map(|_| ()))?;
        self.index.gone::<PodDisruptionBudget>(key);
        Ok(())
    }

    /// One that `kubectl delete --cascade=orphan` left gives way, and is made at the next pass; one of somebody else is a failure.
    async fn create(&self, fleet: &ValidFleet, budget: &PodDisruptionBudget) -> Result<(), WriteError> {
        let at = of::<PodDisruptionBudget>(&fleet.namespace);
        let what = ["create PodDisruptionBudget", "get PodDisruptionBudget"];
        match self.executor.create(what, &at, budget).await? {
            // The watch has not delivered it yet.
            Some((there, _)) if controls(&fleet.uid, &there) => self.index.made(there),
            Some((there, _)) if is_orphan(&there, &fleet.name) => {
                self.delete(&Key::of(budget), there.uid()).await?;
            }
            Some((_, taken)) => return Err(taken),
            None => {}
        }
        Ok(())
    }
}
