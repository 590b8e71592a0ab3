//! What the schema of SARIF 2.1.0 requires of the objects that are written
//! (`docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json`).

#![allow(clippy::unwrap_used, reason = "how a test's helper fails")]

use rayfleet_lint::sarif::sarif;
use rayfleet_lint::{Rule, lint};
use serde_json::{Value, json};

fn log(file: &str, manifest: &str) -> Value {
    serde_json::to_value(sarif(&[(file, &lint(manifest.as_bytes()).unwrap())], &[])).unwrap()
}

/// Whether an object has no property but these, and the first of them always.
fn only(value: &Value, required: &[&str], optional: &[&str]) {
    let fields = value.as_object().unwrap();
    for name in required {
        assert!(fields.contains_key(*name), "{name} is missing in {value}");
    }
    for name in fields.keys() {
        assert!(required.contains(&name.as_str()) || optional.contains(&name.as_str()), "{name} in {value}");
    }
}

#[test]
fn a_log_has_what_the_schema_requires_and_nothing_that_it_forbids() {
    let log = log("a dir/f:1.yaml", include_str!("corpus/traps.yaml"));
    only(&log, &["version", "runs", "$schema"], &[]);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    only(run, &["tool"], &["results", "columnKind", "invocations"]);
    assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&run["columnKind"].as_str().unwrap()));
    let driver = &run["tool"]["driver"];
    only(driver, &["name"], &["version", "rules"]);
    for rule in driver["rules"].as_array().unwrap() {
        only(rule, &["id"], &["shortDescription", "fullDescription", "help", "defaultConfiguration"]);
        for text in ["shortDescription", "fullDescription", "help"] {
            only(&rule[text], &["text"], &[]);
        }
        level(&rule["defaultConfiguration"]["level"]);
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 20);
    for result in results {
        only(result, &["message"], &["ruleId", "ruleIndex", "level", "locations"]);
        only(&result["message"], &["text"], &[]);
        level(&result["level"]);
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(driver["rules"][index]["id"], result["ruleId"]);
        assert_eq!(Rule::ALL[index].id(), result["ruleId"].as_str().unwrap());
        let location = &result["locations"][0];
        only(location, &["physicalLocation"], &["logicalLocations"]);
        let physical = &location["physicalLocation"];
        only(physical, &["artifactLocation"], &["region"]);
        assert_eq!(physical["artifactLocation"]["uri"], "a%20dir/f%3A1.yaml");
        only(&physical["region"], &["startLine"], &["startColumn"]);
        for bound in ["startLine", "startColumn"] {
            assert!(physical["region"][bound].as_u64().unwrap() >= 1, "{result}");
        }
    }
}

fn level(value: &Value) {
    assert!(["none", "note", "warning", "error"].contains(&value.as_str().unwrap()), "{value}");
}

#[test]
fn nothing_found_is_a_log_too() {
    let log = log("f.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: c}\n");
    assert_eq!(log["runs"][0]["results"], json!([]));
    assert_eq!(log["runs"][0]["invocations"], json!([{"executionSuccessful": true}]));
}

#[test]
fn a_file_that_cannot_be_read_is_no_clean_run() {
    let log = serde_json::to_value(sarif(&[], &["cannot read a".to_owned()])).unwrap();
    let notification = json!({"level": "error", "message": {"text": "cannot read a"}});
    let invocation = json!({"executionSuccessful": false, "toolExecutionNotifications": [notification]});
    assert_eq!(log["runs"][0]["invocations"], json!([invocation]));
}

#[test]
fn files_have_the_addresses_by_which_code_hosts_find_them() {
    for (file, uri) in [("-", "stdin"), ("/a b/c.yaml", "file:///a%20b/c.yaml"), ("a/b.yaml", "a/b.yaml")] {
        let location = &log(file, "kind: A\n")["runs"][0]["results"][0]["locations"][0];
        assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], uri, "{file}");
    }
}
