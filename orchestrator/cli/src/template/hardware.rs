//! The GPUs that a shape is reckoned for: those that are named, or the best of a cluster's.

use rayfleet_cli_kit::{CliError, Terminal};
use rayfleet_templates::{Catalogue, Choice, Demand, Gpu};

use super::args::TemplateArgs;
use super::cluster::{self, Picked, Pool};
use super::grammar::is_label;
use super::shape;
use super::site::Site;
use super::subject::Subject;

/// The GPU of the command line.
pub(super) fn named<'a>(
    gpu: Option<&'a Gpu>,
    args: &TemplateArgs,
    subject: &Subject,
) -> Result<(&'a Gpu, Choice), CliError> {
    let gpu =
        gpu.ok_or_else(|| CliError::usage("which GPU?", "name it with --gpu, or give --from-cluster"))?;
    let demand = shape::demand(&args.asked, subject, gpu)?;
    Ok((gpu, shape::chosen(subject, gpu, &demand)))
}

/// Of a cluster's GPUs those that have nodes for all groups, and of these those of which a group takes the fewest nodes,
/// then the fewest GPUs; if the model fits on none, those with the most memory. Reports what there is and what was taken.
pub(super) fn of_cluster<'a>(
    pools: &[Pool],
    (catalogue, named): (&'a Catalogue, Option<&'a Gpu>),
    args: &TemplateArgs,
    subject: &Subject,
    terminal: &Terminal,
) -> Result<(Picked<'a>, Choice), CliError> {
    if !pools.is_empty() {
        terminal.progress(cluster::table(pools).trim_end());
    }
    let groups = u64::from(args.fleet.replicas).saturating_add(args.fleet.max_surge.into());
    let reckoned = |picked: Picked<'a>| {
        let usual = shape::demand(&args.asked, subject, picked.gpu)?;
        let most_nodes = usual.most_nodes.min(picked.nodes);
        let demand = Demand { gpus_per_node: Some(picked.per_node), most_nodes, ..usual };
        let choice = shape::chosen(subject, picked.gpu, &demand);
        let needed = choice.chosen.as_ref().map(|fit| picked.needed(fit, groups));
        Ok((picked, choice, needed))
    };
    let candidates = cluster::candidates(pools, catalogue, named, &args.asked)?;
    let reckoned: Vec<_> = candidates.into_iter().map(reckoned).collect::<Result<_, CliError>>()?;
    let kinds = reckoned.len();
    // Of equal ones the first is taken.
    let best = reckoned.into_iter().min_by_key(|(picked, choice, needed)| match (&choice.chosen, needed) {
        (Some(fit), Some(needed)) => (false, *needed > u64::from(picked.nodes), fit.shape.nodes, fit.gpus),
        _ => (true, true, 0, 0),
    });
    let Some((picked, choice, needed)) = best else {
        return Err(CliError::plain("no GPUs of the cluster could be taken"));
    };
    terminal.progress(&cluster::chosen(&picked, kinds, needed));
    Ok((picked, choice))
}

/// Pods come to the nodes that were reckoned with alone, by the label of their GPUs.
pub(super) fn select(site: &mut Site, picked: &Picked) {
    // A label that could not be one is none of Kubernetes'.
    if let Some((key, value)) = picked.kind.label.as_ref().filter(|(key, value)| is_label(key, value)) {
        site.node_selector.entry(key.clone()).or_insert_with(|| value.clone());
    }
}
