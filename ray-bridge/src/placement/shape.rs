//! The parallel shape of an engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Data × pipeline × tensor parallelism. One rank uses one GPU.
///
/// Expert parallelism adds no ranks: experts are distributed over the tensor ranks of a stage, of all data-parallel
/// engines together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Shape {
    tensor: u32,
    pipeline: u32,
    #[serde(skip_serializing_if = "is_one")]
    data: u32,
}

/// A shape that is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "data {data} × tensor {tensor} × pipeline {pipeline}: each must be at least 1 and the product at most {}",
    Shape::MOST_RANKS
)]
pub struct InvalidShape {
    tensor: u32,
    pipeline: u32,
    data: u32,
}

#[derive(Deserialize)]
struct Raw {
    tensor: u32,
    pipeline: u32,
    #[serde(default = "one")]
    data: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(data: &u32) -> bool {
    *data == 1
}

impl Shape {
    /// The most ranks in one engine.
    pub const MOST_RANKS: u32 = 1024;

    /// `tensor` ranks in each of `pipeline` stages, in one engine.
    pub fn new(tensor: u32, pipeline: u32) -> Result<Self, InvalidShape> {
        Self::of(1, tensor, pipeline)
    }

    /// The same in each of `data` data-parallel engines.
    pub fn of(data: u32, tensor: u32, pipeline: u32) -> Result<Self, InvalidShape> {
        let ranks = tensor.checked_mul(pipeline).and_then(|ranks| ranks.checked_mul(data)).unwrap_or(0);
        if (1..=Self::MOST_RANKS).contains(&ranks) {
            Ok(Self { tensor, pipeline, data })
        } else {
            Err(InvalidShape { tensor, pipeline, data })
        }
    }

    /// Ranks per stage; they never leave one node, or one domain if the policy names one.
    pub fn tensor(self) -> u32 {
        self.tensor
    }

    /// Number of stages of each data-parallel engine.
    pub fn pipeline(self) -> u32 {
        self.pipeline
    }

    /// Number of data-parallel engines; 1 without data parallelism.
    pub fn data(self) -> u32 {
        self.data
    }

    /// Stages of all data-parallel engines.
    pub fn stages(self) -> u32 {
        self.data * self.pipeline
    }

    /// Ranks of one data-parallel engine.
    pub fn ranks_each(self) -> u32 {
        self.tensor * self.pipeline
    }

    /// Ranks, and therefore GPUs, in total.
    pub fn ranks(self) -> u32 {
        self.ranks_each() * self.data
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.data > 1 {
            write!(f, "DP{}×", self.data)?;
        }
        write!(f, "TP{}×PP{}", self.tensor, self.pipeline)
    }
}

impl TryFrom<Raw> for Shape {
    type Error = InvalidShape;
    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        Self::of(raw.data, raw.tensor, raw.pipeline)
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
        for (data, tensor, pipeline) in [(0, 1, 1), (1025, 1, 1), (2, 1024, 1), (1 << 16, 1 << 16, 1)] {
            assert!(Shape::of(data, tensor, pipeline).is_err(), "{data}×{tensor}×{pipeline}");
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
        let shape = Shape::of(4, 8, 2).unwrap();
        let text = serde_json::to_string(&shape).unwrap();
        assert_eq!(text, r#"{"tensor":8,"pipeline":2,"data":4}"#);
        assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
        assert_eq!((shape.ranks(), shape.ranks_each(), shape.stages()), (64, 16, 8));
        assert_eq!(shape.to_string(), "DP4×TP8×PP2");
    }
}
