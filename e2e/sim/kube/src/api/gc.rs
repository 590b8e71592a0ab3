//! Garbage collection: dependents without owners, owners that wait for dependents or orphan them,
//! terminating namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::{DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use super::fields::{deleting, finalizers, metadata, put, set_finalizers, text};
use super::store::Store;
use super::write::Target;
use super::{Kind, fields};

/// An object with its location.
#[derive(Clone)]
struct Node {
    kind: Kind,
    object: Arc<Value>,
}

impl Node {
    fn target(&self) -> Target<'_> {
        Target::direct(&self.kind, fields::namespace(&self.object), fields::name(&self.object))
    }

    fn owners(&self) -> &[Value] {
        fields::list(&self.object, "/metadata/ownerReferences")
    }

    fn waits(&self) -> bool {
        deleting(&self.object) && finalizers(&self.object).contains(&FOREGROUND)
    }
}

/// What an owner reference refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Solid,
    /// The owner waits for this dependent before it is deleted.
    Waiting,
    Dangling,
    /// The server does not know the owner's kind, so it cannot decide.
    Unknown,
}

impl Store {
    /// One pass over all objects. Returns whether it changed something, so that another pass may find more.
    pub(super) fn collect_garbage(&mut self) -> bool {
        self.gc_pending = false;
        if !std::mem::take(&mut self.suspicious) {
            return false;
        }
        let before = self.version;
        let nodes = self.nodes();
        let by_uid: BTreeMap<&str, &Node> =
            nodes.iter().map(|node| (fields::uid(&node.object), node)).collect();
        let mut dependents: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        for node in &nodes {
            for owner in node.owners() {
                dependents.entry(text(owner, "/uid")).or_default().push(node);
            }
        }
        for node in &nodes {
            if !node.owners().is_empty() && !deleting(&node.object) {
                self.tend_dependent(node, &by_uid, &dependents);
            }
        }
        for node in &nodes {
            let own = dependents.get(fields::uid(&node.object)).map(Vec::as_slice).unwrap_or_default();
            self.tend_owner(node, own);
        }
        self.end_namespaces();
        self.version > before
    }

