//! Changes to a manifest: a merge patch (RFC 7386) if written as a map, a JSON patch (RFC 6902) if written
//! as a list.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// A change to a fleet.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// Given fields are set; null removes.
    Merge(Value),
    /// Operations in order.
    Json(json_patch::Patch),
}

impl Patch {
    /// Parses a change.
    pub fn of(written: Value) -> Result<Self, String> {
        match written {
            Value::Object(_) => Ok(Self::Merge(written)),
            Value::Array(_) => serde_json::from_value(written)
                .map(Self::Json)
                .map_err(|error| format!("no JSON patch: {error}")),
            other => Err(format!("a patch is a map or a list, not {other}")),
        }
    }

    /// Applies the change to an object.
    pub fn apply(&self, object: &mut Value) -> Result<(), String> {
        match self {
            Self::Merge(patch) => {
                json_patch::merge(object, patch);
                Ok(())
            }
            Self::Json(patch) => json_patch::patch(object, patch).map_err(|error| error.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Patch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
