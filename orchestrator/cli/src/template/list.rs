//! The catalogue, as tables or as a document.

use rayfleet_cli_kit::table::Table;
use rayfleet_cli_kit::{CliError, Terminal};
use rayfleet_templates::explain::{billions, gb};
use rayfleet_templates::{Catalogue, Entry, Gpu};
use serde::Serialize;

/// The catalogue for programs.
#[derive(Serialize)]
struct Listed<'a> {
    models: Vec<ModelRow<'a>>,
    gpus: &'a [Gpu],
}

/// A model of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelRow<'a> {
    name: &'a str,
    title: &'a str,
    parameters: u64,
    /// Tokens; absent if its configuration is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<u64>,
    precisions: Vec<Precision<'a>>,
}

#[derive(Serialize)]
struct Precision<'a> {
    name: &'a str,
    repository: &'a str,
}

impl<'a> ModelRow<'a> {
    fn of(entry: &'a Entry) -> Self {
        let first = entry.precisions.first().and_then(|checkpoint| entry.model(checkpoint).ok());
        Self {
            name: &entry.name,
            title: &entry.title,
            parameters: entry.published.parameters,
            context: first.map(|model| model.context),
            precisions: entry
                .precisions
                .iter()
                .map(|found| Precision { name: &found.name, repository: &found.repository })
                .collect(),
        }
    }
}

/// Prints models and GPUs.
pub(super) fn print(catalogue: &Catalogue, terminal: &Terminal) -> Result<(), CliError> {
    let listed =
        Listed { models: catalogue.models.iter().map(ModelRow::of).collect(), gpus: &catalogue.gpus };
    terminal.result(&listed, &text(&listed, terminal.color))
}

fn text(listed: &Listed, color: bool) -> String {
    let mut models = Table::new(["MODEL", "PARAMETERS", "CONTEXT", "PRECISIONS", "TITLE"]);
    for model in &listed.models {
        let precisions: Vec<&str> = model.precisions.iter().map(|found| found.name).collect();
        models.push([
            model.name.to_owned(),
            billions(model.parameters),
            model.context.map_or_else(|| "give --config".to_owned(), |tokens| tokens.to_string()),
            precisions.join(","),
            model.title.to_owned(),
        ]);
    }
    let mut gpus = Table::new(["GPU", "MEMORY", "A NODE", "LINK", "TITLE"]);
    for gpu in listed.gpus {
        gpus.push([
            gpu.name.clone(),
            gb(gpu.memory()),
            gpu.per_node.to_string(),
            gpu.link.text().to_owned(),
            gpu.title.clone(),
        ]);
    }
    format!("{}\n{}", models.render(color), gpus.render(color))
}
