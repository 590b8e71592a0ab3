//! Arguments of an engine that Rayfleet sets itself or relies on, as they are usually written: what the CRD refuses when it is applied. Every
//! other way to write them (abbreviations, mixed dashes) is refused by `ray_bridge::engine::check_args`, whose list a test holds to this one.

/// Long forms, without dashes.
pub const LONG: [&str; 22] = [
    "api-key",
    "api-server-count",
    "config",
    "disable-log-stats",
    "distributed-executor-backend",
    "enable-elastic-ep",
    "grpc",
    "headless",
    "host",
    "master-addr",
    "master-port",
    "model",
    "nnodes",
    "node-rank",
    "pipeline-parallel-size",
    "port",
    "prefill-context-parallel-size",
    "served-model-name",
    "ssl-certfile",
    "ssl-keyfile",
    "tensor-parallel-size",
    "uds",
];
/// All long forms that begin so.
pub const FAMILY: &str = "data-parallel";
/// Short forms, without dash.
pub const SHORT: [&str; 16] =
    ["asc", "dp", "dpa", "dpb", "dpe", "dph", "dpl", "dpm", "dpn", "dpp", "dpr", "n", "pcp", "pp", "r", "tp"];

/// The options with their dashes, long ones also with underscores between the words.
pub(crate) fn options() -> Vec<String> {
    let long = LONG.iter().map(|name| format!("--{name}"));
    let underscored =
        LONG.iter().filter(|name| name.contains('-')).map(|name| format!("--{}", name.replace('-', "_")));
    long.chain(underscored).chain(SHORT.iter().map(|name| format!("-{name}"))).collect()
}

/// How every option of the family begins.
pub(crate) fn families() -> [String; 2] {
    [format!("--{FAMILY}"), format!("--{}", FAMILY.replace('-', "_"))]
}

/// Whether an argument is one of them, alone (its value is the next one) or with its value behind `=`.
pub fn is_owned(arg: &str) -> bool {
    let option = arg.split('=').next().unwrap_or_default();
    options().iter().any(|owned| owned == option)
        || families().iter().any(|family| arg.starts_with(&**family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_distinguished_from_others() {
        for owned in [
            "--port",
            "--port=9000",
            "--tensor_parallel_size=2",
            "-tp",
            "-tp=2",
            "--data-parallel-size",
            "--headless",
        ] {
            assert!(is_owned(owned), "{owned}");
        }
        for other in
            ["9000", "--por=1", "--config-format", "--max-model-len=1", "-O3", "", "--", "--portal", "-q"]
        {
            assert!(!is_owned(other), "{other}");
        }
    }
}
