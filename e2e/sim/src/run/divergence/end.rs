//! Differences between the final states of a simulated and a real run. Pure functions.

use serde_json::{Value, json};

use crate::run::oracle::difference;

/// Differences between two final pictures, for people.
pub fn another_end(simulated: &Value, real: &Value) -> Vec<String> {
    let differences = difference("", &essence(simulated), &essence(real));
    differences
        .into_iter()
        .map(|(path, one, other)| format!("{path} is {one} simulated and {other} real"))
        .collect()
}

/// The part of a picture that does not depend on changes by others, such as KubeRay's webhooks and
/// defaults: those concern only them and the API server, and have their own tests. Ray's state is known for
/// the simulation only.
/// between them and the API server, and has its own tests. Ray's own state is known of the simulation only.
fn essence(picture: &Value) -> Value {
    let list = |part: &str| picture[part].as_array().cloned().unwrap_or_default();
    let only = |part: &str, fields: &[&str]| -> Value {
        let pick = |object: &Value| fields.iter().map(|field| object[*field].clone()).collect();
        list(part).iter().map(|object| Value::Array(pick(object))).collect::<Vec<_>>().into()
    };
    let mut status = picture["status"].clone();
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.sort_by_key(ToString::to_string);
    }
    json!({
        "spec": picture["spec"],
        "status": status,
        "rayClusters (revision, deleting)": only("rayClusters", &["revision", "deleting"]),
        "pods (revision, role, phase, ready, staying)": picture["pods"],
        "services": only("services", &["name"]),
        "controllerRevisions (name, number)": only("revisions", &["name", "revision"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(ready: u32, conditions: &[[&str; 3]]) -> Value {
        json!({
            "spec": {"replicas": 2},
            "status": {"ready": ready, "conditions": conditions},
            "rayClusters": [{"revision": "a", "deleting": false, "spec": {"rayVersion": "x"}}],
            "pods": [["a", "head", "Running", true, true]],
            "services": [{"name": "f", "ports": []}],
            "revisions": [{"name": "f-a", "revision": 1, "data": {}}],
            "ray": [],
        })
    }

    #[test]
    fn the_order_of_conditions_and_the_defaults_of_others_do_not_count() {
        let (available, stalled) = (["Available", "True", "x"], ["Stalled", "False", "y"]);
        let one = picture(2, &[available, stalled]);
        let mut other = picture(2, &[stalled, available]);
        other["rayClusters"][0]["spec"] = json!({"rayVersion": "x", "more": 1});
        other["ray"] = Value::Null;
        assert_eq!(another_end(&one, &other), Vec::<String>::new());
    }

    #[test]
    fn differences_are_reported_by_path() {
        let one = picture(2, &[["Available", "True", "x"]]);
        let mut other = picture(1, &[["Available", "False", "x"]]);
        other["pods"] = json!([]);
        let found = another_end(&one, &other);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.contains(&"/status/ready is 2 simulated and 1 real".to_owned()), "{found:#?}");
    }
}
