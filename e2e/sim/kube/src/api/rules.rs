//! The rules that `manifests/crd.yaml` has in CEL for a whole fleet and its spec, evaluated as they stand there. Those of single
//! fields below are left out: the orchestrator has to cope with what a CRD lets through.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::extractors::This;
use cel::objects::OptionalValue;
use cel::{Context, Env, Program, Value as Cel};
use serde_json::Value;

use super::error::FieldError;
use super::schema;

/// One rule of the CRD.
struct Rule {
    /// The part of a fleet that it is about.
    of: &'static str,
    /// Field that it names.
    field: String,
    message: String,
    /// What it reckons; `None` if it cannot be read.
    program: Option<Program>,
    /// What it asks of the part as it was before.
    before: Before,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It is about changes only.
    Needed,
    /// It is given an optional value.
    Optional,
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let root = schema::fleet().root();
    rules("", root).into_iter().chain(rules("/spec", &root["properties"]["spec"])).collect()
});

fn rules(of: &'static str, schema: &Value) -> Vec<Rule> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let read = |rule: &Value| {
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let field = format!("{}{}", of.trim_start_matches('/'), text("fieldPath"));
        Rule {
            of,
            field: if field.is_empty() { "<nil>".to_owned() } else { field },
            message: text("message").to_owned(),
            program: ENVIRONMENT.compile(text("rule")).ok(),
            before: if rule["optionalOldSelf"] == true {
                Before::Optional
            } else if text("rule").contains("oldSelf") {
                Before::Needed
            } else {
                Before::Nothing
            },
        }
    };
    rules.map(read).collect()
}

/// What is wrong by the rules. As in a real server, what has not changed is not asked about again.
pub(super) fn faults(old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    if old.is_some_and(|old| old.get("spec") == new.get("spec")) {
        return Vec::new();
    }
    let part = |of: &str, object: &Value| object.pointer(of).map_or(Cel::Null, cel);
    let values = ["", "/spec"].map(|of| (of, part(of, new), old.map(|old| part(of, old))));
    let broken = |rule: &&Rule| {
        let value = values.iter().find(|(of, ..)| *of == rule.of);
        value.is_some_and(|(_, new, old)| !rule.holds(old.as_ref(), new))
    };
    let fault = |rule: &Rule| FieldError::invalid(&rule.field, &Value::from("object"), &rule.message);
    RULES.iter().filter(broken).map(fault).collect()
}

impl Rule {
    /// Whether it holds; one that cannot be evaluated does not.
    fn holds(&self, old: Option<&Cel>, new: &Cel) -> bool {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        // Of Kubernetes' own functions the one that the rules use. Its name is free, so that it can always be added.
        let _ = context.add_function("sum", |This(items): This<Arc<Vec<Cel>>>| {
            items.iter().map(|item| if let Cel::Int(number) = item { *number } else { 0 }).sum::<i64>()
        });
        context.add_variable_from_value("self", new.clone());
        match (self.before, old) {
            (Before::Nothing, _) => {}
            (Before::Needed, None) => return true,
            (Before::Needed, Some(old)) => context.add_variable_from_value("oldSelf", old.clone()),
            (Before::Optional, old) => {
                let old = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
                context.add_variable_from_value("oldSelf", Cel::Opaque(Arc::new(old)));
            }
        }
        let program = self.program.as_ref();
        program.is_some_and(|program| program.execute(&context) == Ok(Cel::Bool(true)))
    }
}

/// The value as a rule sees it: whole numbers are `int`, and a field without a value is not there.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Cel::Float(number.as_f64().unwrap_or_default()), Cel::Int)
        }
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::from(items.iter().map(cel).collect::<Vec<_>>()),
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| !value.is_null());
            Cel::from(there.map(|(name, value)| (name.as_str(), cel(value))).collect::<HashMap<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn every_rule_of_the_crd_can_be_read() {
        assert_eq!(RULES.len(), 9);
        assert!(RULES.iter().all(|rule| rule.program.is_some() && !rule.message.is_empty()));
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
            (|f| f["spec"]["model"]["port"] = json!(8265), 7),
            (|f| f["spec"]["model"]["port"] = json!(12_000), 6),
            (|f| f["spec"]["template"]["metadata"]["labels"]["a"] = json!("x"), 1),
            (|f| f["spec"]["selector"] = json!({}), 2),
            (|f| f["spec"]["selector"]["matchLabels"] = json!({"c": "d"}), 3),
            (|f| f["spec"]["model"]["parallelism"]["tensor"] = json!(3), 4),
            (|f| f["spec"]["model"]["parallelism"]["data"] = json!(2), 4),
            (|f| f["spec"]["model"]["engine"] = json!({"type": "custom"}), 5),
            (|f| f["spec"]["model"]["engine"] = json!({"args": ["--max-model-len", "1", "--port", "1"]}), 8),
        ];
        for (change, rule) in breaks {
            let words = broken(change);
            let says = &RULES[rule].message;
            assert!(words.iter().any(|word| word.contains(says)), "{says:?} is not in {words:?}");
        }
    }
}
