//! The writes.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{GetParams, PostParams};
use rayfleet_api::ValidFleet;
use rayfleet_runtime::WriteError;
use rayfleet_runtime::writer::{body, gone_is_fine, if_it_is, of};

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
        let request = body(budget).and_then(|body| at.create(&PostParams::default(), body));
        let error =
            match self.executor.ask::<PodDisruptionBudget>("create PodDisruptionBudget", request).await {
                Ok(created) => {
                    if let Some(created) = created {
                        self.index.made(created);
                    }
                    return Ok(());
                }
                Err(error) if error.status().is_some_and(kube::core::Status::is_already_exists) => error,
                Err(error) => return Err(error),
            };
        let name = budget.name_any();
        let request = at.get(&name, &GetParams::default());
        match self.executor.ask::<PodDisruptionBudget>("get PodDisruptionBudget", request).await? {
            // The watch has not delivered it yet.
            Some(there) if controls(&fleet.uid, &there) => self.index.made(there),
            Some(there) if is_orphan(&there, &fleet.name) => {
                self.delete(&Key::new(&fleet.namespace, &name), there.uid()).await?;
            }
            Some(_) => return Err(error),
            None => {}
        }
        Ok(())
    }
}
