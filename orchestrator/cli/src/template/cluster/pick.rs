//! Which GPUs of a cluster a fleet could have, the ones with the most memory first. Pure.

use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use rayfleet_templates::nodes::{Kind, Maker};
use rayfleet_templates::{Catalogue, Fit, Gpu};
use rayfleet_text::cut;

use super::Pool;
use crate::template::args::Asked;

/// Most kinds for which a shape is reckoned.
const MOST: usize = 16;
/// Most products that an error names.
const MOST_NAMED: usize = 5;

/// GPUs that a fleet could have.
#[derive(Clone, Debug)]
pub(in crate::template) struct Picked<'a> {
    pub(in crate::template) gpu: &'a Gpu,
    pub(in crate::template) kind: Kind,
    /// GPUs of a node that are asked for.
    pub(in crate::template) per_node: u32,
    /// Nodes that there are.
    pub(in crate::template) nodes: u32,
}

impl Picked<'_> {
    /// Nodes that so many groups of a shape take.
    pub(in crate::template) fn needed(&self, fit: &Fit, groups: u64) -> u64 {
        let pods_of_a_node = u64::from((self.kind.per_node / fit.shape.gpus_per_node.max(1)).max(1));
        let nodes = u64::from(fit.shape.nodes);
        groups.saturating_mul(nodes).div_ceil(pods_of_a_node).max(nodes)
    }

    /// MiB of all of them together.
    fn memory(&self) -> u128 {
        u128::from(self.gpu.memory_mib) * u128::from(self.kind.per_node) * u128::from(self.nodes)
    }
}

/// The GPUs that could be had, or why there are none. `named`: the one that was asked for.
pub(in crate::template) fn candidates<'a>(
    pools: &[Pool],
    catalogue: &'a Catalogue,
    named: Option<&'a Gpu>,
    asked: &Asked,
) -> Result<Vec<Picked<'a>>, CliError> {
    let open: Vec<&Pool> = pools.iter().filter(|pool| pool.open > 0).collect();
    let known = |pool: &Pool| {
        let gpu = pool.kind.gpu.as_ref().ok().and_then(|name| catalogue.gpu(name).ok())?;
        (named.is_none_or(|named| named.name == gpu.name)).then_some(gpu)
    };
    let mut found: Vec<(&Pool, &Gpu)> = open.iter().filter_map(|pool| Some((*pool, known(pool)?))).collect();
    if let (true, Some(gpu)) = (found.is_empty(), named) {
        found = by_word(&open, gpu)?.into_iter().map(|pool| (pool, gpu)).collect();
    }
    if found.is_empty() {
        return Err(none(pools, named));
    }
    let largest = found.iter().map(|(pool, _)| pool.kind.per_node).max().unwrap_or_default();
    if let Some(more) = asked.gpus_per_node.filter(|asked| *asked > largest) {
        return Err(CliError::failed(
            format!("--gpus-per-node {more}: no node has more than {largest}"),
            "leave it out: --from-cluster reads it",
        ));
    }
    let mut picked: Vec<Picked> = found
        .into_iter()
        .filter(|(pool, _)| asked.gpus_per_node.is_none_or(|asked| asked <= pool.kind.per_node))
        .map(|(pool, gpu)| Picked {
            gpu,
            kind: pool.kind.clone(),
            per_node: asked.gpus_per_node.unwrap_or(pool.kind.per_node).min(128),
            nodes: pool.open,
        })
        .collect();
    picked.sort_by_key(|picked| std::cmp::Reverse(picked.memory()));
    picked.truncate(MOST);
    Ok(picked)
}

/// Nodes whose GPUs nobody knows but the reader, who has named one.
fn by_word<'a>(open: &[&'a Pool], gpu: &Gpu) -> Result<Vec<&'a Pool>, CliError> {
    let unclear = |pool: &&Pool| {
        pool.kind.maker == Maker::of(gpu) && pool.kind.gpu.as_ref().is_err_and(|why| why.may_be_named())
    };
    let found: Vec<&Pool> = open.iter().copied().filter(unclear).collect();
    let mut products: Vec<&Option<(String, String)>> = found.iter().map(|pool| &pool.kind.label).collect();
    products.sort();
    products.dedup();
    if products.len() > 1 {
        return Err(CliError::failed(
            format!(
                "--gpu {}: which nodes have it? Of {} nothing is known",
                gpu.name,
                named_products(&found)
            ),
            "name their nodes by a label: --set nodeSelector.KEY=VALUE",
        ));
    }
    Ok(found)
}

/// Nothing to choose from, and why.
fn none(pools: &[Pool], named: Option<&Gpu>) -> CliError {
    let gpu = named.map_or_else(|| "--from-cluster".to_owned(), |gpu| format!("--gpu {}", gpu.name));
    let open: Vec<&Pool> = pools.iter().filter(|pool| pool.open > 0).collect();
    if pools.is_empty() {
        return CliError::failed(
            format!("{gpu}: no node has allocatable nvidia.com/gpu or amd.com/gpu"),
            "check the device plugin (kubectl describe nodes), or name the GPU with --gpu in place of --from-cluster",
        );
    }
    if open.is_empty() {
        return CliError::failed(
            format!("{gpu}: no node with GPUs takes pods of this fleet"),
            "see the table: uncordon them, correct the nodeSelector, or add tolerations to the profile",
        );
    }
    let unclear: Vec<&Pool> = open.iter().copied().filter(|pool| pool.kind.gpu.is_err()).collect();
    match (named, unclear.as_slice()) {
        (Some(_), _) => CliError::failed(
            format!("{gpu}: no node that takes pods has it"),
            "see the table; without --gpu the choice is among what is there",
        ),
        (None, unclear)
            if unclear.iter().any(|pool| pool.kind.gpu.as_ref().is_err_and(|why| why.may_be_named())) =>
        {
            CliError::failed(
                format!(
                    "--from-cluster: no GPU of the nodes is in the catalogue: {}",
                    named_products(unclear)
                ),
                "name the one of the catalogue that they are with --gpu beside --from-cluster (list them: kubectl rayfleet \
                 template)",
            )
        }
        _ => CliError::failed(
            "--from-cluster: no node has whole GPUs for a pod",
            "see the table: a rank needs a whole GPU; turn off time slicing, MIG or partitions on these nodes",
        ),
    }
}

/// Values of labels, which are not ours.
fn named_products(pools: &[&Pool]) -> String {
    let mut all: Vec<String> = pools
        .iter()
        .map(|pool| match &pool.kind.label {
            Some((_, value)) => format!("\"{}\"", cut(&one_line(value), 63)),
            None => format!("a GPU without the label {}", pool.kind.maker.product_labels()[0]),
        })
        .collect();
    all.sort();
    all.dedup();
    let more = all.len().saturating_sub(MOST_NAMED);
    all.truncate(MOST_NAMED);
    let names = all.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}
