//! Whatever the bytes are, there is an answer, and it is bounded.

#![allow(clippy::unwrap_used, reason = "how a test's helper fails")]

use proptest::prelude::*;
use rayfleet_lint::migrate::Options;
use rayfleet_lint::read::read;
use rayfleet_lint::sarif::sarif;
use rayfleet_lint::{lint, migrate, text};
use serde_json::{Value, json};

const SHAPES: [&str; 6] = [
    include_str!("corpus/aibrix-pipeline.yaml"),
    include_str!("corpus/aibrix-two-nodes.yaml"),
    include_str!("corpus/aibrix-one-pod.yaml"),
    include_str!("corpus/lws-vllm-gpu.yaml"),
    include_str!("corpus/lws-sglang.yaml"),
    include_str!("corpus/traps.yaml"),
];

/// Lint and migration of a manifest, all of which must be readable again.
fn answers(bytes: &[u8]) {
    let found = lint(bytes);
    let new = [false, true].map(|split_tensor| migrate(bytes, Options { split_tensor }));
    let Ok(found) = found else {
        assert!(new.iter().all(Result::is_err));
        return;
    };
    assert!(found.len() <= 1_000);
    let shown = text::text("f", &found);
    assert!(shown.lines().count() <= 2 * found.len() + 1, "{shown}");
    serde_json::to_string(&sarif(&[("f", &found)], &[])).unwrap();
    for new in new {
        let new = new.unwrap();
        let yaml = new.yaml().unwrap();
        // What is written is what was meant; a document of nothing is none.
        let values = new.objects.into_iter().map(|object| object.value).filter(|value| !value.is_null());
        if let Ok(again) = read(yaml.as_bytes()) {
            let again: Vec<Value> = again.objects.into_iter().map(|object| object.value).collect();
            let values: Vec<Value> = values.collect();
            let lists =
                values.iter().any(|value| value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")));
            assert!(lists || again == values, "{yaml}\n{again:?}\n{values:?}");
        } else {
            assert!(yaml.len() > 100_000, "{yaml}");
        }
    }
}

/// Sets one place of a manifest, by a walk of random steps, to a value of another kind.
fn poison(value: &mut Value, steps: &[usize], poison: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *value = poison;
        return;
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            self::poison(&mut items[at], rest, poison);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(step % fields.len()).cloned().unwrap();
            self::poison(&mut fields[&name], rest, poison);
        }
        _ => *value = poison,
    }
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e308)),
        Just(json!("")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[{}]]])),
        Just(json!({"a.b": {"c[0]": 1}})),
        Just(json!("bash -c 'vllm serve $(X) --port 99999999999 -tp 4294967295 -pp 4294967295'")),
        "[ -~ßé\u{0}\u{1b}\r\n$'\"`&;|()]{0,40}".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        answers(&bytes);
    }

    #[test]
    fn any_text_has_an_answer(text in "[-a-z:{}\\[\\]&*!|>'\"%@`#?, \n\t]{0,200}") {
        answers(text.as_bytes());
    }

    #[test]
    fn any_value_at_any_place_has_an_answer(
        shape in 0..SHAPES.len(),
        steps in prop::collection::vec(any::<usize>(), 1..14),
        odd in odd(),
    ) {
        let documents: Vec<Value> = SHAPES[shape].split("\n---\n").map(value).collect();
        let mut list = json!({"apiVersion": "v1", "kind": "List", "items": documents});
        if let Some(items) = list["items"].as_array_mut() {
            let at = steps[0] % items.len();
            poison(&mut items[at], &steps[1..], odd);
        }
        answers(list.to_string().as_bytes());
    }

    #[test]
    fn any_script_has_an_answer(script in "(vllm serve|ray start|eval|exec|\\$KUBERAY_GEN_RAY_START_CMD|multi-node-serving.sh|--port|-tp|8| |;|&|\\||'|\"|\\$|\\(|\\)|\n|m){0,30}") {
        for shape in [SHAPES[0], SHAPES[3]] {
            let mut object = value(shape.split("\n---\n").next().unwrap());
            let head = if shape == SHAPES[0] {
                &mut object["spec"]["template"]["spec"]["headGroupSpec"]["template"]
            } else {
                &mut object["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
            };
            head["spec"]["containers"][0]["command"] = json!(["bash", "-c", script]);
            answers(object.to_string().as_bytes());
        }
    }
}

fn value(yaml: &str) -> Value {
    read(yaml.as_bytes()).unwrap().objects.remove(0).value
}

/// Every path of a value, as JSON pointers.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), all);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                pointers(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        _ => {}
    }
}

#[test]
fn another_kind_at_every_place_has_an_answer() {
    for shape in [SHAPES[0], SHAPES[2], SHAPES[3]] {
        let whole = value(shape.split("\n---\n").next().unwrap());
        let mut all = Vec::new();
        pointers(&whole, "", &mut all);
        for at in all {
            for kind in [json!("x"), json!(["x"])] {
                let mut object = whole.clone();
                *object.pointer_mut(&at).unwrap() = kind;
                answers(object.to_string().as_bytes());
            }
        }
    }
}
