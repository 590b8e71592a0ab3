//! From flags to a demand, and from a choice to a shape or to what is missing. What a model needs is reckoned by
//! `rayfleet-templates`.

use rayfleet_cli_kit::CliError;
use rayfleet_templates::cache::KvPrecision;
use rayfleet_templates::explain::{count, cure, gb, shape};
use rayfleet_templates::overhead::Step;
use rayfleet_templates::{Choice, Demand, Fit, Gpu, choose};

use super::args::{Asked, CacheType};
use super::subject::Subject;

/// What is asked of an engine, by the flags.
pub(super) fn demand(asked: &Asked, subject: &Subject, gpu: &Gpu) -> Result<Demand, CliError> {
    let declared = subject.model.context;
    if let Some(context) = asked.max_model_len.filter(|context| *context > declared) {
        return Err(CliError::usage(
            format!(
                "--max-model-len {context}: {} declares {declared} tokens, and vLLM refuses more",
                subject.title
            ),
            format!("give at most {declared}, or leave it out"),
        ));
    }
    if let Some(data) = asked.data.filter(|data| *data > 1 && subject.model.experts() == 0) {
        return Err(CliError::usage(
            format!("--data {data}: {} has no experts to share", subject.title),
            "give --replicas instead: groups of their own serve a dense model as well",
        ));
    }
    let usual = Step::default_on(gpu);
    let most = asked.max_num_seqs.unwrap_or_else(|| usual.sequences.max(asked.sequences));
    if most < asked.sequences {
        return Err(CliError::usage(
            format!("--sequences {}: a step has at most --max-num-seqs {most}", asked.sequences),
            "raise --max-num-seqs, or leave it out",
        ));
    }
    Ok(Demand {
        context: asked.max_model_len,
        sequences: asked.sequences,
        kv: cache(asked, subject),
        utilization_permille: asked.gpu_memory_utilization,
        most_nodes: asked.max_nodes,
        gpus_per_node: asked.gpus_per_node,
        step: Some(Step { sequences: most, ..usual }),
        tensor: asked.tensor,
        pipeline: asked.pipeline,
        data: asked.data.filter(|data| *data > 1),
    })
}

/// As is asked for, or as the model needs it or has scales for.
fn cache(asked: &Asked, subject: &Subject) -> KvPrecision {
    let needed = subject.engine.as_ref().and_then(|engine| engine.kv_cache_dtype);
    match asked.kv_cache_dtype {
        CacheType::Auto if subject.model.quantization.fp8_cache => KvPrecision::Fp8,
        CacheType::Auto => needed.unwrap_or_default(),
        CacheType::Fp8 => KvPrecision::Fp8,
    }
}

/// The choice, with a note on shapes that have as many GPUs.
pub(super) fn chosen(subject: &Subject, gpu: &Gpu, demand: &Demand) -> Choice {
    let mut choice = choose(&subject.model, gpu, demand);
    let alike = |fit: &Fit| choice.alternatives.iter().any(|other| other.fits() && other.gpus == fit.gpus);
    if choice.chosen.as_ref().is_some_and(alike) {
        let note = "of shapes with as many GPUs the one with the most tensor ranks is taken; ask for another with --tensor";
        choice.notes.push(note.to_owned());
    }
    choice
}

/// The shape that fits, or what is missing.
pub(super) fn fit<'a>(subject: &Subject, choice: &'a Choice) -> Result<&'a Fit, CliError> {
    match (&choice.chosen, choice.alternatives.last()) {
        (Some(fit), _) => Ok(fit),
        (None, Some(nearest)) => Err(missing(subject, choice, nearest)),
        (None, None) => Err(impossible(subject, choice)),
    }
}

fn missing(subject: &Subject, choice: &Choice, nearest: &Fit) -> CliError {
    let nodes = count(u64::from(choice.demand.most_nodes), "node");
    let which = match (choice.demand.tensor, choice.demand.pipeline) {
        (Some(_), Some(_)) => format!("{} does not fit on {}", subject.title, shape(nearest.shape)),
        _ => format!(
            "{} fits on no shape of up to {nodes}; the nearest is {}",
            subject.title,
            shape(nearest.shape)
        ),
    };
    let lack = nearest.fullest().map_or_else(String::new, |(index, stage)| {
        format!(
            ": each rank of stage {index} needs {} and may use {}, so {} are missing",
            gb(stage.needed()),
            gb(stage.usable),
            gb(stage.missing)
        )
    });
    CliError::failed(format!("{which}{lack}"), format!("{}; --explain shows the arithmetic", cure(nearest)))
}

/// No shape is one that could be placed.
fn impossible(subject: &Subject, choice: &Choice) -> CliError {
    let demand = &choice.demand;
    let per_node = demand.gpus_per_node.unwrap_or(choice.gpu.per_node);
    let nodes = count(u64::from(demand.most_nodes), "node");
    let refused =
        choice.refused.iter().find(|refused| demand.tensor.is_none_or(|tensor| tensor == refused.tensor));
    if let Some(refused) = refused {
        let message =
            format!("{} cannot have {} tensor ranks: {}", subject.title, refused.tensor, refused.why);
        return CliError::failed(message, "choose another --tensor, or leave it out");
    }
    let asked = [("data", demand.data), ("tensor", demand.tensor), ("pipeline", demand.pipeline)]
        .iter()
        .filter_map(|(name, number)| Some(format!("{name} {}", (*number)?)))
        .collect::<Vec<_>>()
        .join(" × ");
    CliError::failed(
        format!(
            "{asked} is no shape of {} on up to {nodes} of {}",
            subject.title,
            count(u64::from(per_node), "GPU")
        ),
        format!(
            "tensor must divide the GPUs of a node, and nodes be full, where there is more than one; a stage has a layer \
             ({} here); see --gpus-per-node and --max-nodes",
            subject.model.layers.len()
        ),
    )
}
