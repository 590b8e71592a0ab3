//! The reference of the fields of the CRD, for people: `docs/reference.md`. Pure text.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSONSchemaProps,
};
use rayfleet_api::generated::UPDATE;
use rayfleet_api::{crd, names};

use crate::sections::{Section, escape, sections};

/// The reference of all fields, columns and rules: `docs/reference.md`.
pub(crate) fn reference_markdown() -> String {
    let crd = crd();
    let mut text = head(&crd);
    for version in &crd.spec.versions {
        text.push_str(&columns(version.additional_printer_columns.as_deref().unwrap_or_default()));
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let Some(schema) = schema else { continue };
        text.push_str(&rules(schema));
        for section in sections(schema) {
            push_section(&mut text, &section);
        }
    }
    text
}

fn head(crd: &CustomResourceDefinition) -> String {
    let plural = &crd.spec.names.plural;
    let short = crd.spec.names.short_names.iter().flatten().map(|name| format!("`{name}`"));
    format!(
        "# {} reference\n\n\
         <!-- Generated from the types in orchestrator/api. Write it again with: {UPDATE} -->\n\n\
         `apiVersion: {}/{}`, `kind: {}`, namespaced; `kubectl get {plural}`, short {}. It has the subresources \
         `status` and `scale`. What is not marked as required may be left out. A duration is a text such as `90s`, `10m` \
         or `1h30m`. What the words mean is in [concepts.md](concepts.md).\n\n",
        names::KIND,
        names::GROUP,
        names::VERSION,
        names::KIND,
        short.collect::<Vec<_>>().join(", "),
    )
}

fn columns(columns: &[CustomResourceColumnDefinition]) -> String {
    let mut text = String::from("## Columns of `kubectl get`\n\n| column | field | shown |\n|---|---|---|\n");
    for column in columns {
        let shown = if column.priority.unwrap_or_default() > 0 { "with `-o wide`" } else { "always" };
        let _ = writeln!(text, "| {} | `{}` | {shown} |", column.name, column.json_path);
    }
    text.push('\n');
    text
}

/// The rules that span several fields.
fn rules(schema: &JSONSchemaProps) -> String {
    let mut text = String::from(
        "## Rules over several fields\n\n\
         The API server refuses an object that breaks one of these, with the message given here.\n\n\
         | field | when | message |\n|---|---|---|\n",
    );
    let spec = schema.properties.as_ref().and_then(|properties| properties.get("spec"));
    for (prefix, holder) in [("", Some(schema)), ("spec", spec)] {
        let rules = holder.and_then(|holder| holder.x_kubernetes_validations.as_deref()).unwrap_or_default();
        for rule in rules {
            let path = format!("{prefix}{}", rule.field_path.as_deref().unwrap_or_default());
            let field = if path.is_empty() { "object".to_owned() } else { format!("`{path}`") };
            let when = match rule.optional_old_self {
                Some(true) => "create, and update of what it reads",
                _ if rule.rule.contains("oldSelf") => "update",
                _ => "create, update",
            };
            let message = escape(rule.message.as_deref().unwrap_or_default());
            let _ = writeln!(text, "| {field} | {when} | {message} |");
        }
    }
    text.push('\n');
    text
}

fn push_section(text: &mut String, section: &Section) {
    // Writing to a String cannot fail.
    let _ = write!(text, "## {}\n\n", section.path);
    if !section.description.is_empty() {
        let _ = write!(text, "{}\n\n", section.description);
    }
    text.push_str("| field | type | default | constraints | description |\n|---|---|---|---|---|\n");
    for row in &section.rows {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            row.field, row.kind, row.default, row.constraints, row.description
        );
    }
    text.push('\n');
}

#[test]
fn every_rule_of_the_crd_is_reported() {
    let text = reference_markdown();
    let value = serde_json::to_value(crd()).unwrap();
    let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for holder in [schema, &schema["properties"]["spec"]] {
        for rule in holder["x-kubernetes-validations"].as_array().unwrap() {
            let message = rule["message"].as_str().unwrap();
            assert!(text.contains(message), "{message}");
        }
    }
}
