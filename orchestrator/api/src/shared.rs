//! JSON that is kept once, however many copies there are of the object that it is in. No meaning of what it says.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A JSON value. Clones are the same tree, which takes some seven times its text, until one of them is changed.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Value>);

impl Shared {
    /// Whether both are one tree in memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl PartialEq<Value> for Shared {
    fn eq(&self, other: &Value) -> bool {
        *self.0 == *other
    }
}

impl From<Value> for Shared {
    fn from(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

impl Deref for Shared {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.0)
    }
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clone_is_the_same_until_it_is_changed() {
        let first = Shared::from(json!({"a": 1}));
        let mut second = first.clone();
        assert!(first.is_same(&second));
        second["a"] = json!(2);
        assert_eq!((&first["a"], &second["a"]), (&json!(1), &json!(2)));
        assert!(!first.is_same(&second) && first != second);
        assert_eq!(serde_json::to_string(&second).unwrap(), r#"{"a":2}"#);
        let read: Shared = serde_json::from_str(r#"{"a":1}"#).unwrap();
        assert!(read == first && !read.is_same(&first));
    }
}
