//! A time line as a table or as documents. No call here.

use jiff::{Timestamp, Unit};
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::{Cell, Table, Tone};
use serde::Serialize;

use super::entry::{Entry, type_of};

/// How a time line is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub(super) namespaces: bool,
    pub(super) wide: bool,
    pub(super) timestamps: bool,
}

/// A time line as one document.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) events: &'a [Entry],
}

/// A time line as a table.
pub(super) fn table<'a>(entries: impl IntoIterator<Item = &'a Entry>, shape: Shape, now: Timestamp) -> Table {
    let mut headers = Vec::from(if shape.namespaces { &["NAMESPACE"][..] } else { &[] });
    headers.extend(["LAST SEEN", "TYPE", "REASON", "OBJECT"]);
    if shape.wide {
        headers.extend(["GROUP", "SOURCE"]);
    }
    headers.push("MESSAGE");
    let mut table = Table::new(headers);
    for entry in entries {
        let mut row: Vec<Cell> = Vec::new();
        if shape.namespaces {
            row.push((&entry.object.namespace).into());
        }
        let tone = if entry.warning { Tone::Busy } else { Tone::Plain };
        row.extend([
            seen(entry, shape, now).into(),
            Cell::new(type_of(entry.warning), tone),
            Cell::new(&entry.reason, tone),
            format!("{}/{}", entry.object.kind, entry.object.name).into(),
        ]);
        if shape.wide {
            row.extend([entry.groups.join(",").into(), (&entry.source).into()]);
        }
        row.push((&entry.message).into());
        table.push(row);
    }
    table
}

/// `45s`, or of what repeated `45s (x12 over 3m)`.
fn seen(entry: &Entry, shape: Shape, now: Timestamp) -> String {
    let last = if shape.timestamps {
        entry.last.round(Unit::Second).unwrap_or(entry.last).to_string()
    } else {
        age::since(Some(entry.last), now)
    };
    if entry.count < 2 {
        return last;
    }
    format!(
        "{last} (x{} over {})",
        entry.count,
        age::span(age::between(entry.first, if shape.timestamps { entry.last } else { now }))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::entry::Object;
    use crate::events::entry::tests::entry;
    use crate::sample;

    fn entries() -> [Entry; 3] {
        let repeated =
            entry(30, "llama-bcdfgh-0-head-x2b4f", "Back-off\nrestarting \u{1b}[2J\u{202e}container");
        let node = Object { kind: "node".into(), namespace: String::new(), name: "node-a".into() };
        [
            entry(0, "llama-bcdfgh-0-head-x2b4f", "image pulled"),
            Entry {
                count: 12,
                first: entry(1, "", "").last,
                warning: true,
                reason: "BackOff".into(),
                ..repeated
            },
            Entry { object: node, groups: vec!["a".into(), "b".into()], ..entry(500, "", "it is ready") },
        ]
    }

    #[test]
    fn the_table_of_ages() {
        insta::assert_snapshot!(table(&entries(), Shape::default(), sample::now()).render(false));
    }

    #[test]
    fn the_wide_table_of_times() {
        let shape = Shape { namespaces: true, wide: true, timestamps: true };
        insta::assert_snapshot!(table(&entries(), shape, sample::now()).render(false));
    }

    #[test]
    fn the_document_of_an_entry() {
        insta::assert_json_snapshot!(&entries()[1]);
    }
}
