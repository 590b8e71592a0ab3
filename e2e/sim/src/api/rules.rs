//! The rules that `manifests/crd.yaml` has in CEL, written out: one function each. A test holds the list to the CRD.

use serde_json::{Map, Value};

use super::error::Fault;
use super::fields::{self, list, number, text};

/// One rule of the CRD.
struct Rule {
    /// Field that the CRD names.
    field: &'static str,
    /// How its message begins.
    says: &'static str,
    /// Whether an object keeps it. The first is what it replaces.
    holds: fn(Option<&Value>, &Value) -> bool,
}

const RULES: [Rule; 7] = [
    Rule {
        field: "<nil>",
        says: "metadata.name must be at most 37 characters",
        holds: |_, new| good_name(fields::name(new)),
    },
    Rule {
        field: "spec.selector.matchLabels",
        says: "selector.matchLabels must be among template.metadata.labels",
        holds: |_, new| selects_template(new),
    },
    Rule {
        field: "spec.selector",
        says: "selector must not be empty",
        holds: |_, new| {
            labels(new, "/spec/selector/matchLabels").is_some_and(|labels| !labels.is_empty())
                || !list(new, "/spec/selector/matchExpressions").is_empty()
        },
    },
    Rule {
        field: "spec.selector",
        says: "selector can not be changed",
        holds: |old, new| {
            old.is_none_or(|old| old.pointer("/spec/selector") == new.pointer("/spec/selector"))
        },
    },
    Rule {
        field: "spec.model.parallelism",
        says: "model.parallelism: tensor x pipeline must equal the GPUs of the template",
        holds: |_, new| {
            let size = |name: &str| number(new, &format!("/spec/model/parallelism/{name}"));
            no_model(new) || size("tensor").zip(size("pipeline")).map(|(t, p)| t * p) == gpus(new)
        },
    },
    Rule {
        field: "spec.model.parallelism",
        says: "model.parallelism.data must be 1",
        holds: |_, new| number(new, "/spec/model/parallelism/data").is_none_or(|data| data == 1),
    },
    Rule {
        field: "spec.model.engine",
        says: "model.engine.entrypoint is required for type custom",
        holds: |_, new| {
            text(new, "/spec/model/engine/type") != "custom"
                || new.pointer("/spec/model/engine/entrypoint").is_some_and(Value::is_string)
        },
    },
];

/// What is wrong by the rules.
pub(super) fn faults(old: Option<&Value>, new: &Value) -> Vec<Fault> {
    RULES
        .iter()
        .filter(|rule| !(rule.holds)(old, new))
        .map(|rule| Fault::invalid(rule.field, &Value::from("object"), rule.says))
        .collect()
}

fn labels<'a>(object: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

fn no_model(fleet: &Value) -> bool {
    fleet.pointer("/spec/model").is_none_or(Value::is_null)
}

fn good_name(name: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase();
    let any = |c: char| lower(c) || c.is_ascii_digit();
    name.len() <= 37
        && name.starts_with(lower)
        && name.ends_with(any)
        && name.chars().all(|c| any(c) || c == '-')
}

fn selects_template(fleet: &Value) -> bool {
    let Some(wanted) = labels(fleet, "/spec/selector/matchLabels") else { return true };
    let Some(there) = labels(fleet, "/spec/template/metadata/labels") else { return false };
    wanted.iter().all(|(name, value)| there.get(name) == Some(value))
}

/// GPUs of the template; none where a number can not be read, which CEL counts as a broken rule.
fn gpus(fleet: &Value) -> Option<u64> {
    let mut sum = group_gpus(fleet.pointer("/spec/template/spec/headGroupSpec")?)?;
    for group in list(fleet, "/spec/template/spec/workerGroupSpecs") {
        let replicas = group.get("replicas").map_or(Some(0), Value::as_u64)?;
        let hosts = group.get("numOfHosts").map_or(Some(1), Value::as_u64)?;
        sum += replicas * hosts * group_gpus(group)?;
    }
    Some(sum)
}

fn group_gpus(group: &Value) -> Option<u64> {
    if let Some(given) = group.pointer("/rayStartParams/num-gpus") {
        return whole(given);
    }
    let limits = labels(group, "/template/spec/containers/0/resources/limits");
    limits
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.ends_with("gpu"))
        .map(|(_, amount)| whole(amount))
        .sum()
}

fn whole(amount: &Value) -> Option<u64> {
    amount.as_u64().or_else(|| amount.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema;

    type Change = fn(&mut Value);

    fn fleet() -> Value {
        let group = |gpus: &str| json!({"replicas": 1, "template": {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": gpus}}}]}}});
        json!({
            "metadata": {"name": "f"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "model": {"parallelism": {"tensor": 2, "pipeline": 2}},
                "template": {
                    "metadata": {"labels": {"a": "b", "c": "d"}},
                    "spec": {"headGroupSpec": group("2"), "workerGroupSpecs": [group("2")]},
                },
            },
        })
    }

    fn broken(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut new = fleet();
        change(&mut new);
        faults(Some(&fleet()), &new).into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn every_rule_of_the_crd_is_here() {
        let root = schema::fleet().root();
        let said = |rules: &Value| -> Vec<String> {
            let rules = rules["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
            rules.iter().map(|rule| rule["message"].as_str().unwrap_or_default().to_owned()).collect()
        };
        let said = [said(root), said(&root["properties"]["spec"])].concat();
        assert_eq!(said.len(), RULES.len(), "{said:#?}");
        for (rule, message) in RULES.iter().zip(&said) {
            assert!(message.starts_with(rule.says), "{message:?} is not {:?}", rule.says);
        }
        let all = root.to_string().matches("x-kubernetes-validations").count();
        assert_eq!(all, 2, "rules are at the root and at the spec");
    }

    #[test]
    fn a_good_fleet_keeps_them() {
        assert_eq!(broken(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_one_can_be_broken() {
        let breaks: [(Change, usize); 7] = [
            (|f| f["metadata"]["name"] = json!("1a"), 0),
            (|f| f["spec"]["template"]["metadata"]["labels"]["a"] = json!("x"), 1),
            (|f| f["spec"]["selector"] = json!({}), 2),
            (|f| f["spec"]["selector"]["matchLabels"] = json!({"c": "d"}), 3),
            (|f| f["spec"]["model"]["parallelism"]["tensor"] = json!(3), 4),
            (|f| f["spec"]["model"]["parallelism"]["data"] = json!(2), 5),
            (|f| f["spec"]["model"]["engine"] = json!({"type": "custom"}), 6),
        ];
        for (change, rule) in breaks {
            let words = broken(change);
            let says = RULES[rule].says;
            assert!(words.iter().any(|word| word.contains(says)), "{says:?} is not in {words:?}");
        }
    }
}
