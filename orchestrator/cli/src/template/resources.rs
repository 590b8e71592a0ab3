//! CPU and memory of a pod, by what each of its GPUs gets. Pure.

use rayfleet_api::quantity::quantity;

use super::site::Site;

/// What each GPU gets: 4 CPUs and 32 GiB, as docs/operations.md has it for 8 GPUs; not measured.
const DEFAULT: PerGpu = PerGpu { milli: 4_000, mebibytes: 32 << 10 };

/// Most CPUs and most memory of one GPU, in thousandths and MiB: 1,024 CPUs and 16 TiB.
const MOST: PerGpu = PerGpu { milli: 1_024_000, mebibytes: 16 << 20 };

/// What a pod is given for each GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerGpu {
    /// Thousandths of a CPU.
    milli: u64,
    /// MiB that are kept for it. The limit is twice as much, and half as much may be shared memory.
    mebibytes: u64,
}

impl PerGpu {
    /// What the site says, else the default. `check` has refused what is no number.
    pub(super) fn of(site: &Site) -> Self {
        Self {
            milli: site.cpu_per_gpu.as_deref().and_then(milli).unwrap_or(DEFAULT.milli),
            mebibytes: site.memory_per_gpu.as_deref().and_then(mebibytes).unwrap_or(DEFAULT.mebibytes),
        }
    }

    /// The request of CPUs.
    pub(super) fn cpu(self, gpus: u32) -> String {
        let all = self.milli.saturating_mul(u64::from(gpus));
        if all.is_multiple_of(1_000) { (all / 1_000).to_string() } else { format!("{all}m") }
    }

    /// The request of memory.
    pub(super) fn memory(self, gpus: u32) -> String {
        text(self.mebibytes.saturating_mul(u64::from(gpus)))
    }

    /// The limit of memory.
    pub(super) fn most_memory(self, gpus: u32) -> String {
        text(self.mebibytes.saturating_mul(2 * u64::from(gpus)))
    }

    /// The limit of shared memory, which is a part of that.
    pub(super) fn shared_memory(self, gpus: u32) -> String {
        text(self.mebibytes.saturating_mul(u64::from(gpus)).div_ceil(2))
    }
}

/// Whether the two keys are what they should be; what is wrong, the key first.
pub(super) fn check(site: &Site) -> Result<(), String> {
    if let Some(text) = site.cpu_per_gpu.as_ref().filter(|text| milli(text).is_none()) {
        return Err(format!("cpuPerGpu: `{text}` is no number of CPUs up to 1024: write it as 4 or 500m"));
    }
    if let Some(text) = site.memory_per_gpu.as_ref().filter(|text| mebibytes(text).is_none()) {
        return Err(format!("memoryPerGpu: `{text}` is no size from 1Mi to 16Ti: write it as 32Gi"));
    }
    Ok(())
}

/// Thousandths of a CPU.
fn milli(text: &str) -> Option<u64> {
    let milli = u64::try_from(quantity(text)?).ok()?;
    (1..=MOST.milli).contains(&milli).then_some(milli)
}

/// Memory in MiB, rounded up.
fn mebibytes(text: &str) -> Option<u64> {
    let bytes = u64::try_from(quantity(text)? / 1_000).ok()?;
    let mebibytes = bytes.div_ceil(1 << 20);
    (bytes >= 1 << 20 && mebibytes <= MOST.mebibytes).then_some(mebibytes)
}

fn text(mebibytes: u64) -> String {
    if mebibytes.is_multiple_of(1 << 10) {
        format!("{}Gi", mebibytes >> 10)
    } else {
        format!("{mebibytes}Mi")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(cpu: &str, memory: &str) -> Site {
        Site { cpu_per_gpu: Some(cpu.to_owned()), memory_per_gpu: Some(memory.to_owned()), ..Site::default() }
    }

    #[test]
    fn a_pod_gets_as_much_as_its_gpus() {
        let texts = |found: PerGpu, gpus: u32| {
            [found.cpu(gpus), found.memory(gpus), found.most_memory(gpus), found.shared_memory(gpus)]
        };
        assert_eq!(texts(PerGpu::of(&Site::default()), 8), ["32", "256Gi", "512Gi", "128Gi"]);
        assert_eq!(texts(PerGpu::of(&site("250m", "3Gi")), 2), ["500m", "6Gi", "12Gi", "3Gi"]);
        assert_eq!(texts(PerGpu::of(&site("250m", "1500M")), 1), ["250m", "1431Mi", "2862Mi", "716Mi"]);
    }

    #[test]
    fn what_no_pod_could_have_is_refused() {
        check(&site("1024", "16Ti")).unwrap();
        for (cpu, memory, key) in [
            ("0", "1Gi", "cpuPerGpu"),
            ("-1", "1Gi", "cpuPerGpu"),
            ("1025", "1Gi", "cpuPerGpu"),
            ("four", "1Gi", "cpuPerGpu"),
            ("1", "32", "memoryPerGpu"),
            ("1", "17Ti", "memoryPerGpu"),
            ("1", "99999999999999999999Ei", "memoryPerGpu"),
            ("1", "", "memoryPerGpu"),
        ] {
            let problem = check(&site(cpu, memory)).unwrap_err();
            assert!(problem.starts_with(key), "{cpu} {memory}: {problem}");
        }
    }
}
