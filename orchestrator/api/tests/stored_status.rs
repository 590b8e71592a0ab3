//! The status that a release has stored is read by every later one: `status.groups` is a ledger that decisions start from. Each file of
//! `stored/` is a status as that release wrote it, recorded on a real cluster, with every field that it had.

use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::generated::crd_manifest;
use serde_json::Value;

#[test]
fn a_status_stored_by_0_1_0_is_read_without_loss() {
    let stored: Value = serde_json::from_str(include_str!("stored/0.1.0.json")).unwrap();
    let status: RayClusterFleetStatus = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(status.unreadable, [], "a field that is read in another form needs a migration");
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        stored,
        "a field that is renamed is lost: read both names"
    );
}

#[test]
fn a_recorded_status_has_every_field_of_the_crd() {
    let stored: Value = serde_json::from_str(include_str!("stored/0.1.0.json")).unwrap();
    let crd: Value = serde_saphyr::from_str(&crd_manifest().unwrap()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let mut missing = Vec::new();
    compare(schema, &[&stored], "status", &mut missing);
    assert_eq!(missing, Vec::<String>::new(), "record the field in the newest file of stored/");
}

/// Fields of a schema that none of the values has.
fn compare(schema: &Value, values: &[&Value], path: &str, missing: &mut Vec<String>) {
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{field}");
        let values: Vec<&Value> = values.iter().filter_map(|value| value.get(field)).collect();
        if values.is_empty() {
            missing.push(path);
            continue;
        }
        compare(schema, &values, &path, missing);
        let items: Vec<&Value> = values.into_iter().filter_map(Value::as_array).flatten().collect();
        if !items.is_empty() {
            compare(&schema["items"], &items, &format!("{path}[]"), missing);
        }
    }
}
