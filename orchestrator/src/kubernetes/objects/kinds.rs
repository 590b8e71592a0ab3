//! The kinds that are kept in Kubernetes' own form, each with the parts that are used. Those of which there are as many as pods have
//! their own: `pods`, `nodes`, `endpoints`.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{
    ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service, ServiceSpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::core::DynamicObject;
use rayfleet_api::spec::RayClusterFleetSpec;
use rayfleet_api::{FieldError, RayClusterFleet, RayClusterFleetStatus, names};
use rayfleet_text::pieces::{elements, fields, values};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value, json};

use super::{Meta, Watched, bounded};
use crate::kubernetes::Key;
use crate::kubernetes::index::Warning;

/// How much of an object is read as a tree. A tree takes a multiple of its text: an object of JSON with up to eleven fields takes 640 bytes
/// and each of its names 32, so `{"a":0}` takes ninety times its eight bytes, and 1.4 MB of that, which etcd stores, 125 MB.
#[derive(Clone, Copy, Debug)]
struct Bound {
    values: usize,
    bytes: usize,
}

/// A field of a fleet's spec. The template of a small fleet has 300 values in 10 kB and takes 70 kB, so that 1,000 fleets take 70 MB each
/// time they are kept; 200 KiB of environment with names and values of four to twenty bytes are 16,000 values and take 4 MB. The worst
/// that a tenant can write are 10,000 objects of one field: 7 MB.
const FIELD: Bound = Bound { values: 20_000, bytes: 512 << 10 };
/// What is made of a fleet's template: a RayCluster, in which KubeRay's CRD fills in defaults, and a record, which has the model beside it.
const COPY: Bound = Bound { values: 2 * FIELD.values, bytes: 2 * FIELD.bytes };
/// A field of a fleet's status, which is a tree for the moment of reading alone. 750 groups with all that is known of each have 40,000
/// values.
const STATUS: Bound = Bound { values: 100_000, bytes: 2 << 20 };

impl Bound {
    /// Says in what a text is beyond the bound.
    fn holds(self, text: &str) -> Result<(), String> {
        let Self { values: most, bytes } = self;
        if values(text) > most {
            return Err(format!("it holds more than {most} values: make it smaller"));
        }
        if text.len() > bytes {
            return Err(format!("it is longer than {} KiB: make it shorter", bytes >> 10));
        }
        Ok(())
    }

    /// Reads a text as a tree, or says why it cannot be read. The parser's own words may quote the object.
    fn read(self, text: &str) -> Result<Value, String> {
        self.holds(text)?;
        serde_json::from_str(text)
            .map_err(|_| "it is nested deeper than 126 levels: make it flatter".to_owned())
    }
}

/// Fields that every object has.
#[derive(Deserialize)]
pub(in crate::kubernetes) struct Object<S, T> {
    #[serde(default)]
    pub(in crate::kubernetes) metadata: Meta,
    pub(in crate::kubernetes) spec: S,
    pub(in crate::kubernetes) status: Option<T>,
}

/// An object of which nothing that a tenant may write makes the rest unreadable: its metadata, and its parts as text. What nobody could
/// read would be watched by nobody, and never let go.
struct Pieces<'a> {
    metadata: Meta,
    spec: Option<&'a str>,
    status: Option<&'a str>,
}

impl<'a> Pieces<'a> {
    /// An error only where there is no object or no name.
    fn of(text: &'a str) -> Result<Self, serde_json::Error> {
        let Some(all) = fields(text) else { return Err(serde_json::Error::custom("it is no object")) };
        let part = |name: &str| all.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let metadata = metadata(part("\"metadata\"").unwrap_or_default());
        if metadata.name.is_empty() {
            return Err(serde_json::Error::custom("it has no name"));
        }
        Ok(Self { metadata, spec: part("\"spec\""), status: part("\"status\"") })
    }

    /// All of it, but for parts that cannot be read.
    fn whole(self) -> DynamicObject {
        let readable = |part: Option<&str>| part.and_then(|text| COPY.read(text).ok());
        DynamicObject {
            types: None,
            data: json!({"spec": readable(self.spec), "status": readable(self.status)}),
            metadata: self.metadata.into_object_meta(),
        }
    }
}

/// Metadata without what in it cannot be read.
fn metadata(text: &str) -> Meta {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let mut kept = Map::new();
        for (name, value) in fields(text).unwrap_or_default() {
            let (Ok(name), Ok(value)) = (serde_json::from_str::<String>(name), FIELD.read(value)) else {
                continue;
            };
            kept.insert(name.clone(), value);
            if Meta::deserialize(&Value::Object(kept.clone())).is_err() {
                kept.remove(&name);
            }
        }
        serde_json::from_value(Value::Object(kept)).unwrap_or_default()
    })
}

/// A part of an object, each of its fields read by itself, and the fields that are too deep or too large for that.
fn part<T: DeserializeOwned>(
    at: &str,
    text: Option<&str>,
    bound: Bound,
) -> Result<(Option<T>, Vec<FieldError>), serde_json::Error> {
    let Some(text) = text.filter(|text| *text != "null") else { return Ok((None, Vec::new())) };
    let (mut kept, mut odd) = (Map::new(), Vec::new());
    for (name, value) in fields(text).unwrap_or_default() {
        let name = name.trim_matches('"');
        match bound.read(value) {
            Ok(value) => drop(kept.insert(name.to_owned(), value)),
            Err(problem) => odd.push(FieldError {
                field: format!("{at}.{name}"),
                problem: format!("cannot be read: {problem}"),
            }),
        }
    }
    Ok((Some(serde_json::from_value(Value::Object(kept))?), odd))
}

