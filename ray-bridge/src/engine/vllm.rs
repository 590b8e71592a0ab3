//! vLLM's OpenAI-compatible server, 0.32 and compatible versions: its options and the paths of its port.
//! Custom engines use the same. Draining and requests in flight are the launcher's middleware's; an engine is
//! stopped by stopping its job.

use super::args::Owned;
use super::spec::EngineSpec;

/// Answers 200 while the engine serves.
pub(super) const HEALTH: &str = "/health";
/// Lists the loaded models.
pub(super) const MODELS: &str = "/v1/models";
/// Its metrics as text of Prometheus.
pub(super) const METRICS: &str = "/metrics";

const SHAPE: &str = "the shape comes from the parallelism of the model; set that instead";
const ENGINES: &str =
    "data-parallel engines are placed by the bridge; set data of the model's parallelism instead";
const REPLICAS: &str = "one engine is one replica of the model; raise the number of replicas instead";
const ADDRESS: &str = "the bridge sets the address that it watches; set the port of the model instead";
const NAME: &str = "the model's name and source are fields of their own; set those instead";
const RANKS: &str = "the ranks are placed by the bridge through Ray; leave it out";
const TLS: &str = "the bridge watches the engine over plain HTTP; end TLS in front of it";
const KEY: &str = "Ray shows it to everybody who may read the job; set VLLM_API_KEY in the pod template, from a Secret, on the head's container";

const FILE: &str = "a file could set options that the bridge owns; pass its arguments one by one instead";
const HTTP: &str = "the bridge watches the engine over HTTP; leave it out";
const STATS: &str = "the bridge needs the counters to detect a hung engine; leave it out";

const fn option(long: &'static str, short: &'static [&'static str], reason: &'static str) -> Owned {
    Owned { long, family: false, short, reason }
}

/// Options that users may not set, because [`argv`] sets them or the bridge relies on them.
pub(super) const OWNED: &[Owned] = &[
    option("model", &[], NAME),
    option("served-model-name", &[], NAME),
    option("host", &[], ADDRESS),
    option("port", &[], ADDRESS),
    option("uds", &[], ADDRESS),
    option("api-server-count", &["asc"], ADDRESS),
    option("tensor-parallel-size", &["tp"], SHAPE),
    option("pipeline-parallel-size", &["pp"], SHAPE),
    option("prefill-context-parallel-size", &["pcp"], SHAPE),
    Owned {
        long: "data-parallel",
        family: true,
        short: &["dp", "dpn", "dpr", "dpl", "dpa", "dpp", "dpb", "dph", "dpe", "dpm"],
        reason: ENGINES,
    },
    option("distributed-executor-backend", &[], RANKS),
    option("nnodes", &["n"], RANKS),
    option("node-rank", &["r"], RANKS),
    option("master-addr", &[], RANKS),
    option("master-port", &[], RANKS),
    option("headless", &[], RANKS),
    option("ssl-keyfile", &[], TLS),
    option("ssl-certfile", &[], TLS),
    option("api-key", &[], KEY),
    option("enable-elastic-ep", &[], REPLICAS),
    option("config", &[], FILE),
    option("grpc", &[], HTTP),
    option("disable-log-stats", &[], STATS),
];

/// Environment variables that users may not set.
pub(super) const OWNED_ENV: &[&str] = &[
    "VLLM_RAY_BUNDLE_INDICES",
    "VLLM_RAY_PER_WORKER_GPUS",
    // vLLM takes these where its command line has no data-parallel size.
    "VLLM_DP_SIZE",
    "VLLM_DP_RANK",
    "VLLM_DP_RANK_LOCAL",
    "VLLM_DP_MASTER_IP",
    "VLLM_DP_MASTER_PORT",
    "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
    "VLLM_HOST_IP",
    "VLLM_API_KEY",
];

/// The command line after the engine's own name.
pub(super) fn argv(spec: &EngineSpec) -> Vec<String> {
    let owned = [
        ("--served-model-name", spec.model_name.clone()),
        ("--host", "0.0.0.0".to_owned()),
        ("--port", spec.port.to_string()),
        ("--tensor-parallel-size", spec.shape.tensor().to_string()),
        ("--pipeline-parallel-size", spec.shape.pipeline().to_string()),
        ("--distributed-executor-backend", "ray".to_owned()),
    ];
    let data = spec.shape.data();
    let engines = [
        ("--data-parallel-size", data.to_string()),
        ("--data-parallel-backend", "ray".to_owned()),
        // With another number than all vLLM reaches the engines by TCP, wherever they are.
        ("--data-parallel-size-local", "1".to_owned()),
        // The default is one for each engine, but requests in flight are counted in one process.
        ("--api-server-count", "1".to_owned()),
    ];
    let engines = engines.into_iter().filter(|_| data > 1);
    let mut argv = vec![spec.source.clone()];
    argv.extend(owned.into_iter().chain(engines).flat_map(|(option, value)| [option.to_owned(), value]));
    argv.extend(spec.args.iter().cloned());
    argv
}
