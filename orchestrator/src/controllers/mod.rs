//! One folder for each controller: what it looks at, what it decides by, what it writes. They share the index and the executor, and
//! know nothing of each other: what one has to say to another stands in the index.

mod budgets;
mod fleet;

pub(crate) use self::budgets::BudgetReconciler;
pub(crate) use self::fleet::FleetReconciler;
