//! Whether a pod may run on a node, regardless of free room: node selector, required node affinity, taints,
//! cordon, readiness. A node that is being deleted would accept pods and lose them, so it is excluded.

use serde_json::Value;

use super::budget::Budget;
use super::node_room::{NodeRoom, Taint};

/// Whether the scheduler would look at the node for this pod spec.
pub(super) fn eligible(spec: &Value, node: &NodeRoom, budget: &Budget) -> bool {
    budget.spend(1);
    node.ready
        && !node.unschedulable
        && !node.deleting
        && selected(&spec["nodeSelector"], node, budget)
        && affine(
            &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
            node,
            budget,
        )
        && node.taints.iter().all(|taint| tolerated(&spec["tolerations"], taint, budget))
}

fn selected(selector: &Value, node: &NodeRoom, budget: &Budget) -> bool {
    let Some(wanted) = selector.as_object() else { return true };
    budget.spend(wanted.len());
    wanted.iter().all(|(key, value)| node.labels.get(key).map(String::as_str) == value.as_str())
}

/// Any of the terms; all of the expressions of a term. A term without expressions matches nothing.
fn affine(required: &Value, node: &NodeRoom, budget: &Budget) -> bool {
    let Some(terms) = required["nodeSelectorTerms"].as_array() else { return true };
    terms.iter().any(|term| {
        budget.spend(1);
        let expressions = term["matchExpressions"].as_array();
        let fields = term["matchFields"].as_array();
        let labels_match = expressions.into_iter().flatten().all(|expression| {
            let key = expression["key"].as_str().unwrap_or_default();
            matches(expression, node.labels.get(key).map(String::as_str), budget)
        });
        let fields_match = fields.into_iter().flatten().all(|field| {
            let name = (field["key"] == "metadata.name").then_some(node.name.as_str());
            matches(field, name, budget)
        });
        (expressions.is_some() || fields.is_some()) && labels_match && fields_match
    })
}

fn matches(expression: &Value, actual: Option<&str>, budget: &Budget) -> bool {
    budget.spend(1 + expression["values"].as_array().map_or(0, Vec::len));
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

fn tolerated(tolerations: &Value, taint: &Taint, budget: &Budget) -> bool {
    if taint.effect == "PreferNoSchedule" {
        return true;
    }
    let Some(tolerations) = tolerations.as_array() else { return false };
    budget.spend(tolerations.len());
    tolerations.iter().any(|toleration| {
        let text = |field: &str| toleration[field].as_str().unwrap_or_default();
        let effect = text("effect").is_empty() || text("effect") == taint.effect;
        let exists = text("operator") == "Exists";
        let key = text("key") == taint.key || (exists && text("key").is_empty());
        effect && key && (exists || text("value") == taint.value)
    })
}
