//! Bytes that a matrix of weights needs, with its scales. Not which matrix has which precision.

use serde::Serialize;

/// How the numbers of a matrix are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Two bytes: bfloat16 or float16.
    Half,
    /// Four bytes: float32.
    Single,
    /// One byte, and one float32 scale a matrix.
    Fp8Tensor,
    /// One byte, and one float32 scale a row.
    Fp8Channel,
    /// One byte, and one float32 scale a block of so many rows and columns
    /// (`vllm/model_executor/layers/quantization/fp8.py`).
    Fp8Block {
        /// Rows of a block: outputs.
        rows: u64,
        /// Columns of a block: inputs.
        columns: u64,
    },
    /// One byte, and one byte of scale for 32 inputs (OCP Microscaling 1.0).
    Mxfp8,
    /// Half a byte, and one byte of scale for 32 inputs (OCP Microscaling 1.0).
    Mxfp4,
    /// Half a byte, one byte of scale for 16 inputs, and one float32 scale a matrix.
    Nvfp4,
    /// Integers of so many bits, and a two-byte scale for so many inputs; 0 inputs: one scale a row.
    Int {
        /// Bits of a number.
        bits: u64,
        /// Inputs that share a scale.
        group: u64,
    },
}

impl Precision {
    /// Bytes of a matrix of `outputs` × `inputs`. Saturates.
    pub fn bytes(self, outputs: u64, inputs: u64) -> u64 {
        let elements = outputs.saturating_mul(inputs);
        let per_row = |bytes: u64| outputs.saturating_mul(bytes);
        match self {
            Self::Half => elements.saturating_mul(2),
            Self::Single => elements.saturating_mul(4),
            Self::Fp8Tensor => elements.saturating_add(4),
            Self::Fp8Channel => elements.saturating_add(per_row(4)),
            Self::Fp8Block { rows, columns } => {
                let blocks = outputs.div_ceil(rows.max(1)).saturating_mul(inputs.div_ceil(columns.max(1)));
                elements.saturating_add(blocks.saturating_mul(4))
            }
            Self::Mxfp8 => elements.saturating_add(per_row(inputs.div_ceil(32))),
            Self::Mxfp4 => per_row(inputs.div_ceil(2).saturating_add(inputs.div_ceil(32))),
            Self::Nvfp4 => per_row(inputs.div_ceil(2).saturating_add(inputs.div_ceil(16))).saturating_add(4),
            Self::Int { bits, group } => {
                let scales = if group == 0 { 1 } else { inputs.div_ceil(group) };
                let numbers = inputs.saturating_mul(bits).div_ceil(8);
                per_row(numbers.saturating_add(scales.saturating_mul(2)))
            }
        }
    }

    /// How many neighbouring inputs share a scale: what a rank's part of a row must be a multiple of.
    pub fn input_group(self) -> u64 {
        match self {
            Self::Fp8Block { columns, .. } => columns.max(1),
            Self::Mxfp8 | Self::Mxfp4 => 32,
            Self::Nvfp4 => 16,
            Self::Int { group, .. } => group.max(1),
            Self::Half | Self::Single | Self::Fp8Tensor | Self::Fp8Channel => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_counted_with_the_numbers() {
        let bytes = |precision: Precision| precision.bytes(256, 192);
        assert_eq!(bytes(Precision::Half), 98_304);
        assert_eq!(bytes(Precision::Single), 196_608);
        assert_eq!(bytes(Precision::Fp8Tensor), 49_156);
        assert_eq!(bytes(Precision::Fp8Channel), 49_152 + 1_024);
        assert_eq!(bytes(Precision::Fp8Block { rows: 128, columns: 128 }), 49_152 + 16);
        assert_eq!(bytes(Precision::Mxfp8), 49_152 + 1_536);
        assert_eq!(bytes(Precision::Mxfp4), 24_576 + 1_536);
        assert_eq!(bytes(Precision::Nvfp4), 24_576 + 3_072 + 4);
        assert_eq!(bytes(Precision::Int { bits: 4, group: 32 }), 24_576 + 3_072);
        assert_eq!(bytes(Precision::Int { bits: 4, group: 0 }), 24_576 + 512);
    }

    #[test]
    fn a_part_of_a_block_has_a_scale_as_well() {
        let bytes = |precision: Precision| precision.bytes(129, 41);
        assert_eq!(bytes(Precision::Fp8Block { rows: 128, columns: 32 }), 129 * 41 + 4 * 2 * 2);
        assert_eq!(bytes(Precision::Mxfp8), 129 * (41 + 2));
        assert_eq!(bytes(Precision::Mxfp4), 129 * (21 + 2));
        assert_eq!(bytes(Precision::Nvfp4), 129 * (21 + 3) + 4);
        assert_eq!(bytes(Precision::Int { bits: 4, group: 32 }), 129 * (21 + 2 * 2));
    }

    #[test]
    fn a_part_of_a_row_must_hold_whole_groups() {
        let group = |precision: Precision| precision.input_group();
        assert_eq!(group(Precision::Fp8Block { rows: 1, columns: 64 }), 64);
        assert_eq!((group(Precision::Mxfp4), group(Precision::Mxfp8), group(Precision::Nvfp4)), (32, 32, 16));
        assert_eq!(group(Precision::Int { bits: 4, group: 128 }), 128);
        assert_eq!((group(Precision::Half), group(Precision::Int { bits: 4, group: 0 })), (1, 1));
    }

    #[test]
    fn a_matrix_beyond_64_bits_saturates() {
        assert_eq!(Precision::Single.bytes(u64::MAX, 2), u64::MAX);
    }
}
