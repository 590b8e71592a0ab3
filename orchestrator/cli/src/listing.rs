//! The list of fleets as it comes, page by page: of each object only what will be printed is kept, so that a thousand
//! fleets never are in memory as objects.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_cli_kit::table::{Table, one_line};
use rayfleet_cli_kit::terminal::yaml;
use rayfleet_cli_kit::{CliError, Format, Terminal};

use crate::args::StatusArgs;
use crate::error::OBJECT;
use crate::render::list::{self, Shape};
use crate::view::Fleet;

/// What is printed at the end: nothing of it before, since the last page may fail.
pub(crate) struct Listing {
    kind: Kind,
    fleets: usize,
}

enum Kind {
    /// Aligned columns, which the longest cells decide.
    Rows { table: Table, shape: Shape },
    /// Names, one a line.
    Names(String),
    /// The items of a JSON list.
    Json(String),
    /// The items of a YAML list.
    Yaml(String),
}

impl Listing {
    /// An empty list.
    pub(crate) fn new(args: &StatusArgs) -> Self {
        let shape = Shape::of(args);
        let kind = match args.format() {
            Format::Text if args.names() => Kind::Names(String::new()),
            Format::Text => Kind::Rows { table: list::empty(shape), shape },
            Format::Json => Kind::Json(String::new()),
            Format::Yaml => Kind::Yaml(String::new()),
        };
        Self { kind, fleets: 0 }
    }

    /// Adds a fleet.
    pub(crate) fn push(&mut self, object: &DynamicObject, now: Timestamp) -> Result<(), CliError> {
        match &mut self.kind {
            Kind::Rows { table, shape } => table.push(list::row(&Fleet::read(object), *shape, now)),
            Kind::Names(names) => names.push_str(&name(object)),
            Kind::Json(items) => {
                let item = serde_json::to_string_pretty(object)
                    .map_err(|error| CliError::plain(error.to_string()))?;
                items.push_str(if self.fleets == 0 { "\n" } else { ",\n" });
                let lines: Vec<String> = item.lines().map(|line| format!("    {line}")).collect();
                items.push_str(&lines.join("\n"));
            }
            Kind::Yaml(items) => items.push_str(&yaml(&[object])?),
        }
        self.fleets += 1;
        Ok(())
    }

    /// Whether it has no fleet.
    pub(crate) fn is_empty(&self) -> bool {
        self.fleets == 0
    }

    /// Prints it, as kubectl prints lists.
    pub(crate) fn print(&self, terminal: &Terminal) -> Result<(), CliError> {
        match &self.kind {
            Kind::Rows { table, .. } => terminal.print(&table.render(terminal.color)),
            Kind::Names(names) => terminal.print(names),
            Kind::Json(items) => {
                let end = if items.is_empty() { "" } else { "\n  " };
                terminal.print("{\n  \"apiVersion\": \"v1\",\n  \"items\": [")?;
                terminal.print(items)?;
                terminal.print(&format!("{end}],\n  \"kind\": \"List\"\n}}\n"))
            }
            Kind::Yaml(items) => {
                terminal.print(if items.is_empty() {
                    "apiVersion: v1\nitems: []\n"
                } else {
                    "apiVersion: v1\nitems:\n"
                })?;
                terminal.print(items)?;
                terminal.print("kind: List\n")
            }
        }
    }
}

/// Kind and name of a fleet, as `kubectl get -o name` writes them.
pub(crate) fn name(object: &DynamicObject) -> String {
    format!("{OBJECT}/{}\n", one_line(&object.name_any()))
}

#[cfg(test)]
mod tests {
    use rayfleet_cli_kit::testing::Kept;
    use serde_json::{Value, json};

    use super::*;
    use crate::args::Output;
    use crate::sample;

    fn printed(output: Output, fleets: usize) -> String {
        let args = StatusArgs { output: Some(output), ..StatusArgs::default() };
        let mut listing = Listing::new(&args);
        for number in 0..fleets {
            let mut fleet = sample::upgrading();
            fleet.metadata.name = Some(format!("llama-{number}"));
            fleet.data["spec"]["text"] = json!("two\n\nlines\n");
            listing.push(&fleet, sample::now()).unwrap();
        }
        let kept = Kept::default();
        listing.print(&kept.terminal(args.format())).unwrap();
        kept.out()
    }

    #[test]
    fn documents_are_lists_of_whatever_length() {
        for fleets in [0, 1, 3] {
            let wanted: Vec<Value> = (0..fleets)
                .map(|number| {
                    let mut fleet = json!(sample::upgrading());
                    fleet["metadata"]["name"] = json!(format!("llama-{number}"));
                    fleet["spec"]["text"] = json!("two\n\nlines\n");
                    fleet
                })
                .collect();
            let wanted = json!({"apiVersion": "v1", "kind": "List", "items": wanted});
            let text = printed(Output::Json, fleets);
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted);
            assert_eq!(text, format!("{}\n", serde_json::to_string_pretty(&wanted).unwrap()));
            let text = printed(Output::Yaml, fleets);
            assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn names_are_kubectls() {
        assert_eq!(
            printed(Output::Name, 2),
            "rayclusterfleet.orchestration.aibrix.ai/llama-0\nrayclusterfleet.orchestration.aibrix.ai/llama-1\n"
        );
    }
}
