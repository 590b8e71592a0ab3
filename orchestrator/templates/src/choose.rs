//! The smallest shape in which a model runs: whether each fits, and what is missing.

use serde::Serialize;

use crate::cache::{self, CacheNeed, KvPrecision};
use crate::gpu::Gpu;
use crate::model::{Layer, Model};
use crate::overhead::{Overhead, Step, link_warning};
use crate::parameters;
use crate::rank::{Indivisible, RankMemory, Ranks, Weights, checkpoint};
use crate::shape::{Shape, shapes};
use crate::stages::stages;

/// vLLM's default `--gpu-memory-utilization`, in thousandths (`vllm/config/cache.py` of 0.32: 0.92; 0.9 until
/// 0.19).
pub const UTILIZATION_PERMILLE: u32 = 920;

/// The most shapes beside the chosen one with the same number of GPUs that a choice lists.
const MOST_ALIKE: usize = 2;

/// What an engine is asked to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Tokens of a sequence: `--max-model-len`. `None`: as many as the model declares, as vLLM does.
    pub context: Option<u64>,
    /// Sequences of that length at once, at least one: vLLM starts if that fits.
    pub sequences: u64,
    /// How keys and values are stored.
    pub kv: KvPrecision,
    /// `--gpu-memory-utilization` in thousandths, at most 1000.
    pub utilization_permille: u32,
    /// The most nodes, at most 128.
    pub most_nodes: u32,
    /// GPUs in a node, if not as many as usual; at most 128. With a tensor domain (docs/placement.md), those of
    /// a domain.
    pub gpus_per_node: Option<u32>,
    /// Limits of a step, if not vLLM's.
    pub step: Option<Step>,
    /// Only shapes with so many tensor ranks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<u32>,
    /// Only shapes with so many stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u32>,
    /// Data-parallel engines that share the experts of the model; `None` and 1 for one engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<u32>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            context: None,
            sequences: 1,
            kv: KvPrecision::Auto,
            utilization_permille: UTILIZATION_PERMILLE,
            most_nodes: 16,
            gpus_per_node: None,
            step: None,
            tensor: None,
            pipeline: None,
            data: None,
        }
    }
}

impl Demand {
    fn asks_for(&self, shape: Shape) -> bool {
        self.tensor.is_none_or(|tensor| tensor == shape.tensor)
            && self.pipeline.is_none_or(|pipeline| pipeline == shape.pipeline)
    }
}

/// Memory of each rank of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Its first layer, from 0.
    pub first_layer: u32,
    /// How many layers it has.
    pub layers: u32,
    /// Weights.
    pub weights: RankMemory,
    /// What the engine needs beside weights and cache.
    pub overhead: Overhead,
    /// What sequences need.
    pub cache: CacheNeed,
    /// Bytes of cache for as many sequences as were asked for.
    pub cache_bytes: u64,
    /// Bytes that the engine may use.
    pub usable: u64,
    /// Bytes that are missing; 0 if it fits.
    pub missing: u64,
}

impl Stage {
    /// Bytes that are left for the cache.
    pub fn room(&self) -> u64 {
        self.usable.saturating_sub(self.weights.bytes()).saturating_sub(self.overhead.bytes())
    }

    /// Bytes that are needed.
    pub fn needed(&self) -> u64 {
        self.weights.bytes().saturating_add(self.overhead.bytes()).saturating_add(self.cache_bytes)
    }
}

/// A shape, and how a model lies in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fit {
    /// The shape.
    pub shape: Shape,
    /// GPUs that it uses.
    pub gpus: u32,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// Bytes that are missing on each rank of the fullest stage; 0 if the model fits.
    pub missing: u64,
    /// Sequences of the asked length that fit at once.
    pub sequences: u64,
    /// The longest context of one sequence that fits, in tokens; at most the asked one.
    pub longest_context: u64,
}

impl Fit {
    /// The model, its cache and the engine fit.
    pub fn fits(&self) -> bool {
        self.missing == 0
    }

    /// The stage with the least memory to spare.
    pub fn fullest(&self) -> Option<(usize, &Stage)> {
        self.stages
            .iter()
            .enumerate()
            .max_by_key(|(index, stage)| (stage.missing, stage.needed(), std::cmp::Reverse(*index)))
    }
}

/// Tensor ranks over which the engine cannot split the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Tensor ranks.
    pub tensor: u32,
    /// Why.
    pub why: Indivisible,
}

