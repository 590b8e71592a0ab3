//! Fields that a type does not have, and values of another type: of fleets by Rayfleet's CRD and KubeRay's fields, of LeaderWorkerSets by
//! theirs. What is of Kubernetes' own types is held to them in [`super::typed`].

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use rayfleet_api::names;
use serde_json::Value;

use super::misfit::{dropped, wrong};
use super::shape::below;
use super::typed::typed;
use crate::finding::Findings;
use crate::read::Object;
use crate::rule::Rule;
use crate::workload::{LWS_GROUP, LWS_KIND};

/// Fields of a RayClusterSpec of KubeRay 1.7, and whether 1.2.1 has them (`apis/ray/v1/raycluster_types.go`).
const RAY_CLUSTER: [(&str, bool); 14] = [
    ("autoscalerOptions", true),
    ("enableInTreeAutoscaling", true),
    ("headGroupSpec", true),
    ("headServiceAnnotations", true),
    ("rayVersion", true),
    ("suspend", true),
    ("workerGroupSpecs", true),
    ("authOptions", false),
    ("gcsFaultToleranceOptions", false),
    ("historyServerOptions", false),
    ("managedBy", false),
    ("networkPolicy", false),
    ("tlsOptions", false),
    ("upgradeStrategy", false),
];
/// The same of its head.
const HEAD: [(&str, bool); 8] = [
    ("enableIngress", true),
    ("headService", true),
    ("rayStartParams", true),
    ("serviceType", true),
    ("template", true),
    ("ingressOptions", false),
    ("labels", false),
    ("resources", false),
];
/// The same of a worker group.
const WORKERS: [(&str, bool); 13] = [
    ("groupName", true),
    ("maxReplicas", true),
    ("minReplicas", true),
    ("numOfHosts", true),
    ("rayStartParams", true),
    ("replicas", true),
    ("scaleStrategy", true),
    ("template", true),
    ("idleTimeoutSeconds", false),
    ("labels", false),
    ("priority", false),
    ("resources", false),
    ("suspend", false),
];
/// Objects of a LeaderWorkerSet of LWS 0.10 and their fields (`api/leaderworkerset/v1/leaderworkerset_types.go`).
const LWS: [(&str, &[&str]); 5] = [
    ("spec", &["leaderWorkerTemplate", "networkConfig", "replicas", "rolloutStrategy", "startupPolicy"]),
    (
        "spec.leaderWorkerTemplate",
        &[
            "leaderTemplate",
            "persistentVolumeClaimRetentionPolicy",
            "restartPolicy",
            "size",
            "subGroupPolicy",
            "volumeClaimTemplates",
            "workerTemplate",
        ],
    ),
    ("spec.leaderWorkerTemplate.subGroupPolicy", &["subGroupPolicyType", "subGroupSize"]),
    ("spec.rolloutStrategy", &["rollingUpdateConfiguration", "type"]),
    ("spec.rolloutStrategy.rollingUpdateConfiguration", &["maxSurge", "maxUnavailable", "partition"]),
];

/// Schema of a fleet's spec.
static SPEC: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(|| {
    let versions = rayfleet_api::crd().spec.versions;
    let version = versions.into_iter().find(|version| version.name == names::VERSION)?;
    version.schema?.open_api_v3_schema?.properties?.remove("spec")
});

pub(super) fn check(object: &Object, findings: &mut Findings) {
    if object.is(names::GROUP, names::KIND) {
        fleet(object, findings);
    } else if object.is(LWS_GROUP, LWS_KIND) {
        for (path, known) in LWS {
            unknown(object, path, at(&object.value, path), known, findings);
        }
        for name in ["leaderTemplate", "workerTemplate"] {
            let field = format!("spec.leaderWorkerTemplate.{name}");
            typed::<PodTemplateSpec>(
                object,
                &field,
                &object.value["spec"]["leaderWorkerTemplate"][name],
                findings,
            );
        }
    } else if object.is("", "Service") {
        typed::<Service>(object, "", &object.value, findings);
    } else if object.is("policy", "PodDisruptionBudget") {
        typed::<PodDisruptionBudget>(object, "", &object.value, findings);
    } else if object.is("", "PersistentVolumeClaim") {
        typed::<PersistentVolumeClaim>(object, "", &object.value, findings);
    }
}

fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, field| &value[field])
}

fn unknown(object: &Object, path: &str, value: &Value, known: &[&str], findings: &mut Findings) {
    for field in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if !known.contains(&field.as_str()) {
            dropped(object, &below(path, field), &known.join(", "), findings);
        }
    }
}

