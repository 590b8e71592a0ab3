//! Converts amounts of typed objects to thousandths.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rayfleet_api::quantity::quantity;

use super::requests::Resources;

/// Amounts that can be parsed; others are left out.
pub(super) fn amounts(quantities: &BTreeMap<String, Quantity>) -> Resources {
    quantities.iter().filter_map(|(name, amount)| Some((name.clone(), quantity(&amount.0)?))).collect()
}
