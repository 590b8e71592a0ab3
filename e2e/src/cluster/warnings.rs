//! Warning events about a fleet, as `kubectl describe` shows them.

use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::call;
use super::fleet::Fleet;

/// A warning event.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Reason, as one word.
    pub reason: String,
    /// Message for people.
    pub message: String,
}

/// The warnings about a fleet.
pub async fn warnings(fleet: &Fleet) -> anyhow::Result<Vec<Warning>> {
    let api: Api<Event> = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
    let params = ListParams::default().fields(&format!("involvedObject.name={},type=Warning", fleet.name));
    let events = call("list events", api.list(&params)).await?.items;
    let warning = |event: Event| Warning {
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    };
    Ok(events.into_iter().map(warning).collect())
}
