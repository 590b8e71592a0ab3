//! The flags of `rollout diff` and `rollout promote`. Parsing only.

use clap::Args;

/// Flags of `rollout diff`.
#[derive(Args, Debug, Default)]
pub(crate) struct DiffArgs {
    /// Fleet
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: String,
    /// Revision number to compare from; default: the one that groups run and the spec does not ask for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) from: Option<i64>,
    /// Revision number to compare with; default: the spec
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to: Option<i64>,
}

/// Flags of `rollout promote`.
#[derive(Args, Debug, Default)]
pub(crate) struct PromoteArgs {
    /// Fleet
    #[arg(value_name = "FLEET")]
    pub(crate) fleet: String,
    /// All groups at once: the partition becomes 0, a pause ends, and nothing is waited for
    #[arg(long)]
    pub(crate) full: bool,
}
