//! Distributes the tensor ranks of a unit's stages over its nodes. It knows GPUs, not the tree.
//!
//! First as many whole stages per node as fit, which is exact. The remaining stages are split over the
//! largest remaining pieces first, a heuristic: the fewest splits would be bin packing. Hops within a unit
//! are free.

use std::cmp::Reverse;

/// GPUs of one node that ranks may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Free {
    /// The caller's index of the node.
    pub(super) member: usize,
    pub(super) gpus: u32,
}

/// For each stage the node of each tensor rank. The GPUs must add up to at least `stages × tensor`.
pub(super) fn fill(mut free: Vec<Free>, tensor: u32, stages: u32) -> Vec<Vec<usize>> {
    let mut filled = Vec::with_capacity(stages as usize);
    let left = |filled: &Vec<Vec<usize>>| (stages as usize).saturating_sub(filled.len());
    // A stable sort keeps the caller's order among equals.
    free.sort_by_key(|node| Reverse(node.gpus / tensor));
    for node in &mut free {
        let whole = (node.gpus / tensor).min(u32::try_from(left(&filled)).unwrap_or(u32::MAX));
        node.gpus -= whole * tensor;
        filled.extend((0..whole).map(|_| vec![node.member; tensor as usize]));
    }
    while left(&filled) > 0 {
        free.sort_by_key(|node| Reverse(node.gpus));
        let mut stage = Vec::with_capacity(tensor as usize);
        for node in &mut free {
            let taken = node.gpus.min(tensor - u32::try_from(stage.len()).unwrap_or(tensor));
            node.gpus -= taken;
            stage.extend((0..taken).map(|_| node.member));
        }
        if stage.len() < tensor as usize {
            break;
        }
        filled.push(stage);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(gpus: &[u32], tensor: u32, stages: u32) -> Vec<Vec<usize>> {
        fill(
            gpus.iter().enumerate().map(|(member, gpus)| Free { member, gpus: *gpus }).collect(),
            tensor,
            stages,
        )
    }

    #[test]
    fn whole_stages_are_placed_on_a_node_before_any_is_split() {
        assert_eq!(filled(&[3, 3, 4], 2, 3), [[2, 2], [2, 2], [0, 0]]);
        assert_eq!(filled(&[3, 3], 2, 3), [[0, 0], [1, 1], [0, 1]]);
    }

    #[test]
    fn a_stage_larger_than_a_node_takes_the_largest_pieces() {
        assert_eq!(filled(&[1, 4, 3], 8, 1), [[1, 1, 1, 1, 2, 2, 2, 0]]);
        assert_eq!(filled(&[4, 4, 4, 4], 8, 2), [[0, 0, 0, 0, 1, 1, 1, 1], [2, 2, 2, 2, 3, 3, 3, 3]]);
    }
}
