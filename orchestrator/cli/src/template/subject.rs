//! Which model, of the catalogue or of files. Reading and errors; nothing is reckoned.

use std::path::Path;

use rayfleet_cli_kit::table::one_line;
use rayfleet_cli_kit::{CliError, input};
use rayfleet_templates::catalogue::{CatalogueError, Checkpoint, EngineArgs};
use rayfleet_templates::config::{ConfigError, MOST_BYTES};
use rayfleet_templates::explain::gb;
use rayfleet_templates::index::IndexCheck;
use rayfleet_templates::{Catalogue, Entry, Gpu, Model};
use rayfleet_text::cut;
use serde_json::Value;

use super::args::Asked;
use super::near;

/// Largest index that is read, in bytes. It names every matrix of a checkpoint: some 100,000 of a mixture of
/// experts, in 100 bytes each.
const LARGEST_INDEX: u64 = 64 << 20;

/// Most bytes of a file's texts that are repeated in an error.
const MOST_REPEATED: usize = 200;

/// What helps where a name is not known.
const LIST: &str = "list models and GPUs: kubectl rayfleet template";

/// A model, and how it is called.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// As people write it, with its precision.
    pub(super) title: String,
    /// Name of its checkpoint's folder; empty if nobody said.
    pub(super) folder: String,
    /// Name for a fleet; empty if nobody said.
    pub(super) name: String,
    pub(super) model: Model,
    /// What its engine needs, if that is known.
    pub(super) engine: Option<EngineArgs>,
    /// Bytes of the checkpoint, if its index says so.
    pub(super) stored: Option<u64>,
}

impl Subject {
    /// The model of the catalogue, or of a `config.json`. `name`: what the fleet shall be called.
    pub(super) fn find(catalogue: &Catalogue, name: Option<&str>, asked: &Asked) -> Result<Self, CliError> {
        match (name, &asked.config) {
            (Some(model), _) => Self::known(catalogue, model, asked.precision.as_deref()),
            (None, Some(file)) => Self::read(file, asked.safetensors.as_deref()),
            (None, None) => Err(CliError::usage("which model?", LIST)),
        }
    }

    fn known(catalogue: &Catalogue, name: &str, precision: Option<&str>) -> Result<Self, CliError> {
        let by_repository = catalogue.models.iter().find_map(|entry| {
            let found = entry.precisions.iter().find(|found| found.repository.eq_ignore_ascii_case(name))?;
            Some((entry, found))
        });
        if let (Some((entry, checkpoint)), None) = (by_repository, precision) {
            return Self::of(entry, checkpoint);
        }
        let entry = catalogue.entry(&name.to_ascii_lowercase()).map_err(|_| {
            let hint = near::hint(name, catalogue.models.iter().map(|entry| entry.name.as_str()));
            let message = format!("model \"{name}\" is not in the catalogue{hint}");
            CliError::usage(message, format!("{LIST}; or give its config.json with --config"))
        })?;
        let checkpoint = entry.checkpoint(precision).map_err(|error| {
            CliError::usage(error.to_string(), "leave --precision out, or name one of these")
        })?;
        Self::of(entry, checkpoint)
    }

    fn of(entry: &Entry, checkpoint: &Checkpoint) -> Result<Self, CliError> {
        let model = entry.model(checkpoint).map_err(|error| match error {
            CatalogueError::NoConfig { .. } => CliError::usage(
                error.to_string(),
                "give the config.json of its repository with --config and --name",
            ),
            other => CliError::plain(other.to_string()),
        })?;
        let folder = checkpoint.repository.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            title: format!("{} ({})", entry.title, checkpoint.name),
            folder,
            name: entry.name.replace('.', "-"),
            model,
            engine: entry.engine_args.clone(),
            stored: None,
        })
    }

    fn read(file: &Path, index: Option<&Path>) -> Result<Self, CliError> {
        let shown = file.display();
        // It repeats texts of the file, which may be of any length.
        let refused = |error: ConfigError| {
            let problem = cut(&one_line(&error.problem), MOST_REPEATED);
            CliError::usage(format!("{shown}: {}: {problem}", error.field), error.cure)
        };
        let text = input::read(file, MOST_BYTES as u64).map_err(|error| {
            CliError::usage(
                format!("cannot read {shown}: {error}"),
                "give the config.json of a model with --config",
            )
        })?;
        let model = Model::from_json(&text).map_err(refused)?;
        let stored = index.map(|index| stored(&model, index)).transpose()?;
        // It stands in a comment.
        let title = one_line(&format!("{shown} ({})", model.quantization.name));
        Ok(Self { title, folder: String::new(), name: String::new(), model, engine: None, stored })
    }
}

/// Bytes of the checkpoint, which must agree with what its configuration comes to.
fn stored(model: &Model, file: &Path) -> Result<u64, CliError> {
    let shown = file.display();
    let cure = "give the model.safetensors.index.json of the same repository, or leave --safetensors out";
    let text = input::read(file, LARGEST_INDEX)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}"), cure))?;
    let index: Value =
        serde_json::from_str(&text).map_err(|error| CliError::usage(format!("{shown}: {error}"), cure))?;
    let Some(check) = IndexCheck::of(model, &index) else {
        return Err(CliError::usage(format!("{shown}: has no metadata.total_size"), cure));
    };
    if check.agrees() {
        return Ok(check.stored);
    }
    let prediction = match check.prediction {
        0 => String::new(),
        more => format!(" and {} more of prediction layers", gb(more)),
    };
    Err(CliError::usage(
        format!(
            "{shown}: metadata.total_size is {} ({} bytes), but the config.json comes to {} ({} bytes){prediction}",
            gb(check.stored),
            check.stored,
            gb(check.reckoned),
            check.reckoned
        ),
        "give both files of one repository; if they are, this model is not reckoned right: please report it",
    ))
}

/// The GPU with this name.
pub(super) fn gpu<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a Gpu, CliError> {
    catalogue.gpu(&name.to_ascii_lowercase()).map_err(|_| {
        let hint = near::hint(name, catalogue.gpus.iter().map(|gpu| gpu.name.as_str()));
        CliError::usage(format!("GPU \"{name}\" is not in the catalogue{hint}"), LIST)
    })
}
