//! Which GPUs nodes have, by their labels and allocatable devices. Reading nodes does not belong here.
//!
//! NVIDIA's labels are those of its GPU feature discovery (NVIDIA/k8s-device-plugin 1b826ac,
//! `docs/gpu-feature-discovery/README.md` and `internal/lm/`), AMD's those of its node labeller (ROCm/k8s-device-plugin
//! ed76468, `cmd/k8s-node-labeller/main.go`).

use std::collections::{BTreeMap, BTreeSet};

use crate::Catalogue;
use crate::gpu::Gpu;

/// By how many percent a label's memory may differ from the catalogue's: drivers report a little more than `PyTorch`, and a
/// slice of a GPU is far below.
const MEMORY_PERCENT: u64 = 5;

/// Who makes a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Maker {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
}

impl Maker {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nvidia, Self::Amd];

    /// The extended resource of its GPUs.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia.com/gpu",
            Self::Amd => "amd.com/gpu",
        }
    }

    /// The labels that may name the product, the first one first.
    pub fn product_labels(self) -> &'static [&'static str] {
        match self {
            Self::Nvidia => &["nvidia.com/gpu.product"],
            Self::Amd => &["amd.com/gpu.product-name", "beta.amd.com/gpu.product-name"],
        }
    }

    /// Of a GPU of the catalogue.
    pub fn of(gpu: &Gpu) -> Self {
        if gpu.title.starts_with("AMD") { Self::Amd } else { Self::Nvidia }
    }
}

/// Why GPUs are not taken as whole ones of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unclear {
    /// The label names no GPU of the catalogue.
    Unknown,
    /// No label names the product.
    NoLabel,
    /// A device is a part of a GPU: MIG, or a partition of AMD's.
    Part,
    /// Several pods get the same GPU: time slicing or MPS.
    Shared,
    /// The label of the memory, in MiB, is not that GPU's.
    Memory(u64),
}

impl Unclear {
    /// As a table says it.
    pub fn text(self) -> String {
        match self {
            Self::Unknown => "not in the catalogue".to_owned(),
            Self::NoLabel => "no label names it".to_owned(),
            Self::Part => "parts of GPUs".to_owned(),
            Self::Shared => "shared by pods".to_owned(),
            Self::Memory(mib) => format!("has {mib} MiB by its label"),
        }
    }

    /// Whether the reader's word for the GPU is enough.
    pub fn may_be_named(self) -> bool {
        matches!(self, Self::Unknown | Self::NoLabel)
    }
}

/// GPUs of one kind, as many as a node has of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Who makes them.
    pub maker: Maker,
    /// The label that names them, as key and value; hostile text.
    pub label: Option<(String, String)>,
    /// Allocatable GPUs of a node; at least 1.
    pub per_node: u32,
    /// Name in the catalogue, or why there is none.
    pub gpu: Result<String, Unclear>,
}

/// The kinds of GPUs of a node with these labels. `allocatable`: how many devices of a resource pods may have.
/// A node without devices has no kinds, whatever its labels say.
pub fn kinds(
    catalogue: &Catalogue,
    labels: &BTreeMap<String, String>,
    allocatable: impl Fn(&str) -> u32,
) -> BTreeSet<Kind> {
    let of = |maker: Maker| {
        let per_node = allocatable(maker.resource());
        let product = maker.product_labels().iter().find_map(|key| Some((*key, labels.get(*key)?)));
        let product = product.filter(|(_, value)| !value.is_empty());
        let gpu = match product {
            None => Err(Unclear::NoLabel),
            Some((_, value)) => judge(catalogue, maker, value, labels),
        };
        let label = product.map(|(key, value)| (key.to_owned(), value.clone()));
        (per_node > 0).then_some(Kind { maker, label, per_node, gpu })
    };
    Maker::ALL.into_iter().filter_map(of).collect()
}

