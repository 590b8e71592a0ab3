//! Names of namespaced objects, as keys of maps and queues.

use std::fmt;
use std::ops::Deref;

use kube::{Resource, ResourceExt};

/// Namespace and name; `N` is what the names of such objects are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<N = String> {
    /// Namespace; empty for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: N,
}

impl<N> Key<N> {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<N>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Another object of the same namespace.
    #[must_use]
    pub fn sibling<M>(&self, name: impl Into<M>) -> Key<M> {
        Key::new(self.namespace.clone(), name)
    }
}

impl<N: Deref<Target = str>> Key<N> {
    /// The key with its name as text, for what holds keys of several kinds.
    #[must_use]
    pub fn untyped(&self) -> Key {
        Key::new(self.namespace.clone(), &*self.name)
    }
}

impl Key {
    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }

    /// The key with its text as the name of an object of one kind. The caller knows the kind.
    #[must_use]
    pub fn typed<N: for<'a> From<&'a str>>(&self) -> Key<N> {
        Key::new(self.namespace.clone(), &*self.name)
    }
}

impl<N: fmt::Display> fmt::Display for Key<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            self.name.fmt(f)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}