/// What was asked, and the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// Parameters that the engine loads.
    pub parameters: u64,
    /// What the checkpoint calls its precision.
    pub precision: String,
    /// Bytes of all weights once.
    pub checkpoint: u64,
    /// The GPU.
    pub gpu: Gpu,
    /// What was asked, with its context filled in.
    pub demand: Demand,
    /// The smallest shape that fits: fewest nodes, then fewest GPUs, then fewest stages.
    pub chosen: Option<Fit>,
    /// Other shapes: those that fit on no more than one node more, at most two with the same number of GPUs,
    /// those with the fewest stages; last, of the shapes that come before the chosen one and do not fit, the
    /// largest, with the fewest stages. If none fits: the one with the fewest bytes missing.
    pub alternatives: Vec<Fit>,
    /// Tensor ranks that are not possible.
    pub refused: Vec<Refused>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// The smallest shape of this GPU that holds the model, and what else there is.
pub fn choose(model: &Model, gpu: &Gpu, demand: &Demand) -> Choice {
    let context = demand.context.unwrap_or(model.context);
    let step = demand.step.unwrap_or_else(|| Step::default_on(gpu));
    let per_node = demand.gpus_per_node.unwrap_or(gpu.per_node).clamp(1, 128);
    let nodes = demand.most_nodes.clamp(1, 128);
    let asked = Demand {
        context: Some(context),
        most_nodes: nodes,
        gpus_per_node: Some(per_node),
        step: Some(step),
        sequences: demand.sequences.max(1),
        utilization_permille: demand.utilization_permille.min(1000),
        ..demand.clone()
    };
    let room = Room { model, demand: &asked, context, step, usable: gpu.usable(asked.utilization_permille) };

    let data = asked.data.unwrap_or(1).max(1);
    let (mut weights, mut refused) = (Vec::new(), Vec::new());
    for tensor in (1..=per_node).rev().filter(|tensor| per_node.is_multiple_of(*tensor)) {
        match Weights::on(model, Ranks { tensor: tensor.into(), data: data.into() }) {
            Ok(found) => weights.push((tensor, found)),
            Err(why) => refused.push(Refused { tensor, why }),
        }
    }
    let mut chosen: Option<Fit> = None;
    let (mut smaller, mut nearest): (Option<Fit>, Option<Fit>) = (None, None);
    let mut alternatives: Vec<Fit> = Vec::new();
    for nodes in 1..=nodes {
        if chosen.as_ref().is_some_and(|fit| nodes > fit.shape.nodes + 1) {
            break;
        }
        let mut fits = shapes(&weights, nodes, per_node, model.layers.len(), data)
            .filter(|(shape, _)| asked.asks_for(*shape))
            .map(|(shape, weights)| room.fit(shape, weights))
            .collect::<Vec<_>>();
        fits.sort_by_key(|fit| (fit.gpus, fit.shape.pipeline));
        for fit in fits {
            if !fit.fits() {
                if chosen.is_none() {
                    nearest = nearest.filter(|found| found.missing <= fit.missing).or(Some(fit.clone()));
                    smaller = smaller.filter(|found| found.gpus >= fit.gpus).or(Some(fit));
                }
            } else if chosen.is_none() {
                chosen = Some(fit);
            } else if alternatives.iter().chain(&chosen).filter(|other| other.gpus == fit.gpus).count()
                < 1 + MOST_ALIKE
            {
                alternatives.push(fit);
            }
        }
    }
    alternatives.extend(if chosen.is_some() { smaller } else { nearest });
    let remarks = notes(model, gpu, &asked, chosen.as_ref());
    Choice {
        parameters: u64::try_from(parameters::total(model)).unwrap_or(u64::MAX),
        precision: model.quantization.name.clone(),
        checkpoint: checkpoint(model),
        gpu: gpu.clone(),
        demand: asked,
        chosen,
        alternatives,
        refused,
        notes: remarks,
    }
}

fn notes(model: &Model, gpu: &Gpu, demand: &Demand, chosen: Option<&Fit>) -> Vec<String> {
    let tensor = chosen.map_or(1, |fit| fit.shape.tensor);
    let mut notes: Vec<String> = link_warning(gpu, tensor).into_iter().collect();
    if let (Some(data), experts @ 1..) = (demand.data.filter(|data| *data > 1), model.experts()) {
        notes.push(format!(
            "{data} engines share the {experts} experts: every layer exchanges tokens between all ranks, and a rank has room for \
             those of all engines"
        ));
    } else if model.experts() > 0 && chosen.is_some_and(|fit| fit.shape.nodes > 1) {
        let note = "stages run over any network; with a fast one between nodes --data 2 has engines share the experts instead";
        notes.push(note.to_owned());
    }
    if model.vision > 0 {
        notes.push("the vision tower is an estimate, counted whole on every rank".to_owned());
    }
    if model.prediction_layers > 0 {
        notes.push(format!(
            "{} prediction layer(s) are not counted: vLLM loads them only for speculative decoding",
            model.prediction_layers
        ));
    }
    notes
}

/// What shapes are measured with.
struct Room<'a> {
    model: &'a Model,
    demand: &'a Demand,
    context: u64,
    step: Step,
    usable: u64,
}

