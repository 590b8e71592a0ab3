//! The error that nodes cannot hold a shape, with numbers. The reason is computed in `plan`.

use std::fmt;

use super::Shape;

/// The most nodes that a message lists.
const LISTED: usize = 16;

/// GPUs of one node, in an [`Unplaceable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeOn {
    /// Ray's name of the node.
    pub node: String,
    /// GPUs that may be used.
    pub free: u32,
    /// Total GPUs.
    pub total: u32,
    /// Value of the tensor domain's label, if the policy names one and the node has it.
    pub domain: Option<String>,
}

/// The nodes cannot hold the shape; the message gives the numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unplaceable {
    /// The shape that was to be placed.
    pub shape: Shape,
    /// There is no living head, so the API server has no node.
    pub no_head: bool,
    /// Stages that would fit.
    pub stages_that_fit: u32,
    /// Label of the domain that a stage may not leave; `None` if it may not leave a node.
    pub tensor_domain: Option<String>,
    /// Living nodes that may get ranks, ordered by tensor domain.
    pub nodes: Vec<FreeOn>,
    /// Living nodes that the policy excludes.
    pub excluded: Vec<FreeOn>,
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alive = self.nodes.len() + self.excluded.len();
        if alive == 0 {
            return write!(f, "{}: no Ray node is alive", self.shape);
        }
        if self.no_head {
            return write!(f, "{}: none of {alive} living Ray nodes is the head", self.shape);
        }
        let (tensor, stages) = (self.shape.tensor(), self.shape.stages());
        let gpus = if tensor == 1 { "GPU" } else { "GPUs" };
        match stages {
            1 => write!(f, "{} needs {tensor} free {gpus} on one node", self.shape)?,
            _ => write!(
                f,
                "{} needs room for {stages} stages of {tensor} {gpus}, each on one node",
                self.shape
            )?,
        }
        if let Some(label) = &self.tensor_domain {
            write!(f, " or within one {label}")?;
        }
        f.write_str("; free: ")?;
        if self.nodes.is_empty() {
            f.write_str("none")?;
        }
        self.list(f)?;
        if self.stages_that_fit > 0 {
            write!(f, " (room for {} of {stages} stages)", self.stages_that_fit)?;
        }
        if !self.excluded.is_empty() {
            f.write_str("; excluded: ")?;
            list(f, &self.excluded)?;
        }
        Ok(())
    }
}

impl Unplaceable {
    /// Nodes, under their tensor domain if they have one.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tensor_domain.is_none() {
            return list(f, &self.nodes);
        }
        let domains: Vec<&[FreeOn]> =
            self.nodes.chunk_by(|a, b| a.domain.is_some() && a.domain == b.domain).collect();
        for (i, nodes) in domains.iter().take(LISTED).enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            let Some(domain) = nodes.first().and_then(|node| node.domain.as_ref()) else {
                list(f, nodes)?;
                continue;
            };
            let sum = |of: fn(&FreeOn) -> u32| nodes.iter().map(|node| u64::from(of(node))).sum::<u64>();
            write!(f, "{domain} {} of {} ({} nodes)", sum(|n| n.free), sum(|n| n.total), nodes.len())?;
        }
        more(f, domains.len(), "domains")
    }
}

fn list(f: &mut fmt::Formatter<'_>, nodes: &[FreeOn]) -> fmt::Result {
    for (i, node) in nodes.iter().take(LISTED).enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        write!(f, "{} {}", node.node, node.free)?;
        if node.free != node.total {
            write!(f, " of {}", node.total)?;
        }
    }
    more(f, nodes.len(), "nodes")
}

fn more(f: &mut fmt::Formatter<'_>, count: usize, of: &str) -> fmt::Result {
    if count > LISTED { write!(f, " and {} more {of}", count - LISTED) } else { Ok(()) }
}
