//! The kinds that are kept in Kubernetes' own form, each with the parts that are used. Those of which there are as many as pods have
//! their own: `pods`, `nodes`, `endpoints`.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{
    ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service, ServiceSpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::core::{DynamicObject, TypeMeta};
use rayfleet_api::spec::RayClusterFleetSpec;
use rayfleet_api::{RayClusterFleet, RayClusterFleetStatus, names};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Meta, Watched, bounded};
use crate::cluster::Key;
use crate::cluster::index::Warning;

/// Fields that every object has.
#[derive(Deserialize)]
struct Object<S, T> {
    #[serde(default)]
    metadata: Meta,
    spec: S,
    status: Option<T>,
}

impl Watched for RayClusterFleet {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let fleet: Object<RayClusterFleetSpec, RayClusterFleetStatus> = serde_json::from_str(text)?;
        let metadata = fleet.metadata.into_object_meta();
        Ok(Some(Self { metadata, spec: fleet.spec, status: fleet.status }))
    }
}

impl Watched for DynamicObject {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let cluster: Object<Option<Value>, Value> = serde_json::from_str(text)?;
        // Those that no fleet controls any more, but that were made for one, may be adopted.
        if !cluster.metadata.is_of_a_fleet() && cluster.metadata.label(names::LABEL_FLEET).is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            types: Some(TypeMeta { api_version: "ray.io/v1".to_owned(), kind: "RayCluster".to_owned() }),
            metadata: cluster.metadata.into_object_meta(),
            data: json!({"spec": cluster.spec, "status": cluster.status}),
        }))
    }
}

impl Watched for ResourceQuota {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let quota: Object<Option<ResourceQuotaSpec>, ResourceQuotaStatus> = serde_json::from_str(text)?;
        let metadata = quota.metadata.into_object_meta();
        Ok(Some(Self { metadata, spec: quota.spec, status: quota.status }))
    }
}

impl Watched for Service {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let service: Object<Option<ServiceSpec>, serde::de::IgnoredAny> = serde_json::from_str(text)?;
        Ok(Some(Self { metadata: service.metadata.into_object_meta(), spec: service.spec, status: None }))
    }
}

impl Watched for PodDisruptionBudget {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let budget: Object<Option<PodDisruptionBudgetSpec>, serde::de::IgnoredAny> =
            serde_json::from_str(text)?;
        Ok(Some(Self { metadata: budget.metadata.into_object_meta(), spec: budget.spec, status: None }))
    }
}

/// A ControllerRevision.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    revision: i64,
    data: Option<Value>,
}

impl Watched for ControllerRevision {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let record: Record = serde_json::from_str(text)?;
        Ok(Some(Self {
            metadata: record.metadata.into_object_meta(),
            data: record.data.map(RawExtension),
            revision: record.revision,
        }))
    }
}

/// An event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    reason: Option<String>,
    message: Option<String>,
    #[serde(default)]
    involved_object: About,
    reporting_component: Option<String>,
    #[serde(default)]
    source: Source,
}

/// What an event is about.
#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

/// Who an event is from, in its older form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    component: String,
}

/// What KubeRay calls itself in its events.
const KUBERAY: &str = "raycluster-controller";

impl Watched for Warning {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let event: Event = serde_json::from_str(text)?;
        let component = event.reporting_component.filter(|name| !name.is_empty());
        let component = component.unwrap_or(event.source.component);
        let about = event.involved_object;
        let Some(reason) = event.reason.filter(|reason| reason.starts_with("InvalidRayCluster")) else {
            return Ok(None);
        };
        if component != KUBERAY || about.kind != "RayCluster" || about.name.is_empty() {
            return Ok(None);
        }
        let words = format!("{reason}: {}", event.message.unwrap_or_default());
        let cluster = Key::new(about.namespace, about.name);
        Ok(Some(Self { cluster, uid: about.uid, text: bounded(&words) }))
    }
}
