//! The simulated API server as the program sees it, with fleets in the namespace `serving`.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use rayfleet_sim_kube::api::{ApiServer, Interceptor, Kind, Passthrough};
use serde_json::{Value, json};

use crate::fleets::Fleets;

/// The server.
#[derive(Clone)]
pub(crate) struct Simulated(pub(crate) ApiServer);

impl Simulated {
    /// A server with these fleets, all but what it says of them itself: UID, generation, versions.
    pub(crate) fn with(fleets: impl IntoIterator<Item = DynamicObject>) -> Self {
        let server = ApiServer::new();
        server.create(&Kind::NAMESPACE, json!({"metadata": {"name": "serving"}})).unwrap();
        for mut fleet in fleets {
            (fleet.metadata.uid, fleet.metadata.resource_version) = (None, None);
            server.create(&Kind::FLEET, json!(fleet)).unwrap();
            // A create leaves the status out.
            let status = json!({"status": fleet.data["status"]});
            server.merge_patch_status(&Kind::FLEET, "serving", &fleet.name_any(), &status).unwrap();
        }
        Self(server)
    }

    /// The fleet `llama` as it is now.
    pub(crate) fn llama(&self) -> DynamicObject {
        let found = self.0.get(&Kind::FLEET, "serving", "llama").unwrap();
        serde_json::from_value(Value::clone(&found)).unwrap()
    }

    /// What the program has sent to change something.
    pub(crate) fn patches(&self) -> Vec<Value> {
        self.0.writes(0).iter().map(|write| write.call.body.clone()).collect()
    }

    /// The server as the program sees it.
    pub(crate) fn fleets(&self) -> Fleets {
        self.fleets_with(Passthrough)
    }

    /// The same, with something that befalls the program's calls.
    pub(crate) fn fleets_with(&self, interceptor: impl Interceptor + 'static) -> Fleets {
        fleets(self.0.client("kubectl", "serving", Arc::new(interceptor)))
    }
}

/// What a client reaches, as the program sees it.
pub(crate) fn fleets(client: Client) -> Fleets {
    Fleets {
        client,
        namespace: "serving".to_owned(),
        server: "https://simulated".to_owned(),
        timeout: Duration::from_secs(10),
        recorded: false,
        moment: None,
    }
}