impl Room<'_> {
    fn fit(&self, shape: Shape, weights: &Weights) -> Fit {
        let count = u32::try_from(self.model.layers.len()).unwrap_or(u32::MAX);
        let ranges = stages(count, shape.pipeline);
        let tensor = u64::from(shape.tensor);
        let split = Ranks { tensor, data: shape.data.into() };
        let in_flight = self.step.in_flight(shape.pipeline);
        let need =
            |layers: &[Layer], context: u64| cache::need(layers, tensor, self.demand.kv, context, in_flight);
        let stages: Vec<Stage> = ranges
            .iter()
            .map(|range| {
                let layers = self.layers(range);
                let last = range.end == count;
                let mut stage = Stage {
                    first_layer: range.start,
                    layers: range.end - range.start,
                    weights: weights.stage(range),
                    overhead: Overhead::of(self.model, layers, (split, last), self.step),
                    cache: need(layers, self.context),
                    cache_bytes: 0,
                    usable: self.usable,
                    missing: 0,
                };
                stage.cache_bytes = stage.cache.of(self.demand.sequences.div_ceil(u64::from(shape.data)));
                stage.missing = stage.needed().saturating_sub(self.usable);
                stage
            })
            .collect();
        let holds = |context: u64| {
            let mut all = ranges.iter().zip(&stages);
            all.all(|(range, stage)| need(self.layers(range), context).of(1) <= stage.room())
        };
        Fit {
            shape,
            gpus: shape.gpus(),
            missing: stages.iter().map(|stage| stage.missing).max().unwrap_or(0),
            sequences: stages
                .iter()
                .map(|stage| stage.cache.fit(stage.room()))
                .min()
                .unwrap_or(0)
                .saturating_mul(u64::from(shape.data)),
            longest_context: longest(self.context, holds),
            stages,
        }
    }

    fn layers(&self, range: &std::ops::Range<u32>) -> &[Layer] {
        self.model.layers.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// The largest number up to `most` that `holds`, if all smaller ones do; 0 if none does.
fn longest(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    if holds(most) {
        return most;
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) { good = middle } else { bad = middle }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn choice(model: &str, gpu: &str, demand: &Demand) -> Choice {
        let catalogue = Catalogue::embedded().unwrap();
        choose(&catalogue.model(model, None).unwrap(), catalogue.gpu(gpu).unwrap(), demand)
    }

    #[test]
    fn what_is_asked_decides() {
        let shape = |demand: Demand| {
            let fit = choice("kimi-k2", "h200", &demand).chosen.unwrap();
            (fit.shape.nodes, fit.shape.tensor, fit.shape.pipeline)
        };
        assert_eq!(shape(Demand::default()), (2, 8, 2));
        let short = Demand { context: Some(32_768), ..Demand::default() };
        assert_eq!(shape(short.clone()), (1, 4, 2), "tensor 8 leaves less for a latent cache");
        assert_eq!(shape(Demand { sequences: 2, ..short.clone() }), (2, 8, 2));
        assert_eq!(shape(Demand { utilization_permille: 850, ..short.clone() }), (2, 8, 2));
        assert_eq!(shape(Demand { gpus_per_node: Some(4), ..short }), (2, 4, 2));
        let fp8 = Demand { kv: KvPrecision::Fp8, utilization_permille: 940, ..Demand::default() };
        assert_eq!(shape(fp8.clone()), (1, 4, 2));
        assert_eq!(shape(Demand { utilization_permille: 960, ..fp8 }), (1, 8, 1));
        let step = Some(Step { tokens: 1024, sequences: 16 });
        let longer = Demand { context: Some(65_536), ..Demand::default() };
        assert_eq!(shape(longer.clone()), (2, 8, 2));
        assert_eq!(shape(Demand { step, ..longer }), (1, 4, 2));
    }

    #[test]
    fn a_demand_is_brought_within_bounds_and_said_in_full() {
        let wild = Demand {
            sequences: 0,
            utilization_permille: 2000,
            most_nodes: 0,
            gpus_per_node: Some(0),
            ..Demand::default()
        };
        let found = choice("gpt-oss-120b", "b300", &wild);
        let expected = Demand {
            context: Some(131_072),
            sequences: 1,
            utilization_permille: 1000,
            most_nodes: 1,
            gpus_per_node: Some(1),
            step: Some(Step { tokens: 16_384, sequences: 1024 }),
            ..Demand::default()
        };
        assert_eq!((found.demand, found.chosen.unwrap().gpus), (expected, 1));
    }

    #[test]
    fn a_choice_says_what_does_not_fit_as_well() {
        let found = choice("deepseek-r1", "h100", &Demand::default());
        let smaller = found.alternatives.last().unwrap();
        assert_eq!((smaller.fits(), smaller.gpus, smaller.shape.tensor), (false, 8, 8));
        assert_eq!(smaller.longest_context, 0);
        assert!(found.alternatives.iter().rev().skip(1).all(Fit::fits));
        let none = choice("kimi-k2", "l40s", &Demand { most_nodes: 2, ..Demand::default() });
        let nearest = none.alternatives.first().unwrap();
        assert!(none.chosen.is_none() && none.alternatives.len() == 1);
        let (index, stage) = nearest.fullest().unwrap();
        assert_eq!((index, stage.missing), (2, nearest.missing));
        assert_eq!(stage.needed() - stage.usable, stage.missing);
    }

    #[test]
    fn data_parallel_engines_share_the_experts_and_have_a_cache_each() {
        let demand = |data| Demand {
            context: Some(32_768),
            data,
            tensor: Some(8),
            most_nodes: 2,
            ..Demand::default()
        };
        let alone = choice("deepseek-r1", "h200", &demand(None)).chosen.unwrap();
        let shared = choice("deepseek-r1", "h200", &demand(Some(2)));
        let fit = shared.chosen.unwrap();
        assert_eq!((fit.shape.data, fit.shape.tensor, fit.shape.pipeline, fit.gpus), (2, 8, 1, 16));
        let experts = |fit: &Fit| fit.stages[0].weights.weights[&crate::model::Group::Experts];
        assert_eq!((alone.shape.nodes, alone.shape.pipeline), (1, 1));
        assert_eq!(experts(&fit), experts(&alone) / 2, "256 experts over 16 ranks in place of 8");
        let attention = |fit: &Fit| fit.stages[0].weights.weights[&crate::model::Group::Attention];
        assert_eq!(attention(&fit), attention(&alone), "each engine has its own attention");
        assert!(fit.sequences > 2 * alone.sequences, "{} and {}", fit.sequences, alone.sequences);
        assert!(shared.notes.iter().any(|note| note.starts_with("2 engines share the 256 experts")));
        assert_eq!(
            choice("deepseek-r1", "h200", &demand(Some(3))).chosen,
            None,
            "16 GPUs are no 3 engines of 8"
        );
    }

    /// vLLM issue 20228: this ends with "CUDA out of memory" (`--data-parallel-size 16 --tensor-parallel-size 1
    /// --enable-expert-parallel --max-model-len 8192 --gpu-memory-utilization 0.98` on two nodes of eight H100).
    #[test]
    fn what_ran_out_of_memory_with_the_tokens_of_all_engines_does_not_fit() {
        let demand = Demand {
            context: Some(8192),
            data: Some(16),
            tensor: Some(1),
            utilization_permille: 980,
            most_nodes: 2,
            ..Demand::default()
        };
        let found = choice("deepseek-r1", "h100", &demand);
        let nearest = found.alternatives.first().unwrap();
        assert!(found.chosen.is_none() && nearest.missing > 0, "{:?}", found.chosen);
        let step = Some(Step { tokens: 1024, sequences: 256 });
        let smaller = choice("deepseek-r1", "h100", &Demand { step, ..demand });
        assert!(smaller.chosen.is_some(), "fewer tokens in a step need less");
    }

    #[test]
    fn tensor_ranks_that_are_not_possible_are_named() {
        let demand = Demand { gpus_per_node: Some(6), ..Demand::default() };
        let found = choice("llama-3.1-405b", "h200", &demand);
        let refused: Vec<u32> = found.refused.iter().map(|refused| refused.tensor).collect();
        assert_eq!(refused, [6, 3]);
        let shape = found.chosen.unwrap().shape;
        assert_eq!((shape.nodes, shape.tensor, shape.pipeline), (2, 2, 6));
    }

    #[test]
    fn a_shape_that_is_asked_for_is_the_only_one() {
        let of = |tensor, pipeline| {
            let found = choice("deepseek-r1", "h100", &Demand { tensor, pipeline, ..Demand::default() });
            let shape = |fit: &Fit| (fit.shape.nodes, fit.shape.tensor, fit.shape.pipeline);
            (found.chosen.as_ref().map(shape), found.alternatives.iter().map(shape).collect::<Vec<_>>())
        };
        assert_eq!(of(Some(4), Some(4)), (Some((2, 4, 4)), vec![]));
        assert_eq!(of(None, Some(4)).0, Some((2, 4, 4)));
        assert_eq!(of(Some(8), Some(1)), (None, vec![(1, 8, 1)]), "one node is too small");
        assert_eq!(of(Some(8), Some(17)), (None, vec![]), "17 nodes are more than were allowed");
    }

    #[test]
    fn the_longest_is_the_last_that_holds() {
        assert_eq!(longest(100, |n| n <= 37), 37);
        assert_eq!(longest(100, |_| true), 100);
        assert_eq!(longest(100, |_| false), 0);
        assert_eq!(longest(0, |_| false), 0);
    }
}