fn fleet(object: &Object, findings: &mut Findings) {
    if let Some(spec) = SPEC.as_ref() {
        by_schema(object, "spec", &object.value["spec"], spec, findings);
    }
    let top: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
    unknown(object, "", &object.value, top, findings);
    let template = &object.value["spec"]["template"]["spec"];
    let path = "spec.template.spec";
    let mine = ["model", "drain", "failurePolicy"].iter().any(|field| !object.value["spec"][field].is_null());
    ray_fields(object, path, template, &RAY_CLUSTER, mine, findings);
    let head = format!("{path}.headGroupSpec");
    ray_fields(object, &head, &template["headGroupSpec"], &HEAD, mine, findings);
    pod_template(object, &head, &template["headGroupSpec"], findings);
    for (index, group) in template["workerGroupSpecs"].as_array().into_iter().flatten().enumerate() {
        let workers = format!("{path}.workerGroupSpecs[{index}]");
        ray_fields(object, &workers, group, &WORKERS, mine, findings);
        pod_template(object, &workers, group, findings);
    }
}

fn pod_template(object: &Object, group: &str, value: &Value, findings: &mut Findings) {
    typed::<PodTemplateSpec>(object, &format!("{group}.template"), &value["template"], findings);
}

/// `mine`: the fleet has fields that only Rayfleet's CRD has, so that AIBrix's is out of question.
fn ray_fields(
    object: &Object,
    path: &str,
    value: &Value,
    known: &[(&str, bool)],
    mine: bool,
    findings: &mut Findings,
) {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    unknown(object, path, value, &names, findings);
    for (name, _) in known.iter().filter(|(name, old)| !mine && !old && !value[name].is_null()) {
        let what = format!("{path}.{name}: AIBrix's CRD drops it, which is made from KubeRay 1.2.1");
        let cure = "apply it to a cluster with Rayfleet's CRD and a KubeRay that has it";
        findings.push(Rule::NewerField, (object, &below(path, name)), what, cure);
    }
}

/// Holds a value to a structural schema: names and types of fields, as the API server prunes and checks them.
fn by_schema(object: &Object, path: &str, value: &Value, schema: &JSONSchemaProps, findings: &mut Findings) {
    if value.is_null() {
        return;
    }
    let int_or_text = schema.x_kubernetes_int_or_string == Some(true);
    let fits = match schema.type_.as_deref() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        Some("number") => value.is_number(),
        _ => !int_or_text || value.is_string() || value.is_number(),
    };
    if !fits {
        let wanted = schema.type_.as_deref().unwrap_or("number or text");
        wrong(object, path, &format!("must be of type {wanted}"), Some(value), findings);
        return;
    }
    let range = |bound: Option<f64>, beyond: fn(f64, f64) -> bool| {
        bound.filter(|bound| value.as_f64().is_some_and(|number| beyond(number, *bound)))
    };
    let least =
        range(schema.minimum, |number, bound| number < bound).map(|bound| format!("at least {bound}"));
    let most = range(schema.maximum, |number, bound| number > bound).map(|bound| format!("at most {bound}"));
    if let Some(bound) = least.or(most) {
        let what = format!("{path}: must be {bound}, is {value}");
        findings.push(Rule::InvalidFleet, (object, path), what, "correct the value");
    }
    for name in schema.required.iter().flatten().filter(|name| value.is_object() && value[name].is_null()) {
        let field = below(path, name);
        findings.push(
            Rule::InvalidFleet,
            (object, &field),
            format!("{field} is required"),
            format!("write {name}"),
        );
    }
    let open = schema.x_kubernetes_preserve_unknown_fields == Some(true);
    let further = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(schema.as_ref()),
        _ => None,
    };
    for (name, value) in value.as_object().into_iter().flatten() {
        let field = below(path, name);
        let of_name = schema.properties.as_ref().and_then(|properties| properties.get(name));
        if let Some(schema) = of_name.or(further) {
            by_schema(object, &field, value, schema, findings);
        } else if !open && schema.additional_properties.is_none() {
            let names: Vec<&str> =
                schema.properties.iter().flatten().map(|(name, _)| name.as_str()).collect();
            dropped(object, &field, &names.join(", "), findings);
        }
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(items)), Some(list)) = (&schema.items, value.as_array()) {
        for (index, item) in list.iter().enumerate() {
            by_schema(object, &format!("{path}[{index}]"), item, items, findings);
        }
    }
}
