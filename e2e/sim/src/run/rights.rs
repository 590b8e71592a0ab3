//! What `manifests/` lets the orchestrator's account do, by Kubernetes' rules (RBAC). A run refuses every call that it does not allow, as
//! an API server would, and remembers which of the rights were used.

use std::collections::BTreeSet;
use std::fmt;

use rayfleet_sim_kube::api::{Call, Verb};
use serde::Deserialize;

/// The account that the orchestrator runs with.
const ACCOUNT: (&str, &str) = ("rayfleet-system", "rayfleet-orchestrator");

macro_rules! manifest {
    ($name:literal) => {
        include_str!(concat!("../../../../manifests/", $name))
    };
}

/// How the orchestrator is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Install {
    /// For all namespaces.
    #[default]
    Everywhere,
    /// For the namespace of the fleet, and what there is room for may be read.
    Namespaced,
    /// For the namespace of the fleet, and nothing of the rest of the cluster may be read.
    Confined,
}

impl Install {
    /// What its manifests let it do, where `namespace` is the one that is named.
    pub fn rights(self, namespace: &str) -> Rights {
        let role = (manifest!("namespaced/role/role.yaml"), namespace);
        let of_all = (manifest!("rbac.yaml"), "");
        let capacity = (manifest!("namespaced/capacity.yaml"), "");
        let account = (manifest!("orchestrator/account.yaml"), "");
        let all = match self {
            Self::Everywhere => Rights::of(&[account, of_all]),
            Self::Namespaced => Rights::of(&[account, role, capacity]),
            Self::Confined => Rights::of(&[account, role]),
        };
        Rights { within: (self != Self::Everywhere).then(|| namespace.to_owned()), all }
    }
}

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Namespace; none for all of them.
    pub namespace: Option<String>,
    /// API group.
    pub group: String,
    /// Plural, with a subresource behind a slash.
    pub resource: String,
    /// Verb.
    pub verb: String,
    /// Name of the only object, if there is one.
    pub name: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{} {}{dot}{}", self.verb, self.resource, self.group)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// All rights of the account.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    all: Vec<Right>,
    /// The namespace that was chosen.
    within: Option<String>,
}

impl Rights {
    /// Reads manifests, each with the namespace that it is applied in where it does not say so itself.
    fn of(manifests: &[(&str, &str)]) -> Vec<Right> {
        let objects: Vec<Object> =
            manifests.iter().flat_map(|(text, namespace)| read(text, namespace)).collect();
        let bound = objects.iter().filter(|object| object.kind.ends_with("Binding") && object.is_ours());
        let mut rights: Vec<Right> = bound
            .flat_map(|binding| {
                let scope = (binding.kind == "RoleBinding").then(|| binding.metadata.namespace.clone());
                let is_meant = |role: &&Object| {
                    role.kind == binding.role_ref.kind
                        && role.metadata.name == binding.role_ref.name
                        && (role.kind == "ClusterRole" || Some(&role.metadata.namespace) == scope.as_ref())
                };
                let roles = objects.iter().filter(is_meant).flat_map(|role| &role.rules);
                roles.flat_map(|rule| rule.rights(scope.as_ref())).collect::<Vec<_>>()
            })
            .collect();
        // The narrowest first: it is the one that is used.
        rights.sort_by_key(|right| (right.namespace.is_none(), right.clone()));
        rights
    }

    /// The right that allows a call.
    pub fn allowing(&self, call: &Call) -> Option<&Right> {
        let resource = match &call.subresource {
            Some(subresource) => format!("{}/{subresource}", call.kind.plural),
            None => call.kind.plural.to_owned(),
        };
        let verb = word(call.verb);
        // What is to be created has no name yet when the API server asks.
        let name = Some(&call.name).filter(|_| call.verb != Verb::Create);
        self.all.iter().find(|right| {
            right.group == call.kind.group
                && right.resource == resource
                && right.verb == verb
                && right.namespace.as_ref().is_none_or(|namespace| *namespace == call.namespace)
                && right.name.as_ref().is_none_or(|only| Some(only) == name)
        })
    }

    /// Whether a call that is not allowed may be made all the same: reading outside the chosen namespace is only tried.
    pub fn may_try(&self, call: &Call) -> bool {
        let outside = self.within.as_ref().is_some_and(|within| *within != call.namespace);
        outside && !call.verb.is_write() && call.namespace != ACCOUNT.0
    }

