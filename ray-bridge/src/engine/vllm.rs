//! vLLM: its options, the paths of its port and the names of its metrics. Custom engines use the same paths
//! and names.

use super::args::Owned;
use super::kind::{Engine, Queue};
use super::spec::EngineSpec;

/// vLLM's OpenAI-compatible server, 0.32 and compatible versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vllm;

const SHAPE: &str = "the shape comes from the parallelism of the model; set that instead";
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

const OWNED: &[Owned] = &[
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
        reason: REPLICAS,
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

const OWNED_ENV: &[&str] = &[
    "VLLM_RAY_BUNDLE_INDICES",
    "VLLM_RAY_PER_WORKER_GPUS",
    "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
    "VLLM_HOST_IP",
    "VLLM_API_KEY",
];

/// Gauges whose sum is the number of requests that the engine has.
const IN_FLIGHT: [&str; 2] = ["vllm:num_requests_running", "vllm:num_requests_waiting"];

/// Series that vLLM updates when a step of its engine core has ended, and at no other time. Tokens and
/// iterations are counted when tokens are generated; in the long prefill of a long prompt only the use of the
/// key-value cache shows progress.
const STEPS: [&str; 7] = [
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:iteration_tokens_total_count",
    "vllm:prefix_cache_queries_total",
    "vllm:kv_cache_usage_perc",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
];

/// A request is deferred while its grammar is being compiled, while it has no slot for its adapter, or while
/// its key-value cache is being transferred: the core's steps skip it. vLLM sets all four gauges after each
/// step, also an empty one (0.32, `v1/core/sched/scheduler.py` `make_stats`, `v1/metrics/loggers.py`
/// `record`).
const QUEUE: Queue = Queue {
    running: "vllm:num_requests_running",
    waiting: "vllm:num_requests_waiting",
    by_reason: "vllm:num_requests_waiting_by_reason",
    deferred: "reason=\"deferred\"",
};

impl Engine for Vllm {
    fn owned_args(&self) -> &'static [Owned] {
        OWNED
    }

    fn owned_env(&self) -> &'static [&'static str] {
        OWNED_ENV
    }

    fn argv(&self, spec: &EngineSpec) -> Vec<String> {
        let owned = [
            ("--served-model-name", spec.model_name.clone()),
            ("--host", "0.0.0.0".to_owned()),
            ("--port", spec.port.to_string()),
            ("--tensor-parallel-size", spec.shape.tensor().to_string()),
            ("--pipeline-parallel-size", spec.shape.pipeline().to_string()),
            ("--distributed-executor-backend", "ray".to_owned()),
        ];
        let mut argv = vec![spec.source.clone()];
        argv.extend(owned.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
        argv.extend(spec.args.iter().cloned());
        argv
    }

    fn health(&self) -> &'static str {
        "/health"
    }

    fn models(&self) -> &'static str {
        "/v1/models"
    }

    fn metrics(&self) -> &'static str {
        "/metrics"
    }

    fn in_flight(&self) -> &'static [&'static str] {
        &IN_FLIGHT
    }

    fn steps(&self) -> &'static [&'static str] {
        &STEPS
    }

    fn queue(&self) -> Queue {
        QUEUE
    }
}
