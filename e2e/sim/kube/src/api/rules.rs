//! The CEL rules in `manifests/crd.yaml` for a whole fleet and its spec, as one function each. A test
//! compares the list with the CRD. Rules of nested fields are left out: the orchestrator has to cope with
//! whatever a CRD accepts.

use rayfleet_api::{kuberay, owned};
use serde_json::{Map, Value};

use super::error::Fault;
use super::fields::{self, list, number, text};

/// One rule of the CRD.
struct Rule {
    /// Field that the CRD names.
    field: &'static str,
    /// Start of its message.
    says: &'static str,
    /// Whether an object satisfies it. The first argument is the object that it replaces.
    holds: fn(Option<&Value>, &Value) -> bool,
}

const RULES: [Rule; 10] = [
    Rule {
        field: "<nil>",
        says: "metadata.name must be at most 37 characters",
        holds: |old, new| old.is_some() || good_name(fields::name(new)),
    },
    Rule {
        field: "spec.selector.matchLabels",
        says: "selector.matchLabels must be among template.metadata.labels",
        holds: |old, new| same(old, new, &[SELECTOR, LABELS]) || selects_template(new),
    },
    Rule {
        field: "spec.selector",
        says: "selector must not be empty",
        holds: |old, new| {
            same(old, new, &[SELECTOR])
                || labels(new, "/spec/selector/matchLabels").is_some_and(|labels| !labels.is_empty())
                || !list(new, "/spec/selector/matchExpressions").is_empty()
        },
    },
    Rule {
        field: "spec.selector",
        says: "selector cannot be changed",
        holds: |old, new| {
            old.is_none_or(|old| old.pointer("/spec/selector") == new.pointer("/spec/selector"))
        },
    },
    Rule {
        field: "spec.model.parallelism",
        says: "model.parallelism: tensor x pipeline must equal the GPUs of the template",
        holds: |_, new| {
            let size = |name: &str| number(new, &format!("/spec/model/parallelism/{name}"));
            let ranks = size("tensor").zip(size("pipeline")).map(|(t, p)| t * p);
            no_model(new) || gpus(new).is_none_or(|gpus| Some(gpus) == ranks)
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
    Rule {
        field: "spec.model.port",
        says: "model.port is one of those that Ray gives to its workers",
        holds: |old, new| {
            let apart = number(new, PORT).is_none_or(|port| !(10_002..=19_999).contains(&port));
            let head = new.pointer("/spec/template/spec/headGroupSpec/rayStartParams");
            let set = ["min-worker-port", "max-worker-port", "worker-port-list"];
            apart
                || same(old, new, &[PORT])
                || head.is_some_and(|head| set.iter().any(|name| head.get(name).is_some()))
        },
    },
    Rule {
        field: "spec.model.port",
        says: "model.port is one of Ray's own",
        holds: |_, new| {
            let port = number(new, PORT).and_then(|port| u16::try_from(port).ok());
            let fixed = [6379, 8080, 8265, 10_001, 52_365];
            let head = new.pointer("/spec/template/spec/headGroupSpec");
            let free = |port: u16| head.is_none_or(|head| kuberay::taken(head, port).is_none());
            port.is_none_or(|port| !fixed.contains(&port) || free(port))
        },
    },
    Rule {
        field: "spec.model.engine.args",
        says: "model.engine.args must not have what Rayfleet sets itself",
        holds: |old, new| {
            let owned = |arg: &Value| arg.as_str().is_some_and(owned::is_owned);
            same(old, new, &[ARGS]) || !list(new, ARGS).iter().any(owned)
        },
    },
];

const PORT: &str = "/spec/model/port";
const ARGS: &str = "/spec/model/engine/args";
const SELECTOR: &str = "/spec/selector";
const LABELS: &str = "/spec/template/metadata/labels";

/// Whether the fields are unchanged: a stored value may violate a newer rule as long as nobody changes it.
fn same(old: Option<&Value>, new: &Value, pointers: &[&str]) -> bool {
    old.is_some_and(|old| pointers.iter().all(|pointer| old.pointer(pointer) == new.pointer(pointer)))
}

/// Violated rules.
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

/// GPUs of the template; `None` where the CRD leaves counting to the orchestrator.
fn gpus(fleet: &Value) -> Option<u64> {
    let of = |group: &Value| {
        let gpus = kuberay::gpus(group).ok().map(u64::from);
        gpus.filter(|_| kuberay::uncounted(group).is_none())
    };
    let head = of(fleet.pointer("/spec/template/spec/headGroupSpec")?)?;
    let workers = list(fleet, "/spec/template/spec/workerGroupSpecs");
    workers.iter().try_fold(head, |sum, group| Some(sum + kuberay::worker_pods(group) * of(group)?))
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
        let (made, changed) = (faults(None, &new), faults(Some(&fleet()), &new));
        made.into_iter().chain(changed).map(|fault| fault.message).collect()
    }

    #[test]
    fn every_cel_rule_of_the_crd_is_listed() {
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
    }

    #[test]
    fn arguments_stored_before_the_rule_are_accepted_unchanged() {
        let with = |args: Value| {
            let mut fleet = fleet();
            fleet["spec"]["model"]["engine"] = json!({"args": args});
            fleet
        };
        let stored = with(json!(["--port=9000"]));
        let mut changed = stored.clone();
        changed["spec"]["replicas"] = json!(3);
        assert_eq!(faults(Some(&stored), &changed).len(), 0);
        assert_eq!(faults(Some(&stored), &with(json!(["--port=9000", "--seed=1"]))).len(), 1);
        assert_eq!(faults(None, &stored).len(), 1);
    }

    #[test]
    fn a_valid_fleet_satisfies_all_rules() {
        assert_eq!(broken(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_rule_can_be_violated() {
        let breaks: [(Change, usize); 10] = [
            (|f| f["metadata"]["name"] = json!("1a"), 0),
            (|f| f["spec"]["model"]["port"] = json!(8265), 8),
            (|f| f["spec"]["model"]["port"] = json!(12_000), 7),
            (|f| f["spec"]["template"]["metadata"]["labels"]["a"] = json!("x"), 1),
            (|f| f["spec"]["selector"] = json!({}), 2),
            (|f| f["spec"]["selector"]["matchLabels"] = json!({"c": "d"}), 3),
            (|f| f["spec"]["model"]["parallelism"]["tensor"] = json!(3), 4),
            (|f| f["spec"]["model"]["parallelism"]["data"] = json!(2), 5),
            (|f| f["spec"]["model"]["engine"] = json!({"type": "custom"}), 6),
            (|f| f["spec"]["model"]["engine"] = json!({"args": ["--max-model-len", "1", "--port", "1"]}), 9),
        ];
        for (change, rule) in breaks {
            let words = broken(change);
            let says = RULES[rule].says;
            assert!(words.iter().any(|word| word.contains(says)), "{says:?} is not in {words:?}");
        }
    }
}
