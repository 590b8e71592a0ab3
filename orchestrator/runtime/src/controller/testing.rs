//! What tests look at or do without the loop.

use super::{Controller, Next, Reconciler};
use crate::WriteError;

impl<R: Reconciler> Controller<R> {
    /// Keys of which something is remembered.
    pub fn remembered(&self) -> Vec<R::Key> {
        self.states.lock().keys().cloned().collect()
    }

    /// One pass alone: what it comes to, without the queue.
    pub async fn reconcile(&self, key: &R::Key) -> Result<Next, WriteError> {
        let mut state = self.states.lock().remove(key).unwrap_or_default();
        let next = self.reconciler.reconcile(key, &mut state).await;
        if !matches!(next, Ok(Next::Gone)) {
            self.states.lock().insert(key.clone(), state);
        }
        next
    }
}