fn judge(
    catalogue: &Catalogue,
    maker: Maker,
    product: &str,
    labels: &BTreeMap<String, String>,
) -> Result<String, Unclear> {
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    match maker {
        Maker::Nvidia => {
            // `A100-SXM4-40GB-MIG-1g.5gb`, `…-MIG-INVALID`.
            if product.contains("-MIG-") {
                return Err(Unclear::Part);
            }
            let replicas = label("nvidia.com/gpu.replicas").parse::<u64>().unwrap_or(0);
            if product.ends_with("-SHARED") || replicas > 1 {
                return Err(Unclear::Shared);
            }
        }
        Maker::Amd => {
            // `spx_nps1` is the whole GPU.
            let partition = label("amd.com/gpu.compute-memory-partition");
            if !partition.is_empty() && !partition.starts_with("spx_") {
                return Err(Unclear::Part);
            }
        }
    }
    let is_it = |gpu: &&Gpu| Maker::of(gpu) == maker && gpu.products.iter().any(|name| name == product);
    let gpu = catalogue.gpus.iter().find(is_it).ok_or(Unclear::Unknown)?;
    let mib = match maker {
        Maker::Nvidia => label("nvidia.com/gpu.memory").parse::<u64>().ok(),
        Maker::Amd => gib(label("amd.com/gpu.vram")).and_then(|gib| gib.checked_mul(1024)),
    };
    match mib {
        Some(mib) if mib.abs_diff(gpu.memory_mib) > gpu.memory_mib / 100 * MEMORY_PERCENT => {
            Err(Unclear::Memory(mib))
        }
        _ => Ok(gpu.name.clone()),
    }
}

