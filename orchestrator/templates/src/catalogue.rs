//! The models and GPUs that this crate knows, as data: one file a model in `catalogue/models`, and
//! `catalogue/gpus.json`. Every number there has its source beside it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::KvPrecision;
use crate::config::ConfigError;
use crate::gpu::Gpu;
use crate::model::Model;

/// Why something cannot be found in the catalogue, or cannot be reckoned with.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file of the catalogue is broken: a bug of this crate.
    #[error("the catalogue's file of {name} cannot be read: {error}")]
    Broken {
        /// Of which entry.
        name: String,
        /// Why.
        error: serde_json::Error,
    },
    /// No such model.
    #[error("model \"{name}\" is not in the catalogue; known are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// No such precision of a model.
    #[error("{model} has no precision \"{name}\"; known are {known}")]
    UnknownPrecision {
        /// The model.
        model: String,
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// No such GPU.
    #[error("GPU \"{name}\" is not in the catalogue; known are {known}")]
    UnknownGpu {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// The catalogue has counts and checkpoints of a model, but no numbers to reckon with.
    #[error("{model}: its config.json is not in the catalogue ({reason}); give the file")]
    NoConfig {
        /// The model.
        model: String,
        /// Why not.
        reason: String,
    },
    /// The config.json cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A model of the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Short name, as in `deepseek-r1`.
    pub name: String,
    /// As people write it.
    pub title: String,
    /// How large its makers say that it is.
    pub published: Published,
    /// What is read of its `config.json`; `None` if that was not found, and `config_source` says so.
    pub config: Option<Value>,
    /// Where `config` is from.
    pub config_source: String,
    /// What its engine needs beside the shape; `None` if nothing is known.
    pub engine_args: Option<EngineArgs>,
    /// Its checkpoints; the first one is the default.
    pub precisions: Vec<Checkpoint>,
}

/// What vLLM needs on its command line for a model: to load it, and to answer right. Nothing for speed, and no
/// strategy of parallelism.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineArgs {
    /// Arguments on every GPU, each as `--option` or `--option=value`.
    pub all: Vec<String>,
    /// Further ones on GPUs of AMD.
    #[serde(default)]
    pub amd: Vec<String>,
    /// How its cache must be stored, which the arithmetic follows; `None`: as is asked for.
    pub kv_cache_dtype: Option<KvPrecision>,
    /// Where they are from.
    pub source: String,
}

/// How large its makers say that a model is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Published {
    /// Parameters.
    pub parameters: u64,
    /// Prediction layers are counted, which the engine only loads for speculative decoding.
    #[serde(default)]
    pub with_prediction_layers: bool,
    /// Where the number is from.
    pub source: String,
}

/// A checkpoint of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Short name, as in `fp8`.
    pub name: String,
    /// Its repository.
    pub repository: String,
    /// The longest context that its own `config.json` declares, in tokens, if that is not the model's.
    pub context: Option<u64>,
    /// Its `quantization_config`; `None` for the model's own type.
    pub quantization: Option<Value>,
    /// Where `quantization` is from.
    pub source: String,
    /// The least memory in GB (10^9 bytes) that the recipes of vLLM name, if they do: mostly parameters ×
    /// bytes × 1.2 (vllm-project/recipes 8959cf6).
    pub recipe_minimum_gb: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Models, by name.
    pub models: Vec<Entry>,
    /// GPUs, as in the file.
    pub gpus: Vec<Gpu>,
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../catalogue/models/", $name, ".json")))),+]
    };
}

const MODELS: &[(&str, &str)] = files![
    "deepseek-r1",
    "deepseek-v3",
    "deepseek-v3.2",
    "deepseek-v4-flash",
    "deepseek-v4-pro",
    "glm-4.6",
    "glm-5",
    "gpt-oss-120b",
    "kimi-k2",
    "kimi-k2.5",
    "llama-3.1-405b",
    "llama-4-maverick",
    "minimax-m3",
    "mistral-large-3",
    "qwen3-235b",
    "qwen3-coder-480b",
    "qwen3.5-397b",
];

const GPUS: &str = include_str!("../catalogue/gpus.json");

