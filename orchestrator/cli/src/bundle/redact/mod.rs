//! What of objects and texts never gets into a bundle. `names` says which names stand for secrets, `text` what is hidden in a text, where
//! `value` says how far a value goes; `learned` finds the values again.
//!
//! A value that a name gives away is learned first, so that it is hidden wherever else it occurs: in a log, an event, a command line.
//! What is no text of its own (names, labels, nodes, addresses, images, models, prompts in an engine's log) stays. Pure.

mod learned;
mod names;
mod text;
mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use self::learned::Learned;
use self::names::{counts, is_secret_field, is_secret_variable, is_worth_learning};

/// What stands where something was.
pub(super) const HIDDEN: &str = "<redacted>";

/// Annotations with a whole object as it was written, with all that is hidden in the object.
const COPIES: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "banzaicloud.com/last-applied"];
/// Maps of an environment, in Ray's answers.
const ENVIRONMENTS: [&str; 3] = ["env_vars", "envVars", "env"];
/// Texts within texts: an annotation with JSON that has an annotation with JSON.
const DEPTH: usize = 4;

/// Hides what is secret.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    learned: Learned,
}

impl Redactor {
    /// One that knows the secrets of these objects by their values. None of them is a part of `names`, which stay. Without it nothing may
    /// be written; the error says why there is none.
    pub(super) fn of<'v>(
        objects: impl IntoIterator<Item = &'v Value>,
        names: &BTreeSet<String>,
    ) -> Result<Self, String> {
        let mut found = BTreeSet::new();
        objects.into_iter().for_each(|object| learn(object, &mut found));
        Ok(Self { learned: Learned::of(&found, names)? })
    }

    /// A text, or a line of a log. Colours go: a name or a value may be written in parts of several.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let plain = text::without_colours(text);
        let hidden = text::hide(&self.learned.hide(&plain)).into_owned();
        if hidden == text { Cow::Borrowed(text) } else { Cow::Owned(hidden) }
    }

    /// What a pod answered: if it is JSON, by its names and values first, and then as a text.
    pub(super) fn answer<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let by_names = self.string(text, DEPTH);
        let hidden = self.text(&by_names).into_owned();
        let broken = is_json(&by_names) && !is_json(&hidden);
        // Each string of it has been judged as a text.
        if broken || hidden == *by_names { by_names } else { Cow::Owned(hidden) }
    }

    /// An object of the API server, or an answer of Ray.
    pub(super) fn object(&self, object: &mut Value) {
        self.value(object, DEPTH);
    }

    fn value(&self, value: &mut Value, depth: usize) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.string(text, depth) {
                    *text = hidden;
                }
            }
            Value::Array(items) => {
                hide_behind_flags(items);
                for item in items {
                    self.value(item, depth);
                }
            }
            Value::Object(fields) => {
                for copy in COPIES {
                    fields.remove(copy);
                }
                if is_variable(fields).is_some_and(is_secret_variable) {
                    fields.insert("value".to_owned(), HIDDEN.into());
                }
                for (name, field) in fields.iter_mut() {
                    if ENVIRONMENTS.contains(&name.as_str())
                        && let Value::Object(variables) = field
                    {
                        variables
                            .iter_mut()
                            .filter(|(name, _)| is_secret_variable(name))
                            .for_each(|(_, value)| hide(value, true));
                    }
                    if is_secret_field(name) {
                        hide(field, !counts(name));
                    }
                    self.value(field, depth);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// JSON in a text is read as such, else names and values in it would be missed.
    fn string<'t>(&self, text: &'t str, depth: usize) -> Cow<'t, str> {
        if depth > 0
            && text.trim_start().starts_with(['{', '['])
            && let Ok(mut inner) = serde_json::from_str::<Value>(text)
        {
            let before = inner.clone();
            self.value(&mut inner, depth - 1);
            return if inner == before { Cow::Borrowed(text) } else { Cow::Owned(inner.to_string()) };
        }
        self.text(text)
    }
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The name of a variable or of an HTTP header with a value.
fn is_variable(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("value")?.as_str()?;
    fields.get("name")?.as_str()
}

