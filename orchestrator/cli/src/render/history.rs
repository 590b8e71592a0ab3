//! The table of revisions, and one revision in full.

use jiff::Timestamp;
use rayfleet_api::revision::Revision as Hash;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::{Cell, Table, Tone};
use serde_json::{Map, Value};

use crate::revisions::Revision;

/// One row per revision, oldest first; the fleet's present one is marked.
pub(crate) fn table(revisions: &[Revision], current: Option<&Hash>, now: Timestamp) -> Table {
    let mut table = Table::new(["REVISION", "POD/ENGINE", "AGE", "CURRENT", "CHANGE-CAUSE"]);
    for revision in revisions {
        let hash = revision.hash().ok();
        let is_current = hash.is_some() && hash.as_ref() == current;
        table.push([
            Cell::from(revision.number.to_string()),
            match &hash {
                Some(hash) => Cell::from(hash.to_string()),
                None => Cell::new("<unreadable>", Tone::Bad),
            },
            Cell::from(age::since(revision.created, now)),
            Cell::new(if is_current { "yes" } else { "-" }, Tone::Good),
            Cell::from(revision.cause.as_deref().unwrap_or("<none>")),
        ]);
    }
    table
}

/// The content that an undo restores: template and model.
pub(crate) fn content(revision: &Revision) -> Value {
    let mut content = Map::new();
    content.insert("template".to_owned(), revision.template.clone());
    if !revision.model.is_null() {
        content.insert("model".to_owned(), revision.model.clone());
    }
    Value::Object(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn revision(number: i64, model: Value, cause: Option<&str>) -> Revision {
        Revision {
            number,
            name: format!("llama-{number}"),
            created: Some("2026-03-01T12:00:00Z".parse().unwrap()),
            cause: cause.map(str::to_owned),
            template: sample::template("ray:1"),
            model,
            recorded: None,
        }
    }

    #[test]
    fn the_table_of_revisions() {
        let all = [
            revision(1, json!(null), None),
            revision(2, sample::model(&[]), Some("engine arguments for long prompts")),
            revision(3, json!(7), None),
        ];
        let current = all[1].hash().unwrap();
        insta::assert_snapshot!(table(&all, Some(&current), sample::now()).render(false));
    }

    #[test]
    fn the_content_has_a_model_only_if_the_revision_had_one() {
        assert!(content(&revision(1, json!(null), None)).get("model").is_none());
        assert_eq!(content(&revision(2, sample::model(&[]), None))["model"]["name"], "llama-3.1-405b");
    }
}