impl Watched for RayClusterFleet {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let fleet = Pieces::of(text)?;
        let (spec, odd) = part::<RayClusterFleetSpec>("spec", fleet.spec, FIELD)?;
        let mut spec = spec.map_or_else(|| serde_json::from_value(json!({})), Ok)?;
        spec.unreadable.extend(odd);
        let (mut status, odd) = part::<RayClusterFleetStatus>("status", fleet.status, STATUS)?;
        if let Some(status) = &mut status {
            status.unreadable.extend(odd);
        }
        Ok(Some(Self { metadata: fleet.metadata.into_object_meta(), spec, status }))
    }
}

/// Of a RayCluster the parts that somebody reads: of its pod templates, which are nearly all of it and take seven times their text, none but
/// the labels of its head. Who changes its spec reads it again, whole.
impl Watched for DynamicObject {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let cluster = Pieces::of(text)?;
        // Those that no fleet controls any more, but that were made for one, may be adopted.
        if !cluster.metadata.is_of_a_fleet() && cluster.metadata.label(names::LABEL_FLEET).is_none() {
            return Ok(None);
        }
        let spec = cluster.spec.filter(|text| COPY.holds(text).is_ok()).map(|spec| {
            only(spec, |name, value| match name {
                "headGroupSpec" => {
                    let mut head = without_template(value)?;
                    if let (Some(fields), Some(labels)) = (head.as_object_mut(), head_labels(value)) {
                        fields.insert("template".to_owned(), json!({"metadata": {"labels": labels}}));
                    }
                    Some(head)
                }
                "workerGroupSpecs" => {
                    let Some(all) = elements(value) else { return tree(value) };
                    Some(all.into_iter().map(without_template).collect())
                }
                _ => tree(value),
            })
        });
        let status = cluster.status.filter(|text| COPY.holds(text).is_ok());
        let status = status.map(|status| {
            only(status, |name, value| if name == "conditions" { tree(value) } else { Some(Value::Null) })
        });
        let data = json!({"spec": spec.flatten(), "status": status.flatten()});
        Ok(Some(Self { types: None, data, metadata: cluster.metadata.into_object_meta() }))
    }
}

/// An object with its fields as they are wanted, without those that are null then; whatever it is where it is none. `None` where one cannot
/// be read.
fn only(text: &str, wanted: impl Fn(&str, &str) -> Option<Value>) -> Option<Value> {
    let Some(all) = fields(text) else { return tree(text) };
    let mut kept = Map::new();
    for (name, value) in all {
        let name: String = serde_json::from_str(name).ok()?;
        let value = wanted(&name, value)?;
        if !value.is_null() {
            kept.insert(name, value);
        }
    }
    Some(Value::Object(kept))
}

fn without_template(group: &str) -> Option<Value> {
    only(group, |name, value| if name == "template" { Some(Value::Null) } else { tree(value) })
}

fn head_labels(head: &str) -> Option<Value> {
    let part = |text, name: &str| {
        let (_, value) = fields(text)?.into_iter().find(|(key, _)| key.trim_matches('"') == name)?;
        Some(value)
    };
    tree(part(part(part(head, "template")?, "metadata")?, "labels")?)
}

fn tree(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// An object of a kind whose types are not known here, such as a RayCluster, whoever's it is.
///
/// # Errors
/// It is not what an object looks like. The error may quote it: it is not to be logged.
pub(in crate::kubernetes) fn any(text: &str) -> Result<DynamicObject, serde_json::Error> {
    Pieces::of(text).map(Pieces::whole)
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

/// A ControllerRevision, but for its data: that is whatever somebody wrote into it. What can be read is kept as text: there may be a hundred
/// for each fleet, and they are looked into seldom.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    revision: i64,
}

impl Watched for ControllerRevision {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let record: Record = serde_json::from_str(text)?;
        let data = fields(text).into_iter().flatten().find(|(name, _)| *name == "\"data\"");
        let data =
            data.map(|(_, data)| data).filter(|data| COPY.read(data).is_ok_and(|data| data.is_object()));
        Ok(Some(Self {
            metadata: record.metadata.into_object_meta(),
            data: data.map(|data| RawExtension(Value::from(data))),
            revision: record.revision,
        }))
    }
}

/// An event, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubernetes) struct Event {
    #[serde(default)]
    pub(in crate::kubernetes) metadata: Meta,
    pub(in crate::kubernetes) reason: Option<String>,
    pub(in crate::kubernetes) message: Option<String>,
    #[serde(default)]
    pub(in crate::kubernetes) involved_object: About,
    reporting_component: Option<String>,
    #[serde(default)]
    source: Source,
}

/// What an event is about.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::kubernetes) struct About {
    pub(in crate::kubernetes) kind: String,
    pub(in crate::kubernetes) namespace: String,
    pub(in crate::kubernetes) name: String,
    pub(in crate::kubernetes) uid: String,
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
