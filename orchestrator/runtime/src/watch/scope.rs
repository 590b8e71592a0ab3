//! Parts of a cluster: each is listed and watched by itself. Pure.

use std::collections::BTreeSet;

use crate::Key;

/// A part of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All of it.
    #[default]
    All,
    /// One namespace.
    In(String),
    /// All namespaces but these.
    Outside(BTreeSet<String>),
}

impl Scope {
    /// Whether an object is in it.
    pub fn holds<N>(&self, key: &Key<N>) -> bool {
        match self {
            Self::All => true,
            Self::In(namespace) => *namespace == key.namespace,
            Self::Outside(namespaces) => !namespaces.contains(&key.namespace),
        }
    }

    /// Path of the objects of a kind in it, given the path of its group and the plural of its name.
    pub fn path(&self, group: &str, plural: &str) -> String {
        match self {
            Self::In(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            Self::All | Self::Outside(_) => format!("{group}/{plural}"),
        }
    }

    /// The field selector that leaves out what is not in it, where the path does not.
    pub fn fields(&self) -> Option<String> {
        let Self::Outside(namespaces) = self else { return None };
        let out: Vec<String> = namespaces.iter().map(|name| format!("metadata.namespace!={name}")).collect();
        Some(out.join(","))
    }
}