    fn nodes(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.stored() == *kind) {
            nodes.extend(self.all(&kind).map(|object| Node { kind, object: object.clone() }));
        }
        nodes
    }

    fn owner(&self, node: &Node, reference: &Value, by_uid: &BTreeMap<&str, &Node>) -> Owner {
        let kind = Kind::of(text(reference, "/apiVersion"), text(reference, "/kind"));
        let Some(kind) = kind.filter(|kind| self.installed(kind)) else { return Owner::Unknown };
        let Some(owner) = by_uid.get(text(reference, "/uid")) else { return Owner::Dangling };
        let near = !kind.namespaced || fields::namespace(&owner.object) == fields::namespace(&node.object);
        if owner.kind != kind.stored() || !near {
            return Owner::Dangling;
        }
        let blocks = reference.get("blockOwnerDeletion") == Some(&Value::Bool(true));
        if owner.waits() && blocks { Owner::Waiting } else { Owner::Solid }
    }

    fn tend_dependent(
        &mut self,
        node: &Node,
        by_uid: &BTreeMap<&str, &Node>,
        dependents: &BTreeMap<&str, Vec<&Node>>,
    ) {
        let owners: Vec<Owner> =
            node.owners().iter().map(|reference| self.owner(node, reference, by_uid)).collect();
        let any = |wanted: Owner| owners.contains(&wanted);
        if any(Owner::Unknown) {
            return;
        }
        if any(Owner::Solid) {
            let kept: Vec<Value> = node
                .owners()
                .iter()
                .zip(&owners)
                .filter(|(_, owner)| **owner == Owner::Solid)
                .map(|(reference, _)| reference.clone())
                .collect();
            if kept.len() < owners.len() {
                self.set_owners(node, &kept);
            }
            return;
        }
        let has_dependents = dependents.contains_key(fields::uid(&node.object));
        let held = finalizers(&node.object);
        let propagation = if held.contains(&ORPHAN) {
            Propagation::Orphan
        } else if held.contains(&FOREGROUND) || (any(Owner::Waiting) && has_dependents) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        let uid = Some(fields::uid(&node.object).to_owned());
        let options = DeleteOptions { propagation: Some(propagation), uid, ..DeleteOptions::default() };
        // It may have been deleted or changed meanwhile: the next pass handles it.
        let _ = self.delete(&node.target(), &options);
    }

    fn set_owners(&mut self, node: &Node, owners: &[Value]) {
        let target = node.target();
        let Some(found) = self.get(target.kind, target.namespace, target.name).cloned() else { return };
        let mut next = Value::clone(&found);
        put(metadata(&mut next), "ownerReferences", (!owners.is_empty()).then(|| json!(owners)));
        // As above.
        let _ = self.update(&target, &found, next);
    }

    fn tend_owner(&mut self, node: &Node, dependents: &[&Node]) {
        if !deleting(&node.object) {
            return;
        }
        let uid = fields::uid(&node.object);
        let held = finalizers(&node.object);
        if held.contains(&ORPHAN) {
            for dependent in dependents {
                let others: Vec<Value> =
                    dependent.owners().iter().filter(|owner| text(owner, "/uid") != uid).cloned().collect();
                self.set_owners(dependent, &others);
            }
            self.release(node, ORPHAN);
        }
        let blocking = dependents.iter().any(|dependent| {
            dependent.owners().iter().any(|owner| {
                text(owner, "/uid") == uid && owner.get("blockOwnerDeletion") == Some(&Value::Bool(true))
            })
        });
        if held.contains(&FOREGROUND) && !blocking {
            self.release(node, FOREGROUND);
        }
    }

    fn release(&mut self, node: &Node, finalizer: &str) {
        let target = node.target();
        let Some(found) = self.get(target.kind, target.namespace, target.name).cloned() else { return };
        let mut next = Value::clone(&found);
        let left: Vec<String> =
            finalizers(&found).into_iter().filter(|name| *name != finalizer).map(str::to_owned).collect();
        set_finalizers(&mut next, &left);
        // As above.
        let _ = self.update(&target, &found, next);
    }

    fn end_namespaces(&mut self) {
        let ending: Vec<Arc<Value>> =
            self.all(&Kind::NAMESPACE).filter(|namespace| deleting(namespace)).cloned().collect();
        for namespace in ending {
            let name = fields::name(&namespace).to_owned();
            let inside: Vec<Node> =
                self.nodes().into_iter().filter(|node| fields::namespace(&node.object) == name).collect();
            for node in &inside {
                let options =
                    DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
                // As above.
                let _ = self.delete(&node.target(), &options);
            }
            if self.nodes().iter().all(|node| fields::namespace(&node.object) != name) {
                self.drop(&Kind::NAMESPACE, "", &name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::clock::Clock;

    fn owner(uid: &str) -> Value {
        json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "o", "uid": uid, "blockOwnerDeletion": true})
    }

    fn world(owners: &[Value]) -> Store {
        let mut store = Store::new(Clock::start());
        store.put(&Kind::RAY_CLUSTER, json!({"metadata": {"namespace": "n", "name": "o", "uid": "o"}}));
        let metadata = json!({"namespace": "n", "name": "p", "uid": "p", "ownerReferences": owners});
        store.put(&Kind::POD, json!({"metadata": metadata, "spec": {"containers": [{"name": "c"}]}}));
        store
    }

    fn settle(store: &mut Store) {
        while store.collect_garbage() {}
    }

    fn delete(store: &mut Store, propagation: Propagation) {
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        store.delete(&Target::direct(&Kind::RAY_CLUSTER, "n", "o"), &options).unwrap();
    }

    fn there(store: &Store) -> (bool, bool) {
        (store.get(&Kind::RAY_CLUSTER, "n", "o").is_some(), store.get(&Kind::POD, "n", "p").is_some())
    }

    #[tokio::test(start_paused = true)]
    async fn background_deletion_deletes_dependents_after_their_owner() {
        let mut store = world(&[owner("o")]);
        settle(&mut store);
        assert_eq!(there(&store), (true, true));
        delete(&mut store, Propagation::Background);
        assert_eq!(there(&store), (false, true));
        settle(&mut store);
        assert_eq!(there(&store), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn foreground_deletion_deletes_dependents_first() {
        let mut store = world(&[owner("o")]);
        let mut pod = Value::clone(store.get(&Kind::POD, "n", "p").unwrap());
        pod["spec"]["nodeName"] = json!("node");
        store.put(&Kind::POD, pod);
        delete(&mut store, Propagation::Foreground);
        settle(&mut store);
        assert_eq!(there(&store), (true, true), "the pod ends gracefully, the owner waits for it");
        let now = DeleteOptions { grace: Some(0), ..DeleteOptions::default() };
        store.delete(&Target::direct(&Kind::POD, "n", "p"), &now).unwrap();
        settle(&mut store);
        assert_eq!(there(&store), (false, false));
    }

    #[tokio::test(start_paused = true)]
    async fn orphaned_dependents_lose_the_owner_reference_and_stay() {
        let mut store = world(&[owner("o")]);
        delete(&mut store, Propagation::Orphan);
        settle(&mut store);
        assert_eq!(there(&store), (false, true));
        assert!(store.get(&Kind::POD, "n", "p").unwrap()["metadata"].get("ownerReferences").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dependent_of_a_missing_owner_is_deleted_unless_another_owner_exists() {
        let mut store = world(&[owner("never")]);
        settle(&mut store);
        assert_eq!(there(&store), (true, false));
        let mut store = world(&[owner("never"), owner("o")]);
        settle(&mut store);
        assert_eq!(there(&store), (true, true));
        let left = &store.get(&Kind::POD, "n", "p").unwrap()["metadata"]["ownerReferences"];
        assert_eq!(left, &json!([owner("o")]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_of_an_unknown_kind_keeps_its_dependent() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d"});
        let mut store = world(&[deployment]);
        settle(&mut store);
        assert_eq!(there(&store), (true, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_namespace_deletes_its_objects() {
        let mut store = world(&[]);
        store.put(&Kind::NAMESPACE, json!({"metadata": {"name": "n", "uid": "n"}}));
        store.delete(&Target::direct(&Kind::NAMESPACE, "", "n"), &DeleteOptions::default()).unwrap();
        assert_eq!(there(&store), (true, true));
        settle(&mut store);
        assert_eq!(there(&store), (false, false));
        assert!(store.get(&Kind::NAMESPACE, "", "n").is_none());
    }
}
