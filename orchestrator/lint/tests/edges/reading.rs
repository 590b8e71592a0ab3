//! How manifests are read, and how findings are counted and shown.

use rayfleet_lint::migrate::Options;
use rayfleet_lint::sarif::sarif;
use rayfleet_lint::{Finding, Severity, exit_code, lint, migrate, text};
use serde_json::{Value, json};

use crate::{HEAD, fleet, found, ids, service, with};

#[test]
fn fields_that_the_types_lack_are_named_with_their_line() {
    for (path, value, rule, field) in [
        ("/spec/drian", json!({}), "dropped-field", "spec.drian"),
        (
            "/spec/strategy/rollingUpdate/maxSurge",
            json!({}),
            "wrong-type",
            "spec.strategy.rollingUpdate.maxSurge",
        ),
        ("/spec/replicas", json!(501), "invalid-fleet", "spec.replicas"),
        ("/spec/template/spec/rayversion", json!("1"), "dropped-field", "spec.template.spec.rayversion"),
        ("/spec/template/spec/tlsOptions", json!({}), "newer-field", "spec.template.spec.tlsOptions"),
        ("/metadata/name", json!("UPPER"), "invalid-fleet", "metadata.name"),
    ] {
        let found = found(&[with(path, value)]);
        assert!(
            found.iter().any(|it| (it.rule.id(), it.field.as_str()) == (rule, field)),
            "{path}: {found:?}"
        );
        assert!(found.iter().all(|finding| finding.place.line == 1 && finding.place.column > 1), "{found:?}");
    }
    let twice = ids(&[with("/spec/replicas", json!("many"))]);
    assert_eq!(twice, ["wrong-type"], "once, not by every check that sees it");
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding() {
    let note = found(&[with(&format!("{HEAD}/terminationGracePeriodSeconds"), json!(null))]);
    let codes = [Severity::Note, Severity::Warning, Severity::Error].map(|from| exit_code(&note, from));
    assert_eq!((note.len(), codes), (1, [1, 0, 0]));
    assert_eq!(exit_code(&[], Severity::Note), 0);
}

#[test]
fn nothing_of_a_manifest_moves_a_terminals_cursor() {
    let odd = with(&format!("{HEAD}/containers/0/image"), json!("\u{1b}[2mx\r\ny"));
    let shown = text::text("f\n.yaml", &found(&[odd]));
    assert!(shown.contains(" [2mx y"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\r']) && shown.lines().count() == 5, "{shown}");
}

#[test]
fn what_stands_in_several_files_is_held_against_each_other() {
    let yaml = |object: &Value| object.to_string().into_bytes();
    let selects = service(&json!({"selector": {"app": "f"}, "ports": [{"port": 80, "targetPort": "http"}]}));
    let (fleet, selects) = (yaml(&fleet()), yaml(&selects));
    let found = rayfleet_lint::lint_all(&[&fleet, b"a: [", &selects]);
    assert_eq!(found[0].as_ref().unwrap().len(), 0);
    assert!(found[1].is_err());
    let of_service: Vec<_> = found[2].as_ref().unwrap().iter().map(|it| it.rule.id()).collect();
    assert_eq!(of_service, ["service-selects-workers"]);
}

#[test]
fn files_in_which_nothing_was_looked_at_say_so() {
    for (text, rules, says) in [
        ("", vec!["nothing-checked"], "no fleet or LeaderWorkerSet in it"),
        (
            "apiVersion: ray.io/v1\nkind: RayCluster\nmetadata: {name: r}\n",
            vec!["nothing-checked"],
            "RayCluster is not checked",
        ),
        (
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
            vec!["nothing-checked"],
            "Cluster is not checked",
        ),
        ("replicas: 1\n", vec!["nothing-checked"], "no fleet"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: r}\n", vec![], ""),
        ("apiVersion: v1\nkind: Service\n", vec!["not-an-object"], "metadata.name"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: r}\n---\na: 1\n", vec!["not-an-object"; 3], ""),
    ] {
        let found = lint(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(|it| it.rule.id()).collect::<Vec<_>>(), rules, "{text}");
        assert!(found.iter().all(|it| it.what.contains(says)), "{found:?}");
    }
}

#[test]
fn numbers_with_a_leading_zero_are_octal_as_kubectl_reads_them() {
    let text = "apiVersion: v1\nkind: Thing\nmetadata: {name: a}\nmodes: [0644, 0400, 0o17, 10]\n";
    let manifest = rayfleet_lint::read::read(text.as_bytes()).unwrap();
    assert_eq!(manifest.objects[0].value["modes"], json!([420, 256, 15, 10]));
}

#[test]
fn what_is_too_large_for_a_float_is_text_as_kubectl_reads_it() {
    let text =
        "kind: Ä\n---\nkind: Thing\nmetadata:\n  labels: {é: 1, sha: 12e4567, b: &a -1.5e999}\n  again: *a\n";
    let value = &rayfleet_lint::read::read(text.as_bytes()).unwrap().objects[1].value;
    assert_eq!(
        value["metadata"],
        json!({"labels": {"é": 1, "sha": "12e4567", "b": "-1.5e999"}, "again": "-1.5e999"})
    );
    let error = rayfleet_lint::read::read(b"a: 1\nb: [1, -.inf]\n").unwrap_err();
    assert_eq!(error.to_string(), "2:8: has a number that JSON does not have: put it into quotes");
    assert!(rayfleet_lint::read::objects(b"a: 1\na: 2\n").unwrap_err().to_string().contains("duplicate"));
}

#[test]
fn a_thousand_warnings_hide_no_error() {
    let mut crowded = fleet();
    let env: Vec<Value> = (0..2_000).map(|n| json!({"name": format!("A{n}"), "value": "$X"})).collect();
    crowded["spec"]["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] =
        json!(env);
    let misled = service(&json!({"selector": {"app": "f"}, "ports": [{"port": 8000}]}));
    let found = found(&[crowded, misled]);
    assert_eq!((found.len(), exit_code(&found, Severity::Error)), (1_000, 1));
}

#[test]
fn nothing_of_a_manifest_but_plain_text_is_in_any_output() {
    let odd = "a\u{1b}\u{7f}\u{80}\u{9b}2K\u{9f}\r\n\u{85}\u{2028}x: \u{2029}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}";
    let mut given = with("/metadata/name", json!(odd));
    given["metadata"]["namespace"] = json!(odd);
    given["spec"][odd] = json!(odd);
    given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["image"] = json!(odd);
    given.pointer_mut(&format!("{HEAD}/containers/0")).unwrap()["command"][2] =
        json!(format!("install '{odd}'; $KUBERAY_GEN_RAY_START_CMD & vllm serve /m -pp 2"));
    let shown =
        |c: char| (c.is_control() && c != '\n') || odd.chars().skip(1).any(|it| it == c && !c.is_ascii());
    // Raw they are no YAML.
    let escaped = |c: char| {
        if c.is_ascii() && c != '\u{7f}' { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }
    };
    let manifest: String = given.to_string().chars().map(escaped).collect();
    let found = lint(manifest.as_bytes()).unwrap();
    let new = migrate(manifest.as_bytes(), Options::default()).unwrap();
    assert!(found.len() > 1 && new.findings.len() > 1, "{found:?}");
    for findings in [&found, &new.findings] {
        for it in findings {
            for text in [&it.kind, &it.namespace, &it.name, &it.field, &it.what, &it.cure] {
                assert!(!text.contains(char::is_control) && !text.contains(shown), "{text:?}");
            }
        }
        let json = serde_json::to_string(&sarif(&[("f", findings)], &[])).unwrap();
        assert!(!json.contains(shown), "{json:?}");
    }
    // Values stay as they are, escaped.
    let raw = |c: char| (c.is_control() && c != '\n') || ['\u{2028}', '\u{2029}'].contains(&c);
    assert!(!new.yaml().unwrap().contains(raw), "{:?}", new.yaml());
    let changes = &new.objects[0].changes;
    assert!(!changes.is_empty() && !changes.iter().any(|it| it.contains(['\n', '\u{85}', '\u{2028}'])));
    let unread = lint("? [\u{9b}2K, {\u{9b}: &\u{9b} *\u{9b}".as_bytes()).unwrap_err();
    assert!(!unread.problem.contains(char::is_control), "{unread:?}");
}

#[test]
fn the_search_for_wrong_values_is_bounded_for_all_of_a_manifest() {
    let mut arguments = vec![json!("a"); 420];
    arguments.push(json!(1));
    let given = with(&format!("{HEAD}/containers/0/args"), json!(arguments));
    let all: Vec<Value> = (0..100).map(|_| given.clone()).collect();
    let found = found(&all);
    let wrong: Vec<&Finding> = found.iter().filter(|it| it.rule.id() == "wrong-type").collect();
    let named =
        wrong.iter().filter(|it| it.field.ends_with("args[420]") && it.what.ends_with("is `1`")).count();
    assert_eq!(wrong.len(), 100);
    assert!((1..10).contains(&named), "{named}");
    let last = wrong.last().unwrap();
    assert!(last.field.ends_with("args") || last.field.ends_with("template"), "{last:?}");
    assert!(!last.what.contains("is `null`"), "{last:?}");
}
