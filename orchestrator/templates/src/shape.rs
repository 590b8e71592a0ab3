//! Which shapes an engine can have. Not whether a model fits into one.
//!
//! A shape is one that the bridge can place (docs/placement.md): the tensor ranks of a stage never leave a
//! node, every rank has one GPU, and there are at most 1024 ranks.

use serde::Serialize;

use crate::rank::Weights;

/// The most ranks of an engine (`Shape::MOST_RANKS` of ray-bridge).
pub const MOST_RANKS: u32 = 1024;

/// How an engine is spread over nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Ranks of a stage, all on one node.
    pub tensor: u32,
    /// Stages.
    pub pipeline: u32,
    /// Data-parallel engines, which share the experts; 1 without data parallelism.
    #[serde(skip_serializing_if = "is_one")]
    pub data: u32,
    /// Nodes.
    pub nodes: u32,
    /// GPUs of each node that the engine uses.
    pub gpus_per_node: u32,
}

impl Shape {
    /// GPUs, and ranks.
    pub fn gpus(self) -> u32 {
        self.tensor * self.pipeline * self.data
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(data: &u32) -> bool {
    *data == 1
}

/// Shapes on so many nodes. On several nodes all their GPUs are used; on one, any part that divides it.
pub(crate) fn shapes(
    weights: &[(u32, Weights)],
    nodes: u32,
    per_node: u32,
    layers: usize,
    data: u32,
) -> impl Iterator<Item = (Shape, &Weights)> {
    weights.iter().flat_map(move |(tensor, weights)| {
        let all = nodes * per_node;
        (1..=all / tensor / data).filter_map(move |pipeline| {
            let gpus = tensor * pipeline * data;
            let whole = if nodes == 1 { per_node.is_multiple_of(gpus) } else { gpus == all };
            let possible = whole && gpus <= MOST_RANKS && pipeline as usize <= layers;
            let shape = Shape { tensor: *tensor, pipeline, data, nodes, gpus_per_node: gpus / nodes };
            possible.then_some((shape, weights))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    fn possible(per_node: u32, nodes: u32, layers: usize) -> Vec<(u32, u32)> {
        let model = Catalogue::embedded().unwrap().model("qwen3-235b", None).unwrap();
        let weights: Vec<_> =
            [8, 4, 2, 1].map(|tensor| (tensor, Weights::of(&model, u64::from(tensor)).unwrap())).into();
        shapes(&weights, nodes, per_node, layers, 1)
            .map(|(shape, _)| (shape.tensor, shape.pipeline))
            .collect()
    }

    #[test]
    fn a_part_of_one_node_or_all_of_several() {
        assert_eq!(
            possible(8, 1, 94),
            [(8, 1), (4, 1), (4, 2), (2, 1), (2, 2), (2, 4), (1, 1), (1, 2), (1, 4), (1, 8)]
        );
        assert_eq!(possible(8, 3, 94), [(8, 3), (4, 6), (2, 12), (1, 24)]);
        assert_eq!(possible(8, 3, 12), [(8, 3), (4, 6), (2, 12)], "a stage has a layer");
        assert_eq!(possible(8, 128, 1024), [(8, 128), (4, 256), (2, 512), (1, 1024)]);
        assert_eq!(possible(8, 129, 2000), [], "1032 ranks");
    }
}
