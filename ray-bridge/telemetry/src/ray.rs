//! The GPUs of a Ray node, as its metrics agent reports them (port 8080 where KubeRay starts Ray). Names and units as in Ray 2.60.0,
//! `dashboard/modules/reporter/reporter_agent.py`: the values are MiB (`gpu_providers.py` divides by 1024 x 1024), although the
//! series' own description says bytes.

use std::collections::BTreeMap;

use crate::text::samples;

const USED: &str = "ray_node_gram_used";
const FREE: &str = "ray_node_gram_available";
const BUSY: &str = "ray_node_gpus_utilization";
/// Most GPUs that are kept of a node.
const MOST: usize = 64;

/// One GPU, of which some may be unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gpu {
    /// Used memory in MiB, whoever uses it.
    pub used_mib: Option<f64>,
    /// Free memory in MiB.
    pub free_mib: Option<f64>,
    /// Part of the time that it was busy, 0 to 1.
    pub busy: Option<f64>,
}

/// The GPUs of a node by their index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gpus(BTreeMap<u32, Gpu>);

impl Gpus {
    /// Reads a text, whoever wrote it.
    pub fn of(text: &[u8]) -> Self {
        let mut gpus = Self::default();
        gpus.add(text);
        gpus
    }

    /// Reads some lines more: a text may come in pieces that end at a line's end.
    pub fn add(&mut self, lines: &[u8]) {
        for sample in samples(lines, &[USED, FREE, BUSY]) {
            let index = sample.labels.get("GpuIndex").and_then(|index| index.parse().ok());
            let Some(index) = index.filter(|_| sample.value.is_finite() && sample.value >= 0.0) else {
                continue;
            };
            if self.0.len() >= MOST && !self.0.contains_key(&index) {
                continue;
            }
            let gpu = self.0.entry(index).or_default();
            match sample.name {
                USED => gpu.used_mib = Some(sample.value),
                FREE => gpu.free_mib = Some(sample.value),
                _ => gpu.busy = Some((sample.value / 100.0).min(1.0)),
            }
        }
    }

    /// All of them, by index.
    pub fn all(&self) -> impl Iterator<Item = (u32, Gpu)> {
        self.0.iter().map(|(index, gpu)| (*index, *gpu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_read_by_their_index() {
        let text = "ray_node_gram_used{GpuIndex=\"1\",GpuDeviceName=\"NVIDIA H100\",ip=\"1\"} 70000.0\n\
            ray_node_gram_available{GpuIndex=\"1\"} 11559.0\nray_node_gpus_utilization{GpuIndex=\"1\"} 85.0\n\
            ray_node_gram_used{GpuIndex=\"0\"} 1.0\nray_node_gram_used 5\nray_node_gram_used{GpuIndex=\"x\"} 5\n\
            ray_node_gram_used{GpuIndex=\"2\"} NaN\n";
        let gpus: Vec<_> = Gpus::of(text.as_bytes()).all().collect();
        let full = Gpu { used_mib: Some(70_000.0), free_mib: Some(11_559.0), busy: Some(0.85) };
        assert_eq!(gpus, [(0, Gpu { used_mib: Some(1.0), ..Gpu::default() }), (1, full)]);
    }

    #[test]
    fn a_text_of_many_gpus_takes_no_more_room() {
        let lines = (0..10_000).map(|index| format!("ray_node_gram_used{{GpuIndex=\"{index}\"}} 1\n"));
        let gpus = Gpus::of(lines.collect::<String>().as_bytes());
        assert_eq!(gpus.all().count(), MOST);
    }
}