/// Hides a value of a secret's name; of what has fields the field `value`, and the rest is looked through.
fn hide(value: &mut Value, numbers: bool) {
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::Number(_) if !numbers => {}
        Value::String(_) | Value::Number(_) => *value = HIDDEN.into(),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, numbers)),
        // KubeRay's redisPassword is a value, or a reference to one.
        Value::Object(fields) => fields.get_mut("value").into_iter().for_each(|value| hide(value, numbers)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Arguments behind a flag such as `--api-key`, which takes several.
fn hide_behind_flags(items: &mut [Value]) {
    for_arguments(items, |item| *item = HIDDEN.into());
}

fn for_arguments(items: &mut [Value], mut each: impl FnMut(&mut Value)) {
    let mut behind = false;
    for item in items {
        let Some(text) = item.as_str() else {
            behind = false;
            continue;
        };
        if text.starts_with('-') {
            behind = !text.contains('=') && !text.contains(char::is_whitespace) && is_secret_field(text);
        } else if behind {
            each(item);
        }
    }
}

/// Collects the values that names give away.
fn learn(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => {
            for_arguments(&mut items.clone(), |item| found.extend(item.as_str().map(str::to_owned)));
            for item in items {
                learn(item, found);
            }
        }
        Value::Object(fields) => {
            let is_secret = |name: &&str| is_secret_variable(name) && is_worth_learning(name);
            if is_variable(fields).is_some_and(|name| is_secret(&name)) {
                found.extend(fields.get("value").and_then(Value::as_str).map(str::to_owned));
            }
            for (name, field) in fields {
                if is_secret_field(name) {
                    learn_all(field, found);
                }
                learn(field, found);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The strings that [`hide`] hides.
fn learn_all(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| learn_all(item, found)),
        Value::Object(fields) => fields.get("value").into_iter().for_each(|value| learn_all(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "Zq7-opaque.Value_9";

    fn redacted(mut object: Value) -> Value {
        let redactor = Redactor::of([&object], &BTreeSet::new()).unwrap();
        redactor.object(&mut object);
        object
    }

    #[test]
    fn a_secret_of_an_object_is_hidden_wherever_it_stands() {
        let inner = json!({"spec": {"env": [{"name": "HF_TOKEN", "value": SECRET}]}}).to_string();
        let twice = json!({"copy": inner}).to_string();
        for object in [
            json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": inner}}}),
            json!({"metadata": {"annotations": {"team/whole": inner}}}),
            json!({"metadata": {"annotations": {"team/whole": twice}}}),
            json!({"metadata": {"annotations": {"team/token": SECRET}}}),
            json!({"env": [{"name": "HF_TOKEN", "value": SECRET}]}),
            json!({"env": [{"name": "AWS_ANYTHING", "value": SECRET}]}),
            json!({"env": [{"name": "URL", "value": format!("https://u:{SECRET}@h/")}]}),
            json!({"args": ["--api-key", SECRET, "--port", "1"]}),
            json!({"args": ["--api-key", "first", SECRET]}),
            json!({"args": [format!("--api-key={SECRET}")]}),
            json!({"command": ["sh", "-c", format!("exec vllm serve /m --api-key {SECRET} --port 1")]}),
            json!({"httpHeaders": [{"name": "Authorization", "value": format!("Bearer {SECRET}")}]}),
            json!({"rayStartParams": {"redis-password": SECRET}}),
            json!({"runtime_env": {"env_vars": {"HF_TOKEN": SECRET, "MY_KEY": SECRET}}}),
            json!({"message": format!("Error: token={SECRET} was refused")}),
            json!({"gcsFaultToleranceOptions": {"redisPassword": {"value": SECRET}}}),
            json!({"redisPassword": {"value": SECRET}, "message": format!("cannot log in with {SECRET}")}),
            json!({"annotations": {"team/auths": format!("{{\"auths\":{{\"r\":{{\"auth\":\"{SECRET}\"}}}}}}")}}),
            json!({"auths": [{"passwords": null, "client_secret": [SECRET]}]}),
            // Named in one place, and only printed in another.
            json!({"env": [{"name": "X_KEY", "value": SECRET}], "message": format!("cannot log in with {SECRET}!")}),
        ] {
            let text = redacted(object.clone()).to_string();
            assert!(!text.contains(SECRET), "{object}\n{text}");
        }
    }

    #[test]
    fn what_the_commands_read_stays_as_it_is() {
        let object = json!({
            "metadata": {
                "name": "llama", "labels": {"topology.kubernetes.io/zone": "us-east-1a", "ray.io/cluster": "g"},
                "annotations": {"rayfleet.io/size": "{\"workers\": [1, 2]}"}
            },
            "spec": {
                "imagePullSecrets": [{"name": "registry"}],
                "automountServiceAccountToken": false,
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "containers": [{
                    "image": "registry.example.com/vllm:1", "args": ["--max-model-len", "8192"],
                    "env": [
                        {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "g", "key": "auth_token"}}},
                        {"name": "KUBERAY_GEN_RAY_START_CMD", "value": "ray start --head  --dashboard-port=9000  --block"}
                    ]
                }],
                "gcsFaultToleranceOptions": {
                    "redisAddress": "r:6379",
                    "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
                },
                "usage": {"tokens": 123_456_789, "max_tokens": 16},
                "volumes": [{"secret": {"secretName": "s"}}, {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
            }
        });
        assert_eq!(redacted(object.clone()), object);
    }

    #[test]
    fn a_name_is_never_taken_for_a_secret() {
        let mut objects = vec![
            json!({"env": [{"name": "MY_KEY", "value": "llama-bcdfgh-0"}, {"name": "AWS_REGION", "value": "us-east-1"}]}),
            json!({"metadata": {"name": "llama-bcdfgh-0-head-x2b4f"}, "zone": "us-east-1a"}),
        ];
        let names = BTreeSet::from(["llama-bcdfgh-0-head-x2b4f".to_owned()]);
        let redactor = Redactor::of(&objects, &names).unwrap();
        for object in &mut objects {
            redactor.object(object);
        }
        assert_eq!(objects[0]["env"][0]["value"], HIDDEN);
        assert_eq!(objects[0]["env"][1]["value"], HIDDEN);
        assert_eq!(
            objects[1],
            json!({"metadata": {"name": "llama-bcdfgh-0-head-x2b4f"}, "zone": "us-east-1a"})
        );
    }

    #[test]
    fn an_answer_is_judged_as_json_and_as_a_text() {
        let redactor = Redactor::default();
        for answer in [
            json!({"runtime_env": {"env_vars": {"SOME_KEY": SECRET}}}).to_string(),
            json!({"entrypoint": "x", "auth": {"value": SECRET}}).to_string(),
            json!([{"driver_info": null, "metadata": {"hf_token": [SECRET]}}]).to_string(),
            // Not complete, so it is no JSON.
            format!("{{\"runtime_env\": {{\"env_vars\": {{\"MY_TOKEN\": \"{SECRET}\"}}"),
            format!("token={SECRET}"),
        ] {
            let hidden = redactor.answer(&answer);
            assert!(!hidden.contains(SECRET) && is_json(&hidden) == is_json(&answer), "{answer}\n{hidden}");
        }
        let plain = "{\"tokens\": [1, 2],\n \"n\": 1.50}";
        assert_eq!(redactor.answer(plain), plain);
    }

    #[test]
    fn a_deep_object_is_no_harm() {
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!({"a": deep.to_string().chars().take(4000).collect::<String>(), "b": [deep]});
        }
        assert!(redacted(deep).is_object());
    }
}
