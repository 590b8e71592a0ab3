//! Admission: names, owners, schema, and the rules of single kinds that an object must satisfy to be
//! stored.

use serde_json::{Value, json};

use super::error::FieldError;
use super::fields::{list, text};
use super::{Kind, Refusal, fields, meta, names, rules, schema};

/// Checks that an object has the type that the path names. Objects without a type are accepted, as the
/// simulators send them.
pub(super) fn of_type(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    if !object.is_object() {
        return Err(Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind})"
        )));
    }
    let (version, name) = (text(object, "/apiVersion"), text(object, "/kind"));
    let wanted = kind.api_version();
    if (!version.is_empty() && version != wanted) || (!name.is_empty() && name != kind.kind) {
        let words = format!("{name} in version \"{version}\" cannot be handled as a {kind} of {wanted}");
        return Err(Refusal::bad_request(words));
    }
    Ok(())
}

/// Refuses an object that breaks a rule. `old` is the object that it replaces; `status`: only the status is
/// written.
pub(super) fn check(
    kind: &Kind,
    old: Option<&Value>,
    new: &Value,
    status: bool,
    client: bool,
) -> Result<(), Refusal> {
    let mut faults = names::faults(kind, new);
    faults.extend(meta::owner_errors(new));
    if let Some(old) = old {
        faults.extend(meta::update_errors(kind, old, new));
        if *kind == Kind::POD && client && !status {
            faults.extend(meta::pod_errors(old, new));
        }
    }
    match *kind {
        Kind::FLEET => {
            let wrong = schema::fleet().faults(new);
            let blocking = wrong.iter().any(|fault| fault.reason != "FieldValueInvalid");
            faults.extend(wrong);
            faults.extend(scale_error(new));
            // CEL rules are not evaluated on an object with schema errors.
            if blocking {
                let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
                faults.push(FieldError::invalid("<nil>", &Value::Null, why));
            } else {
                faults.extend(rules::faults(old, new));
            }
        }
        Kind::RAY_CLUSTER => faults.extend(ray_cluster(new)),
        Kind::POD if list(new, "/spec/containers").is_empty() => {
            faults.push(FieldError::required("spec.containers", ""));
        }
        Kind::EVENT if text(new, "/message").len() > 1024 => {
            faults.push(FieldError::invalid("note", &json!(""), "can have at most 1024 characters"));
        }
        _ => {}
    }
    if faults.is_empty() { Ok(()) } else { Err(Refusal::invalid(kind, fields::name(new), &faults)) }
}

/// An invalid number of replicas. The scale subresource validates its field itself, under its own path.
fn scale_error(fleet: &Value) -> Option<FieldError> {
    let replicas = fleet.pointer("/spec/replicas").filter(|replicas| !replicas.is_null())?;
    let why = match replicas.as_i64() {
        None => "expected integer",
        Some(number) if number < 0 => "should be a non-negative integer",
        Some(number) if number > i64::from(i32::MAX) => "should be less than or equal to 2147483647",
        Some(_) => return None,
    };
    Some(FieldError::invalid(".spec.replicas", replicas, why))
}

/// What KubeRay's CRD requires.
fn ray_cluster(object: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut template = |place: &str, group: &Value| {
        if group.pointer("/template").is_none_or(Value::is_null) {
            faults.push(FieldError::required(format!("{place}.template"), ""));
        } else if let Some(spec) = group.pointer("/template/spec").filter(|spec| !spec.is_null())
            && !spec.get("containers").is_some_and(Value::is_array)
        {
            faults.push(FieldError::required(format!("{place}.template.spec.containers"), ""));
        }
    };
    let head = object.pointer("/spec/headGroupSpec").filter(|head| !head.is_null());
    if let Some(head) = head {
        template("spec.headGroupSpec", head);
    }
    for (index, group) in list(object, "/spec/workerGroupSpecs").iter().enumerate() {
        template(&format!("spec.workerGroupSpecs[{index}]"), group);
    }
    for (index, group) in list(object, "/spec/workerGroupSpecs").iter().enumerate() {
        if !group.get("groupName").is_some_and(Value::is_string) {
            faults.push(FieldError::required(format!("spec.workerGroupSpecs[{index}].groupName"), ""));
        }
        for field in ["replicas", "minReplicas", "maxReplicas", "numOfHosts"] {
            if let Some(wrong) =
                group.get(field).filter(|value| !value.is_null() && !value.is_i64() && !value.is_u64())
            {
                let place = format!("spec.workerGroupSpecs[{index}].{field}");
                faults.push(FieldError::invalid(place, wrong, "must be of type integer"));
            }
        }
    }
    if object.get("spec").is_some() && head.is_none() {
        faults.push(FieldError::required("spec.headGroupSpec", ""));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_other_than_the_path_s_is_refused() {
        let object = json!({"apiVersion": "v1", "kind": "Secret"});
        assert_eq!(of_type(&Kind::POD, &object).unwrap_err().code, 400);
        assert!(of_type(&Kind::POD, &json!({})).is_ok());
        assert!(of_type(&Kind::POD, &json!([])).is_err());
    }

    #[test]
    fn a_ray_cluster_needs_heads_and_templates() {
        let spec = json!({"metadata": {"name": "a"}, "spec": {"workerGroupSpecs": [{"replicas": "1"}]}});
        let refusal = check(&Kind::RAY_CLUSTER, None, &spec, false, true).unwrap_err();
        for field in ["headGroupSpec", "[0].template", "[0].groupName", "[0].replicas"] {
            assert!(refusal.message.contains(field), "{field}: {refusal}");
        }
    }
}
