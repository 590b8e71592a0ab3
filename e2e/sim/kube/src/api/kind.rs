//! The kinds that the server knows: their names, and how a real server treats them differently.

use std::fmt;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    // The first field, because it alone distinguishes nearly all kinds, and they are compared often.
    /// Name of the kind, as in an object's `kind` field.
    pub kind: &'static str,
    /// API group; empty for the core.
    pub group: &'static str,
    /// API version within the group.
    pub version: &'static str,
    /// Plural resource name, as in a path.
    pub plural: &'static str,
    /// Whether it is namespaced.
    pub namespaced: bool,
}

const fn core(kind: &'static str, plural: &'static str) -> Kind {
    Kind { group: "", version: "v1", kind, plural, namespaced: true }
}

impl Kind {
    /// Pods.
    pub const POD: Self = core("Pod", "pods");
    /// Nodes.
    pub const NODE: Self = Self { namespaced: false, ..core("Node", "nodes") };
    /// Services.
    pub const SERVICE: Self = core("Service", "services");
    /// Secrets.
    pub const SECRET: Self = core("Secret", "secrets");
    /// `ConfigMaps`.
    pub const CONFIG_MAP: Self = core("ConfigMap", "configmaps");
    /// Events in the core group, which is how they are stored.
    pub const EVENT: Self = core("Event", "events");
    /// The same Events in the group events.k8s.io.
    pub const EVENTS_K8S: Self = Self { group: "events.k8s.io", ..Self::EVENT };
    /// Namespaces.
    pub const NAMESPACE: Self = Self { namespaced: false, ..core("Namespace", "namespaces") };
    /// `ResourceQuotas`.
    pub const RESOURCE_QUOTA: Self = core("ResourceQuota", "resourcequotas");
    /// `EndpointSlices`.
    pub const ENDPOINT_SLICE: Self =
        Self { group: "discovery.k8s.io", ..core("EndpointSlice", "endpointslices") };
    /// Leases.
    pub const LEASE: Self = Self { group: "coordination.k8s.io", ..core("Lease", "leases") };
    /// `ControllerRevisions`.
    pub const CONTROLLER_REVISION: Self =
        Self { group: "apps", ..core("ControllerRevision", "controllerrevisions") };
    /// `PodDisruptionBudgets`.
    pub const BUDGET: Self = Self { group: "policy", ..core("PodDisruptionBudget", "poddisruptionbudgets") };
    /// KubeRay's `RayCluster`.
    pub const RAY_CLUSTER: Self = Self { group: "ray.io", ..core("RayCluster", "rayclusters") };
    /// `RayClusterFleet`.
    pub const FLEET: Self = Self {
        group: "orchestration.aibrix.ai",
        version: "v1alpha1",
        ..core("RayClusterFleet", "rayclusterfleets")
    };
    /// AIBrix's `RayClusterReplicaSet`.
    pub const REPLICA_SET: Self =
        Self { kind: "RayClusterReplicaSet", plural: "rayclusterreplicasets", ..Self::FLEET };

    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::POD,
        Self::NODE,
        Self::SERVICE,
        Self::SECRET,
        Self::CONFIG_MAP,
        Self::EVENT,
        Self::EVENTS_K8S,
        Self::NAMESPACE,
        Self::RESOURCE_QUOTA,
        Self::ENDPOINT_SLICE,
        Self::LEASE,
        Self::CONTROLLER_REVISION,
        Self::BUDGET,
        Self::RAY_CLUSTER,
        Self::FLEET,
        Self::REPLICA_SET,
    ];

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Resource with its group, as error messages name it: `pods`, `rayclusters.ray.io`.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Kind with its group, as errors about invalid objects name it: `Pod`, `RayCluster.ray.io`.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// The kind that an owner reference names, if the server knows it.
    pub(super) fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, _) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self::ALL.into_iter().find(|known| known.group == group && known.kind == kind)
    }

    /// The kind under which its objects are stored.
    pub(super) fn stored(&self) -> Self {
        if *self == Self::EVENTS_K8S { Self::EVENT } else { *self }
    }

    /// Whether it is defined by a `CustomResourceDefinition`.
    pub(super) fn custom(&self) -> bool {
        matches!(*self, Self::RAY_CLUSTER | Self::FLEET | Self::REPLICA_SET)
    }

    /// Whether it has a `status` subresource.
    pub(super) fn has_status(&self) -> bool {
        self.custom()
            || matches!(
                *self,
                Self::POD | Self::NODE | Self::SERVICE | Self::NAMESPACE | Self::RESOURCE_QUOTA
            )
    }

    /// Whether a PUT of an object that does not exist creates it.
    pub(super) fn created_by_update(&self) -> bool {
        matches!(*self, Self::LEASE | Self::SERVICE | Self::EVENT | Self::EVENTS_K8S)
    }

    /// Whether a PUT without a resource version overwrites the object.
    pub(super) fn unconditional_update(&self) -> bool {
        !self.custom() && *self != Self::LEASE
    }

    /// Whether a delete that takes effect at once answers with the object instead of a Status.
    pub(super) fn deleted_object_answered(&self) -> bool {
        matches!(*self, Self::POD | Self::SERVICE | Self::RESOURCE_QUOTA)
    }

    /// Whether it has a `generation` that counts changes of the spec.
    pub(super) fn has_generation(&self) -> bool {
        self.custom() || matches!(*self, Self::POD | Self::ENDPOINT_SLICE | Self::BUDGET)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_of_a_real_server() {
        assert_eq!(Kind::POD.api_version(), "v1");
        assert_eq!(Kind::FLEET.api_version(), "orchestration.aibrix.ai/v1alpha1");
        assert_eq!(Kind::RAY_CLUSTER.resource(), "rayclusters.ray.io");
        assert_eq!(Kind::POD.resource(), "pods");
        assert_eq!(Kind::LEASE.qualified(), "Lease.coordination.k8s.io");
    }

    #[test]
    fn an_owner_is_found_by_any_version_of_its_kind() {
        assert_eq!(Kind::of("ray.io/v1alpha1", "RayCluster"), Some(Kind::RAY_CLUSTER));
        assert_eq!(Kind::of("v1", "Pod"), Some(Kind::POD));
        assert_eq!(Kind::of("apps/v1", "Deployment"), None);
    }
}