fn read<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, CatalogueError> {
    serde_json::from_str(text).map_err(|error| CatalogueError::Broken { name: name.to_owned(), error })
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

impl Catalogue {
    /// What is compiled into this crate.
    pub fn embedded() -> Result<Self, CatalogueError> {
        let models = MODELS.iter().map(|(name, text)| read(name, text)).collect::<Result<_, _>>()?;
        Ok(Self { models, gpus: read("GPUs", GPUS)? })
    }

    /// The entry with this name.
    pub fn entry(&self, name: &str) -> Result<&Entry, CatalogueError> {
        self.models.iter().find(|entry| entry.name == name).ok_or_else(|| CatalogueError::UnknownModel {
            name: name.to_owned(),
            known: names(self.models.iter().map(|entry| entry.name.as_str())),
        })
    }

    /// The GPU with this name.
    pub fn gpu(&self, name: &str) -> Result<&Gpu, CatalogueError> {
        self.gpus.iter().find(|gpu| gpu.name == name).ok_or_else(|| CatalogueError::UnknownGpu {
            name: name.to_owned(),
            known: names(self.gpus.iter().map(|gpu| gpu.name.as_str())),
        })
    }

    /// The model with this name, in this precision or its first one.
    pub fn model(&self, name: &str, precision: Option<&str>) -> Result<Model, CatalogueError> {
        let entry = self.entry(name)?;
        entry.model(entry.checkpoint(precision)?)
    }
}

impl Entry {
    /// The checkpoint with this name, or the first one.
    pub fn checkpoint(&self, name: Option<&str>) -> Result<&Checkpoint, CatalogueError> {
        let asked = |found: &&Checkpoint| name.is_none_or(|name| found.name == name);
        self.precisions.iter().find(asked).ok_or_else(|| CatalogueError::UnknownPrecision {
            model: self.name.clone(),
            name: name.unwrap_or_default().to_owned(),
            known: names(self.precisions.iter().map(|found| found.name.as_str())),
        })
    }

    /// What can be counted of this checkpoint.
    pub fn model(&self, checkpoint: &Checkpoint) -> Result<Model, CatalogueError> {
        let Some(config) = &self.config else {
            return Err(CatalogueError::NoConfig {
                model: self.name.clone(),
                reason: self.config_source.clone(),
            });
        };
        let model = Model::from_config(config, checkpoint.quantization.as_ref())?;
        Ok(Model { context: checkpoint.context.unwrap_or(model.context), ..model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_an_entry_with_its_own_name_and_sources() {
        let catalogue = Catalogue::embedded().unwrap();
        for ((name, _), entry) in MODELS.iter().zip(&catalogue.models) {
            assert_eq!(*name, entry.name);
            assert!(!entry.precisions.is_empty(), "{name}");
            let sources = entry.precisions.iter().map(|found| &found.source);
            let sources = sources.chain([&entry.published.source, &entry.config_source]);
            assert!(
                sources.chain(entry.engine_args.iter().map(|args| &args.source)).all(|text| text.len() > 10)
            );
            for arg in entry.engine_args.iter().flat_map(|args| args.all.iter().chain(&args.amd)) {
                assert!(arg.starts_with("--") && !arg.contains(' '), "{name}: {arg}");
            }
        }
        let sources =
            catalogue.gpus.iter().flat_map(|gpu| [&gpu.memory_source, &gpu.node_source, &gpu.product_source]);
        assert!(sources.into_iter().all(|text| text.len() > 10));
    }

    /// Of another model's time, it declares less than the others.
    #[test]
    fn a_checkpoint_may_have_a_context_of_its_own() {
        let context =
            |precision| Catalogue::embedded().unwrap().model("qwen3-235b", Some(precision)).unwrap().context;
        assert_eq!((context("bf16"), context("fp8"), context("nvfp4")), (262_144, 40_960, 262_144));
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let catalogue = Catalogue::embedded().unwrap();
        let model = catalogue.model("gpt-5", None).unwrap_err().to_string();
        assert!(
            model.starts_with("model \"gpt-5\" is not in the catalogue; known are deepseek-r1, "),
            "{model}"
        );
        let gpu = catalogue.gpu("k80").unwrap_err().to_string();
        assert!(gpu.contains("known are a100-40, a100, h100"), "{gpu}");
        let precision = catalogue.model("deepseek-r1", Some("int2")).unwrap_err().to_string();
        assert_eq!(precision, "deepseek-r1 has no precision \"int2\"; known are fp8");
        let none = catalogue.model("mistral-large-3", None).unwrap_err().to_string();
        assert!(none.starts_with("mistral-large-3: its config.json is not in the catalogue"), "{none}");
    }
}
