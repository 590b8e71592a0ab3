//! Layers over pipeline stages, as vLLM does it. Nothing of what a layer weighs.

use std::ops::Range;

/// The layers of each stage: `get_pp_indices` in `vllm/distributed/utils.py`. What is left over goes to the
/// stages before the last one, from the back, so that first and last stage, which hold embedding and head,
/// have the fewest. Empty unless there is at least one layer for each stage.
pub fn stages(layers: u32, pipeline: u32) -> Vec<Range<u32>> {
    if pipeline == 0 || pipeline > layers {
        return Vec::new();
    }
    let (each, rest) = (layers / pipeline, layers % pipeline);
    let mut first = 0;
    (0..pipeline)
        .map(|stage| {
            // vLLM: for i in 2..rest + 2, the i-th stage from the end has one more.
            let from_end = pipeline - stage;
            let count = each + u32::from((2..rest + 2).contains(&from_end));
            let range = first..first + count;
            first = range.end;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(layers: u32, pipeline: u32) -> Vec<u32> {
        stages(layers, pipeline).iter().map(|range| range.end - range.start).collect()
    }

    #[test]
    fn the_rest_goes_to_the_middle_and_to_the_first_stage_last() {
        // What vLLM's function returns for 61 and 94 layers.
        assert_eq!(counts(61, 2), [31, 30]);
        assert_eq!(counts(61, 4), [15, 15, 16, 15]);
        assert_eq!(counts(94, 4), [23, 24, 24, 23]);
        assert_eq!(counts(126, 4), [31, 32, 32, 31]);
        assert_eq!(counts(3, 4), [] as [u32; 0]);
    }

    proptest! {
        #[test]
        fn every_layer_is_placed_once(layers in 0u32..1200, pipeline in 0u32..70) {
            let all: Vec<u32> = stages(layers, pipeline).into_iter().flatten().collect();
            let expected: Vec<u32> =
                if (1..=layers).contains(&pipeline) { (0..layers).collect() } else { Vec::new() };
            prop_assert_eq!(all, expected);
        }
    }
}
