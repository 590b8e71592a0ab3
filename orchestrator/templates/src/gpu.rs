//! GPUs and the nodes that hold them. Which of them a model needs stands in `choose`.

use serde::{Deserialize, Serialize};

/// A GPU, and the node that it usually comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// Short name, as in `h100`.
    pub name: String,
    /// As people write it.
    pub title: String,
    /// Memory that a program sees, in MiB: what `PyTorch` reports (`total_memory` of the device), which is less
    /// than what is printed on the box, and what vLLM takes its fraction of.
    pub memory_mib: u64,
    /// Where that number is from.
    pub memory_source: String,
    /// GPUs in a node.
    pub per_node: u32,
    /// How GPUs of a node are linked.
    pub link: Link,
    /// Where count and link are from.
    pub node_source: String,
    /// What the label of a node's GPUs says if they are these (`nodes`).
    pub products: Vec<String>,
    /// Where those are from.
    pub product_source: String,
}

/// How the GPUs of a node are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Link {
    /// `NVLink`, every GPU with every other.
    NvLink,
    /// Infinity Fabric.
    InfinityFabric,
    /// PCI Express alone: tensor parallelism is slow.
    PciExpress,
}

impl Link {
    /// As people write it.
    pub fn text(self) -> &'static str {
        match self {
            Self::NvLink => "NVLink",
            Self::InfinityFabric => "Infinity Fabric",
            Self::PciExpress => "PCI Express",
        }
    }
}

impl Gpu {
    /// Bytes that a program sees.
    pub fn memory(&self) -> u64 {
        self.memory_mib.saturating_mul(1 << 20)
    }

    /// Bytes that vLLM uses of it: `ceil(total × gpu_memory_utilization)` (`request_memory` in
    /// `vllm/v1/worker/utils.py`), rounded down here. `permille` is the fraction in thousandths.
    pub fn usable(&self, permille: u32) -> u64 {
        let share = u128::from(self.memory()) * u128::from(permille.min(1000)) / 1000;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}
