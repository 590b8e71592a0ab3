//! The state API: nodes, actors and placement groups in one shape, with filters.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::actor::Actor;
use super::super::gcs::Gcs;
use super::super::message::{Call, Reply};
use super::entries::{ActorEntry, Entry, GroupEntry, NodeEntry};

/// The nodes that match the filters of a call.
pub(super) fn nodes(gcs: &Gcs, call: &Call) -> Reply {
    list(call, gcs.nodes.iter().map(|(id, node)| NodeEntry(id, node)))
}

/// The actors, by id.
pub(super) fn actors(gcs: &Gcs, call: &Call) -> Reply {
    let mut actors: Vec<&Actor> = gcs.actors.iter().collect();
    actors.sort_by_key(|actor| &actor.id);
    list(call, actors.into_iter().map(|actor| ActorEntry(gcs, actor)))
}

/// The placement groups.
pub(super) fn groups(gcs: &Gcs, call: &Call) -> Reply {
    list(call, gcs.groups.iter().map(GroupEntry::new))
}

#[derive(Serialize)]
struct Answer<S> {
    data: Data<S>,
    msg: &'static str,
    result: bool,
}

#[derive(Serialize)]
struct Data<S> {
    result: Found<S>,
}

#[derive(Serialize)]
struct Found<S> {
    num_after_truncation: usize,
    num_filtered: usize,
    partial_failure_warning: &'static str,
    result: Vec<S>,
    total: usize,
    warnings: (),
}

fn list<E: Entry>(call: &Call, all: impl ExactSizeIterator<Item = E>) -> Reply {
    let values = |key: &str| -> Vec<&str> {
        call.query.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect()
    };
    let limit = match values("limit").first().map(|text| (text, text.parse::<i64>())) {
        None => 100,
        Some((_, Ok(limit @ 0..=10_000))) => usize::try_from(limit).unwrap_or(100),
        Some((text, Ok(_))) => {
            return refused(&format!("Given limit {text} is not supported. It must be 0 to 10000."));
        }
        Some((text, Err(_))) => return refused(&format!("invalid literal for int() with base 10: '{text}'")),
    };
    let (keys, signs, wanted) = (values("filter_keys"), values("filter_predicates"), values("filter_values"));
    if keys.len() != signs.len() || keys.len() != wanted.len() {
        return Reply::text(500, "500 Internal Server Error\n\nServer got itself in trouble");
    }
    if let Some(bad) = keys.iter().find(|key| !E::COLUMNS.contains(key)) {
        let known = E::COLUMNS.iter().map(|column| format!("'{column}'")).collect::<Vec<_>>().join(", ");
        return refused(&format!(
            "The given filter column {bad} is not supported. Enter filters with –-filter key=value or –-filter key!=value \
             Supported filter columns: {{{known}}}"
        ));
    }
    let total = all.len();
    let fits = |entry: &E| {
        keys.iter().zip(&signs).zip(&wanted).all(|((key, sign), wanted)| {
            let is = match entry.column(key) {
                Value::String(text) => text == *wanted,
                Value::Null => false,
                other => other.to_string().eq_ignore_ascii_case(wanted),
            };
            is == (*sign == "=")
        })
    };
    let found: Vec<E> = all.filter(fits).collect();
    let result = Found {
        num_after_truncation: total,
        num_filtered: found.len(),
        partial_failure_warning: "",
        result: found.iter().take(limit).map(Entry::shown).collect(),
        total,
        warnings: (),
    };
    Reply::json(200, &Answer { data: Data { result }, msg: "", result: true })
}

fn refused(message: &str) -> Reply {
    Reply::json(400, &json!({ "result": false, "msg": message, "data": { "result": null } }))
}