    /// Rights that are not among those that were used.
    pub fn beside(&self, used: &BTreeSet<Right>) -> Vec<String> {
        self.all.iter().filter(|right| !used.contains(*right)).map(ToString::to_string).collect()
    }
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::List => "list",
        Verb::Watch => "watch",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deletecollection",
    }
}

/// An object of a manifest, as far as it is about rights.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    role_ref: Named,
    #[serde(default)]
    subjects: Vec<Named>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Default, Deserialize)]
struct Named {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Object {
    fn is_ours(&self) -> bool {
        self.subjects.iter().any(|subject| {
            subject.kind == "ServiceAccount" && (&*subject.namespace, &*subject.name) == ACCOUNT
        })
    }
}

impl Rule {
    fn rights(&self, namespace: Option<&String>) -> Vec<Right> {
        let names: Vec<Option<String>> = match self.resource_names.as_slice() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        let mut rights = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    rights.extend(names.iter().map(|name| Right {
                        namespace: namespace.cloned(),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
        rights
    }
}

fn read(text: &str, namespace: &str) -> Vec<Object> {
    let mut objects: Vec<Object> = match serde_saphyr::from_multiple(text) {
        Ok(objects) => objects,
        Err(error) => unreachable!("the manifests are a part of the program: {error}"),
    };
    for object in objects.iter_mut().filter(|object| object.metadata.namespace.is_empty()) {
        namespace.clone_into(&mut object.metadata.namespace);
    }
    objects
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use rayfleet_sim_kube::api::Kind;

    fn call(verb: Verb, kind: Kind, namespace: &str, name: &str, subresource: Option<&str>) -> Call {
        Call {
            number: 1,
            who: "a".to_owned(),
            verb,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.map(str::to_owned),
            body: Value::Null,
            dry_run: false,
        }
    }

    fn may(install: Install, call: &Call) -> Option<String> {
        install.rights("n").allowing(call).map(ToString::to_string)
    }

    #[test]
    fn rights_are_where_they_are_given_and_nowhere_else() {
        let patch = |namespace: &str| call(Verb::Patch, Kind::POD, namespace, "p", Some("status"));
        assert_eq!(may(Install::Everywhere, &patch("m")).as_deref(), Some("patch pods/status"));
        assert_eq!(may(Install::Namespaced, &patch("n")).as_deref(), Some("patch pods/status in n"));
        assert_eq!(may(Install::Namespaced, &patch("m")), None);
        let list = |namespace: &str| call(Verb::List, Kind::POD, namespace, "", None);
        assert_eq!(may(Install::Namespaced, &list("n")).as_deref(), Some("list pods in n"));
        assert_eq!(may(Install::Namespaced, &list("")).as_deref(), Some("list pods"));
        assert_eq!(may(Install::Confined, &list("")), None);
        assert_eq!(may(Install::Everywhere, &call(Verb::Patch, Kind::POD, "n", "p", None)), None);
        let lease = |name: &str| call(Verb::Update, Kind::LEASE, "rayfleet-system", name, None);
        assert!(may(Install::Confined, &lease("rayfleet-orchestrator")).is_some());
        assert_eq!(may(Install::Confined, &lease("other")), None);
    }

    #[test]
    fn nothing_is_written_outside_chosen_namespaces_but_the_own_lease() {
        let rights = Install::Namespaced.rights("n").all;
        let outside = rights.iter().filter(|right| right.namespace.as_deref() != Some("n"));
        let outside: Vec<String> = outside.map(ToString::to_string).collect();
        let lease = "leases.coordination.k8s.io";
        assert_eq!(
            outside,
            [
                &format!("create {lease} in rayfleet-system"),
                &format!("get {lease} rayfleet-orchestrator in rayfleet-system"),
                &format!("update {lease} rayfleet-orchestrator in rayfleet-system"),
                "list nodes",
                "watch nodes",
                "list pods",
                "watch pods"
            ]
        );
    }

    /// In a chosen namespace the same as in all: what one of the two manifests gains, the other must.
    #[test]
    fn a_chosen_namespace_gives_what_all_give() {
        let of = |install: Install, namespace: Option<&str>| {
            let rights = install.rights("n").all;
            let rights = rights.into_iter().filter(|right| right.namespace.as_deref() == namespace);
            rights.map(|right| Right { namespace: None, ..right }.to_string()).collect::<BTreeSet<_>>()
        };
        let mut all = of(Install::Everywhere, None);
        all.retain(|right| !right.ends_with(" nodes"));
        assert_eq!(of(Install::Confined, Some("n")), all);
    }
}
