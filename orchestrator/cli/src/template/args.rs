//! Flags of `template`. Parsing only.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use rayfleet_api::spec::MOST_REPLICAS;
use rayfleet_cli_kit::Format;

/// Flags of `template`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Without MODEL the models and GPUs that are known are listed. No cluster is asked but with
--from-cluster, which needs the right to list nodes. Memory is reckoned as vLLM 0.32 uses it; what \
is not: docs/operations.md#a-manifest-for-your-model.

Exit code: 0 done, 1 no shape fits (the error says what is missing), 2 the command line or a file \
cannot be used.

Examples:
  kubectl rayfleet template                                    # models and GPUs
  kubectl rayfleet template deepseek-r1 --gpu h100             # a complete manifest
  kubectl rayfleet template deepseek-r1 --gpu h100 --explain   # why this shape
  kubectl rayfleet template deepseek-r1 --from-cluster         # for the nodes that are there
  kubectl rayfleet template qwen3-coder-480b --gpu h200 --precision fp8 --max-model-len 65536
  kubectl rayfleet template --config config.json --name mine --gpu b200   # a model of your own
  kubectl rayfleet template kimi-k2 --gpu h200 --profile site.yaml -n models | kubectl apply -f -
  kubectl rayfleet template kimi-k2 --gpu h200 --output-dir fleets/kimi   # a base for kustomize"
)]
pub(crate) struct TemplateArgs {
    /// Model of the catalogue, by its name or its checkpoint's repository; without it the catalogue is listed
    #[arg(value_name = "MODEL", conflicts_with = "config", requires = "hardware")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(flatten)]
    pub(crate) fleet: FleetFlags,
    #[command(flatten)]
    pub(crate) out: Out,
}

/// What the shape depends on.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Model and memory", group = ArgGroup::new("hardware").multiple(true))]
pub(crate) struct Asked {
    /// GPU of the catalogue; with --from-cluster: that one of it
    #[arg(long, value_name = "GPU", group = "hardware")]
    pub(crate) gpu: Option<String>,
    /// Read GPU, GPUs per node and number of nodes from the nodes of the cluster
    #[arg(long, group = "hardware")]
    pub(crate) from_cluster: bool,
    /// config.json of a model that is not in the catalogue
    #[arg(long, value_name = "FILE", requires = "hardware")]
    pub(crate) config: Option<PathBuf>,
    /// Its model.safetensors.index.json: the size there must agree with the config.json
    #[arg(long, value_name = "FILE", requires = "config", conflicts_with = "model")]
    pub(crate) safetensors: Option<PathBuf>,
    /// Checkpoint of the model, as fp8; default: its first one
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) precision: Option<String>,
    /// Most tokens of a sequence; default: as many as the model declares
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_model_len: Option<u64>,
    /// Sequences of that length that must fit at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) sequences: u64,
    /// Most sequences of a step; default: vLLM's on this GPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) max_num_seqs: Option<u64>,
    /// GPUs in a node; default: as many as usual, or as the cluster has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) gpus_per_node: Option<u32>,
    /// Most nodes of a group; with --from-cluster no more than there are
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) max_nodes: u32,
    /// Part of a GPU's memory that vLLM takes, as 0.92
    #[arg(long, value_name = "FRACTION", default_value = "0.92", value_parser = permille)]
    pub(crate) gpu_memory_utilization: u32,
    /// How keys and values are stored
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    pub(crate) kv_cache_dtype: CacheType,
    /// Only shapes with so many tensor ranks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) tensor: Option<u32>,
    /// Only shapes with so many pipeline stages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) pipeline: Option<u32>,
    /// Data-parallel engines of a group, which share the experts of a mixture of experts: for a fast network
    /// between its nodes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) data: Option<u32>,
}

/// What the manifest says beside the shape.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Fleet")]
pub(crate) struct FleetFlags {
    /// Name of the fleet; default: of the model
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Number of groups
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_REPLICAS)))]
    pub(crate) replicas: u32,
    /// Groups above replicas during an upgrade; each needs all GPUs of a group
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_REPLICAS)))]
    pub(crate) max_surge: u32,
    /// Name that clients ask for; default: of the checkpoint
    #[arg(long, value_name = "NAME")]
    pub(crate) served_model_name: Option<String>,
    /// What vLLM loads, if not the checkpoint's folder below the profile's modelPath
    #[arg(long, value_name = "PATH")]
    pub(crate) source: Option<String>,
    /// Further argument of vLLM, as --engine-arg=--seed=1; may be repeated. In place of what the
    /// model needs if it is the same option
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) engine_arg: Vec<String>,
    /// Text that the answer to "The capital of France is" must contain before traffic comes
    #[arg(long, value_name = "TEXT")]
    pub(crate) expect: Option<String>,
    /// What a node reads from the storage in a second; default: 500MB
    #[arg(long, value_name = "BYTES", value_parser = super::bandwidth::parse)]
    pub(crate) storage_bandwidth: Option<u64>,
    /// What is the same for all fleets of a site (docs/operations.md#a-profile-of-your-site)
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// A key of the profile, as image=registry.example.com/vllm:1; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Queue of Kueue that admits each group
    #[arg(long, value_name = "QUEUE", conflicts_with = "volcano")]
    pub(crate) kueue: Option<String>,
    /// Queue of Volcano, which then schedules each group's pods together
    #[arg(long, value_name = "QUEUE")]
    pub(crate) volcano: Option<String>,
    /// Gateway that a route attaches the fleet's Service to, as NAMESPACE/NAME or NAME
    #[arg(long, value_name = "GATEWAY")]
    pub(crate) gateway: Option<String>,
    /// Host name of that route
    #[arg(long, value_name = "NAME", requires = "gateway")]
    pub(crate) hostname: Option<String>,
}

/// What is printed, and where.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct Out {
    /// Print the arithmetic in place of a manifest
    #[arg(long, requires = "hardware")]
    pub(crate) explain: bool,
    /// Write the manifest and a kustomization.yaml to this directory
    #[arg(long, value_name = "DIR", conflicts_with_all = ["explain", "output"], requires = "hardware")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "output_dir")]
    pub(crate) force: bool,
    /// Format; a manifest's default is YAML with comments
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// `--kv-cache-dtype`, as far as it is reckoned with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheType {
    /// The model's own type
    #[default]
    Auto,
    /// One byte
    Fp8,
}

/// A fraction of at most three decimals, in thousandths.
fn permille(text: &str) -> Result<u32, String> {
    let wrong = || "write a fraction above 0 and up to 1 with at most three decimals, as 0.92".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() > 1 || part.len() > 3 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let number = format!("0{whole}{part:0<3}").parse::<u32>().map_err(|_| wrong())?;
    if (1..=1000).contains(&number) { Ok(number) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_read_in_thousandths() {
        for (text, number) in [("0.92", 920), (".5", 500), ("1", 1000), ("1.0", 1000), ("0.925", 925)] {
            assert_eq!(permille(text), Ok(number), "{text}");
        }
        for text in ["", "0", "0.000", "1.001", "92", "0.9255", "-0.5", "0,9", "1e0", "0.९"] {
            assert!(permille(text).is_err(), "{text}");
        }
    }
}
