//! AIBrix's CRD of the same name in place of Rayfleet's. It silently prunes the fields that it does not
//! know from every fleet that is written, and from every fleet that is read; a fleet that is not written
//! meanwhile is complete again afterwards.

use std::sync::Arc;

use serde_json::Value;

use super::store::{Foreign, Store};
use super::{Kind, fields};

/// Fields of AIBrix's spec.
const SPEC: [&str; 8] = [
    "minReadySeconds",
    "paused",
    "progressDeadlineSeconds",
    "replicas",
    "revisionHistoryLimit",
    "selector",
    "strategy",
    "template",
];

/// Fields of AIBrix's status.
const STATUS: [&str; 9] = [
    "availableReplicas",
    "collisionCount",
    "conditions",
    "observedGeneration",
    "readyReplicas",
    "replicas",
    "scalingTargetSelector",
    "unavailableReplicas",
    "updatedReplicas",
];

impl Store {
    /// Applies AIBrix's CRD.
    pub(super) fn replace_fleet_crd(&mut self) {
        if self.foreign.is_some() {
            return;
        }
        let fleets: Vec<Arc<Value>> = self.all(&Kind::FLEET).cloned().collect();
        let mut foreign = Foreign::default();
        for whole in fleets {
            let key = (fields::namespace(&whole).to_owned(), fields::name(&whole).to_owned());
            let mut shown = Value::clone(&whole);
            prune(&mut shown);
            let shown = self.put(&Kind::FLEET, shown);
            foreign.whole.insert(key, (version(&shown), whole));
        }
        self.foreign = Some(foreign);
    }

    /// Applies Rayfleet's CRD again.
    pub(super) fn restore_fleet_crd(&mut self) {
        let Some(foreign) = self.foreign.take() else { return };
        for ((namespace, name), (shown, whole)) in foreign.whole {
            let missing =
                self.get(&Kind::FLEET, &namespace, &name).is_some_and(|there| version(there) == shown);
            if missing {
                self.put(&Kind::FLEET, Value::clone(&whole));
            }
        }
    }

    /// Prunes an object that is written to what the present CRD keeps.
    pub(super) fn as_kept(&self, kind: &Kind, object: &mut Value) {
        if self.foreign.is_some() && *kind == Kind::FLEET {
            prune(object);
        }
    }
}

fn version(object: &Value) -> String {
    fields::text(object, "/metadata/resourceVersion").to_owned()
}

fn prune(fleet: &mut Value) {
    let keep = |section: Option<&mut Value>, known: &[&str]| {
        if let Some(section) = section.and_then(Value::as_object_mut) {
            section.retain(|field, _| known.contains(&field.as_str()));
        }
    };
    keep(fleet.get_mut("spec"), &SPEC);
    keep(fleet.get_mut("status"), &STATUS);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::clock::Clock;

    fn fleet(name: &str) -> Value {
        json!({
            "metadata": {"namespace": "n", "name": name},
            "spec": {"replicas": 1, "model": {"name": "m"}},
            "status": {"readyReplicas": 1, "groups": [{"name": "g"}]},
        })
    }

    #[tokio::test(start_paused = true)]
    async fn only_fleets_written_under_the_other_crd_lose_fields() {
        let mut store = Store::new(Clock::start());
        store.put(&Kind::FLEET, fleet("rests"));
        store.put(&Kind::FLEET, fleet("written"));
        store.replace_fleet_crd();
        let pruned = json!({"replicas": 1});
        for fleet in store.all(&Kind::FLEET) {
            assert_eq!((&fleet["spec"], &fleet["status"]), (&pruned, &json!({"readyReplicas": 1})));
        }
        let mut sent = fleet("written");
        store.as_kept(&Kind::FLEET, &mut sent);
        store.put(&Kind::FLEET, sent);
        store.restore_fleet_crd();
        let groups = |name: &str| store.get(&Kind::FLEET, "n", name).unwrap()["status"]["groups"].is_array();
        assert_eq!((groups("rests"), groups("written")), (true, false));
    }
}
