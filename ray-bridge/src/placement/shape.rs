//! The parallel shape of an engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tensor × pipeline parallelism. One rank uses one GPU.
///
/// Expert parallelism adds no ranks: experts are distributed over the tensor ranks of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Shape {
    tensor: u32,
    pipeline: u32,
}

/// A shape that is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "tensor {tensor} × pipeline {pipeline}: each must be at least 1 and the product at most {}",
    Shape::MOST_RANKS
)]
pub struct InvalidShape {
    tensor: u32,
    pipeline: u32,
}

#[derive(Deserialize)]
struct Raw {
    tensor: u32,
    pipeline: u32,
}

impl Shape {
    /// The most ranks in one engine.
    pub const MOST_RANKS: u32 = 1024;

    /// `tensor` ranks in each of `pipeline` stages.
    pub fn new(tensor: u32, pipeline: u32) -> Result<Self, InvalidShape> {
        let ranks = tensor.checked_mul(pipeline).unwrap_or(0);
        if (1..=Self::MOST_RANKS).contains(&ranks) {
            Ok(Self { tensor, pipeline })
        } else {
            Err(InvalidShape { tensor, pipeline })
        }
    }

    /// Ranks per stage; they never leave one node, or one domain if the policy names one.
    pub fn tensor(self) -> u32 {
        self.tensor
    }

    /// Number of stages.
    pub fn pipeline(self) -> u32 {
        self.pipeline
    }

    /// Ranks, and therefore GPUs, in total.
    pub fn ranks(self) -> u32 {
        self.tensor * self.pipeline
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TP{}×PP{}", self.tensor, self.pipeline)
    }
}

impl TryFrom<Raw> for Shape {
    type Error = InvalidShape;
    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        Self::new(raw.tensor, raw.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_shapes_are_refused() {
        for (tensor, pipeline) in [(0, 1), (1, 0), (u32::MAX, 2), (65_536, 65_536), (1025, 1)] {
            assert!(Shape::new(tensor, pipeline).is_err(), "{tensor}×{pipeline}");
        }
        assert!(serde_json::from_str::<Shape>(r#"{"tensor":0,"pipeline":2}"#).is_err());
    }

    #[test]
    fn a_shape_is_read_as_it_is_written() {
        let shape = Shape::new(8, 2).unwrap();
        let text = serde_json::to_string(&shape).unwrap();
        assert_eq!(text, r#"{"tensor":8,"pipeline":2}"#);
        assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
        assert_eq!((shape.ranks(), shape.to_string().as_str()), (16, "TP8×PP2"));
    }
}
