//! Name and version of an object, whatever the rest of it is. Pure.

use rayfleet_text::pieces::fields;

use crate::Key;

/// What is left of an object that cannot be read, or is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stub {
    name: String,
    namespace: String,
    /// Its resource version; empty if there is none.
    pub version: String,
}

impl Stub {
    /// Reads name and namespace, whatever else there is; `None` if there is no name.
    pub fn read(text: &str) -> Option<Self> {
        let (_, metadata) = fields(text)?.into_iter().find(|(name, _)| *name == "\"metadata\"")?;
        let mut stub = Self::default();
        for (name, value) in fields(metadata)? {
            let text = || serde_json::from_str(value).unwrap_or_default();
            match name {
                "\"name\"" => stub.name = text(),
                "\"namespace\"" => stub.namespace = text(),
                "\"resourceVersion\"" => stub.version = text(),
                _ => {}
            }
        }
        (!stub.name.is_empty()).then_some(stub)
    }

    /// Its key.
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }
}
