//! The parallel shape of an engine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Tensor × pipeline × data parallelism. One rank uses one GPU.
///
/// Expert parallelism adds no ranks: experts are distributed over the tensor ranks of a stage, over all
/// replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Shape {
    tensor: u32,
    pipeline: u32,
    data: u32,
}

/// A shape that is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "tensor {tensor} × pipeline {pipeline} × data {data}: each must be at least 1 and the product at most {}",
    Shape::MOST_RANKS
)]
pub struct InvalidShape {
    tensor: u32,
    pipeline: u32,
    data: u32,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    tensor: u32,
    pipeline: u32,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    data: u32,
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives it a reference")]
fn is_one(data: &u32) -> bool {
    *data == 1
}

impl Shape {
    /// The most ranks in one engine.
    pub const MOST_RANKS: u32 = 1024;

    /// `tensor` ranks in each of `pipeline` stages.
    pub fn new(tensor: u32, pipeline: u32) -> Result<Self, InvalidShape> {
        Self { tensor, pipeline, data: 1 }.with_data(1)
    }

    /// The same shape with `data` replicas.
    pub fn with_data(self, data: u32) -> Result<Self, InvalidShape> {
        let Self { tensor, pipeline, .. } = self;
        let ranks = tensor.checked_mul(pipeline).and_then(|ranks| ranks.checked_mul(data)).unwrap_or(0);
        if (1..=Self::MOST_RANKS).contains(&ranks) {
            Ok(Self { data, ..self })
        } else {
            Err(InvalidShape { tensor, pipeline, data })
        }
    }

    /// Ranks per stage; they never leave one node, or one domain if the policy names one.
    pub fn tensor(self) -> u32 {
        self.tensor
    }

    /// Stages per replica.
    pub fn pipeline(self) -> u32 {
        self.pipeline
    }

    /// Replicas.
    pub fn data(self) -> u32 {
        self.data
    }

    /// Stages of all replicas together.
    pub fn stages(self) -> u32 {
        self.pipeline * self.data
    }

    /// Ranks, and therefore GPUs, in total.
    pub fn ranks(self) -> u32 {
        self.tensor * self.stages()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TP{}×PP{}", self.tensor, self.pipeline)?;
        if self.data > 1 { write!(f, "×DP{}", self.data) } else { Ok(()) }
    }
}

impl TryFrom<Raw> for Shape {
    type Error = InvalidShape;
    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        Self::new(raw.tensor, raw.pipeline)?.with_data(raw.data)
    }
}

impl From<Shape> for Raw {
    fn from(shape: Shape) -> Self {
        Self { tensor: shape.tensor, pipeline: shape.pipeline, data: shape.data }
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
        assert!(Shape::new(8, 2).unwrap().with_data(65).is_err());
        assert!(Shape::new(8, 2).unwrap().with_data(0).is_err());
        for json in [r#"{"tensor":0,"pipeline":2}"#, r#"{"tensor":1,"pipeline":2,"data":0}"#] {
            assert!(serde_json::from_str::<Shape>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_shape_without_replicas_keeps_its_old_json() {
        let plain = Shape::new(8, 2).unwrap();
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"tensor":8,"pipeline":2}"#);
        let wide = plain.with_data(4).unwrap();
        assert_eq!(serde_json::from_str::<Shape>(&serde_json::to_string(&wide).unwrap()).unwrap(), wide);
        assert_eq!((wide.ranks(), wide.to_string().as_str()), (64, "TP8×PP2×DP4"));
    }
}