/// `192G`.
fn gib(text: &str) -> Option<u64> {
    text.strip_suffix('G')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)], devices: &[(&str, u32)]) -> Vec<Kind> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let devices: BTreeMap<&str, u32> = devices.iter().copied().collect();
        let allocatable = |resource: &str| devices.get(resource).copied().unwrap_or(0);
        kinds(&Catalogue::embedded().unwrap(), &labels, allocatable).into_iter().collect()
    }

    fn nvidia(labels: &[(&str, &str)]) -> Result<String, Unclear> {
        let labels: Vec<(String, &str)> =
            labels.iter().map(|(key, value)| (format!("nvidia.com/gpu.{key}"), *value)).collect();
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        of(&labels, &[("nvidia.com/gpu", 8)]).swap_remove(0).gpu
    }

    #[test]
    fn every_gpu_is_known_by_one_label_alone() {
        let gpus = Catalogue::embedded().unwrap().gpus;
        let all: Vec<&String> = gpus.iter().flat_map(|gpu| &gpu.products).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for gpu in &gpus {
            let maker = Maker::of(gpu);
            for product in &gpu.products {
                for key in maker.product_labels() {
                    let found = of(&[(key, product)], &[(maker.resource(), gpu.per_node)]);
                    let label = Some(((*key).to_owned(), product.clone()));
                    let gpu = Ok(gpu.name.clone());
                    assert_eq!(found, [Kind { maker, label, per_node: found[0].per_node, gpu }]);
                }
            }
        }
    }

    /// The labels that NVIDIA's guides and README print.
    #[test]
    fn published_labels_of_nvidia_are_read() {
        // OpenNebula's guide to an AI-ready Kubernetes, step 6.
        let l40s = [("memory", "46068"), ("product", "NVIDIA-L40S"), ("replicas", "1")];
        assert_eq!(nvidia(&l40s), Ok("l40s".to_owned()));
        // docs/gpu-feature-discovery/README.md: a node, and MIG with the strategy `single`.
        assert_eq!(nvidia(&[("memory", "39538"), ("product", "A100-SXM4-40GB")]), Ok("a100-40".to_owned()));
        let mig = [("product", "A100-SXM4-40GB-MIG-1g.5gb"), ("count", "56"), ("memory", "5120")];
        assert_eq!(nvidia(&mig), Err(Unclear::Part));
        assert_eq!(nvidia(&[("product", "Tesla-T4"), ("memory", "15360")]), Err(Unclear::Unknown));
        // nvidia-smi's MiB as catalogue/gpus.json has it of H100 and B300.
        assert_eq!(
            nvidia(&[("product", "NVIDIA-H100-80GB-HBM3"), ("memory", "81559")]),
            Ok("h100".to_owned())
        );
        assert_eq!(
            nvidia(&[("product", "NVIDIA-B300-SXM6-AC"), ("memory", "275040")]),
            Ok("b300".to_owned())
        );
        // Other boards of the same name, in vLLM's configurations: other links, other memory.
        for product in ["NVIDIA-H100-PCIe", "NVIDIA-H100-NVL", "NVIDIA-A100-PCIe-40GB", "NVIDIA-H20"] {
            assert_eq!(nvidia(&[("product", product)]), Err(Unclear::Unknown), "{product}");
        }
    }

    #[test]
    fn a_gpu_that_pods_share_is_not_a_whole_one() {
        for labels in [
            &[("product", "NVIDIA-H200-SHARED")][..],
            &[("product", "NVIDIA-H200"), ("replicas", "4")],
            &[("product", "NVIDIA-H200-SHARED"), ("replicas", "x")],
        ] {
            assert_eq!(nvidia(labels), Err(Unclear::Shared), "{labels:?}");
        }
        assert_eq!(nvidia(&[("product", "NVIDIA-H200"), ("replicas", "1")]), Ok("h200".to_owned()));
        assert_eq!(nvidia(&[("product", "NVIDIA-H200-MIG-INVALID")]), Err(Unclear::Part));
    }

    #[test]
    fn the_memory_of_a_label_must_be_that_of_the_gpu() {
        let of = |memory: &str| nvidia(&[("product", "NVIDIA-H200"), ("memory", memory)]);
        assert_eq!(of("71885"), Err(Unclear::Memory(71_885)));
        assert_eq!(of("18446744073709551615"), Err(Unclear::Memory(u64::MAX)));
        for memory in ["143771", "", "-1", "140GB", "99999999999999999999"] {
            assert_eq!(of(memory), Ok("h200".to_owned()), "{memory}");
        }
    }

    /// ROCm/k8s-device-plugin: docs/user-guide/installation.md and docs/user-guide/configuration.md.
    #[test]
    fn published_labels_of_amd_are_read() {
        let devices = [("amd.com/gpu", 8)];
        let product = ("amd.com/gpu.product-name", "AMD_Instinct_MI300X_OAM");
        let gpu = |labels: &[(&str, &str)]| of(labels, &devices).swap_remove(0).gpu;
        assert_eq!(gpu(&[product, ("amd.com/gpu.vram", "192G")]), Ok("mi300x".to_owned()));
        assert_eq!(gpu(&[product, ("amd.com/gpu.vram", "48G")]), Err(Unclear::Memory(49_152)));
        assert_eq!(gpu(&[product, ("amd.com/gpu.vram", "18446744073709551615G")]), Ok("mi300x".to_owned()));
        let partition = |name| gpu(&[product, ("amd.com/gpu.compute-memory-partition", name)]);
        assert_eq!(
            (partition("spx_nps1"), partition("cpx_nps4")),
            (Ok("mi300x".to_owned()), Err(Unclear::Part))
        );
        // Several products on a node have a label each, with their number as its value.
        let two =
            [("amd.com/gpu.product-name.AMD_Instinct_MI300X", "4"), ("amd.com/gpu.product-name.A", "4")];
        assert_eq!(gpu(&two), Err(Unclear::NoLabel));
    }

    #[test]
    fn what_is_not_allocatable_is_not_there() {
        let product = ("nvidia.com/gpu.product", "NVIDIA-H200");
        assert_eq!(of(&[product, ("nvidia.com/gpu.count", "8")], &[]), []);
        assert_eq!(of(&[product], &[("nvidia.com/gpu", 7)])[0].per_node, 7);
        assert_eq!(
            of(&[("nvidia.com/gpu.product", "")], &[("nvidia.com/gpu", 1)])[0].gpu,
            Err(Unclear::NoLabel)
        );
        // A label of the other maker is no label.
        assert_eq!(of(&[product], &[("amd.com/gpu", 1)])[0].gpu, Err(Unclear::NoLabel));
        assert_eq!(of(&[product], &[("amd.com/gpu", 1), ("nvidia.com/gpu", 1)]).len(), 2);
    }
}
