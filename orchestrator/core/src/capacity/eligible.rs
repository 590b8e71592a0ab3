//! Whether a pod may run on a node, regardless of free room: node selector, required node affinity, taints,
//! cordon, readiness. A node that is being deleted would accept pods and lose them, so it is excluded.

use serde_json::Value;

use super::{NodeRoom, Taint};

/// Whether the scheduler would consider the node for this pod spec.
pub(super) fn eligible(spec: &Value, node: &NodeRoom) -> bool {
    node.ready
        && !node.unschedulable
        && !node.deleting
        && selected(&spec["nodeSelector"], node)
        && affine(&spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"], node)
        && node.taints.iter().all(|taint| tolerated(&spec["tolerations"], taint))
}

fn selected(selector: &Value, node: &NodeRoom) -> bool {
    let wanted = selector.as_object().into_iter().flatten();
    wanted.into_iter().all(|(key, value)| node.labels.get(key).map(String::as_str) == value.as_str())
}

/// Whether any term matches, and in it all expressions. A term without expressions matches nothing.
fn affine(required: &Value, node: &NodeRoom) -> bool {
    let Some(terms) = required["nodeSelectorTerms"].as_array() else { return true };
    terms.iter().any(|term| {
        let expressions = term["matchExpressions"].as_array();
        let fields = term["matchFields"].as_array();
        let labels_match = expressions.into_iter().flatten().all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            matches(expression, node.labels.get(key).map(String::as_str))
        });
        let fields_match = fields.into_iter().flatten().all(|field| {
            let name = (field["key"] == "metadata.name").then_some(node.name.as_str());
            matches(field, name)
        });
        (expressions.is_some() || fields.is_some()) && labels_match && fields_match
    })
}

fn matches(expression: &Value, actual: Option<&str>) -> bool {
    let values = || expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    match expression["operator"].as_str().unwrap_or_default() {
        "In" => actual.is_some_and(|actual| values().any(|value| value == actual)),
        "NotIn" => !actual.is_some_and(|actual| values().any(|value| value == actual)),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => number(actual).zip(number(values().next())).is_some_and(|(have, bound)| have > bound),
        "Lt" => number(actual).zip(number(values().next())).is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

fn tolerated(tolerations: &Value, taint: &Taint) -> bool {
    if taint.effect == "PreferNoSchedule" {
        return true;
    }
    tolerations.as_array().into_iter().flatten().any(|toleration| {
        let text = |field: &str| toleration[field].as_str().unwrap_or_default();
        let effect = text("effect").is_empty() || text("effect") == taint.effect;
        let exists = text("operator") == "Exists";
        let key = text("key") == taint.key || (exists && text("key").is_empty());
        effect && key && (exists || text("value") == taint.value)
    })
}
