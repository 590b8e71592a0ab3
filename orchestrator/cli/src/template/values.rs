//! The values of a manifest: what was chosen, what the site says, and the defaults for the rest. No text of YAML.

use std::time::Duration;

use ray_bridge_model::duration::LONGEST;
use rayfleet_cli_kit::CliError;
use rayfleet_templates::cache::KvPrecision;
use rayfleet_templates::explain::{count, gb};
use rayfleet_templates::{Choice, Fit, Gpu};

use super::args::FleetFlags;
use super::grammar::{is_host, is_label, is_name, is_namespace};
use super::site::Site;
use super::subject::Subject;
use super::{bandwidth, engine_args};

/// Image of docs/operations.md, where the site names none.
const IMAGE: &str = "vllm-ray:0.32.0-2.60.0";
/// Ray of that image.
const RAY: &str = "2.60.0";

/// What a manifest says.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) title: String,
    /// The command that writes it again, in one line.
    pub(super) command: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) served: String,
    pub(super) source: String,
    /// Folder of the weights in the claim.
    pub(super) folder: String,
    pub(super) fit: Fit,
    /// GPU, as people write it.
    pub(super) gpu: String,
    /// Extended resource of GPUs.
    pub(super) gpu_resource: &'static str,
    /// The GPUs are of AMD.
    pub(super) amd: bool,
    pub(super) replicas: u32,
    pub(super) max_surge: u32,
    pub(super) args: Vec<String>,
    /// Tokens of a sequence.
    pub(super) context: u64,
    pub(super) expect: Option<String>,
    /// Bytes of the checkpoint.
    pub(super) bytes: u64,
    /// What a node reads in a second.
    pub(super) bandwidth: u64,
    /// Time for reading, and the longest start.
    pub(super) start: (Duration, Duration),
    pub(super) image: String,
    pub(super) ray_version: String,
    pub(super) claim: String,
    pub(super) model_path: String,
    pub(super) interface: String,
    pub(super) kueue: Option<String>,
    pub(super) volcano: Option<String>,
    pub(super) gateway: Option<Gateway>,
    pub(super) site: Site,
}

/// A gateway and the host of a route.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) hostname: Option<String>,
}

impl Values {
    /// All of them, or what cannot be used.
    pub(super) fn new(
        (subject, gpu, choice, fit): (&Subject, &Gpu, &Choice, &Fit),
        flags: &FleetFlags,
        namespace: Option<&str>,
        site: Site,
        command: String,
    ) -> Result<Self, CliError> {
        let name = flags.name.clone().unwrap_or_else(|| subject.name.clone());
        if name.is_empty() {
            return Err(CliError::usage("what shall the fleet be called?", "give it a --name"));
        }
        for (flag, queue) in [("--kueue", &flags.kueue), ("--volcano", &flags.volcano)] {
            if let Some(queue) = queue.as_ref().filter(|queue| queue.is_empty() || !is_label("queue", queue))
            {
                return Err(CliError::usage(
                    format!("{flag} \"{queue}\" is no value of a label"),
                    "give the queue's name",
                ));
            }
        }
        flags.engine_arg.iter().try_for_each(|arg| engine_args::check(arg))?;
        let folder = if subject.folder.is_empty() { name.clone() } else { subject.folder.clone() };
        let model_path = site.model_path.clone().unwrap_or_else(|| "/models".to_owned());
        let bandwidth = match (flags.storage_bandwidth, &site.storage_bandwidth) {
            (Some(bytes), _) => bytes,
            (None, Some(text)) => bandwidth::parse(text).unwrap_or(bandwidth::DEFAULT),
            (None, None) => bandwidth::DEFAULT,
        };
        let bytes = subject.stored.unwrap_or(choice.checkpoint);
        let start = bandwidth::start(bytes, bandwidth);
        if start.1 > LONGEST {
            return Err(CliError::usage(
                format!(
                    "at {} a start would take more than 720h, the longest startTimeout",
                    bandwidth::text(bandwidth)
                ),
                "give what a node reads from the storage in a second with --storage-bandwidth",
            ));
        }
        let amd = gpu.title.starts_with("AMD");
        let registry = site.registry.as_deref().unwrap_or("registry.example.com");
        Ok(Self {
            title: subject.title.clone(),
            command,
            namespace: namespace.map(str::to_owned),
            served: flags.served_model_name.clone().unwrap_or_else(|| folder.to_ascii_lowercase()),
            source: flags
                .source
                .clone()
                .unwrap_or_else(|| format!("{}/{folder}", model_path.trim_end_matches('/'))),
            folder,
            fit: fit.clone(),
            gpu: gpu.title.clone(),
            gpu_resource: if amd { "amd.com/gpu" } else { "nvidia.com/gpu" },
            amd,
            replicas: flags.replicas,
            max_surge: flags.max_surge,
            args: args(subject, choice, flags, amd),
            context: choice.demand.context.unwrap_or_default(),
            expect: flags.expect.clone(),
            bytes,
            bandwidth,
            start,
            image: site.image.clone().unwrap_or_else(|| format!("{registry}/{IMAGE}")),
            ray_version: site.ray_version.clone().unwrap_or_else(|| RAY.to_owned()),
            claim: site.claim.clone().unwrap_or_else(|| format!("{name}-weights")),
            model_path,
            interface: site.network_interface.clone().unwrap_or_else(|| "eth0".to_owned()),
            kueue: flags.kueue.clone(),
            volcano: flags.volcano.clone(),
            gateway: gateway(flags)?,
            name,
            site,
        })
    }

    /// A group has more than one pod.
    pub(super) fn over_nodes(&self) -> bool {
        self.fit.shape.nodes > 1
    }

    /// `2 nodes of 8 NVIDIA H100 80 GB`.
    pub(super) fn group(&self) -> String {
        let shape = self.fit.shape;
        format!("{} of {} {}", count(u64::from(shape.nodes), "node"), shape.gpus_per_node, self.gpu)
    }

    /// Why the start may take so long.
    pub(super) fn start_reason(&self) -> String {
        format!(
            "{} at {} on each node: {}m, and 15m to compile and warm up",
            gb(self.bytes),
            bandwidth::text(self.bandwidth),
            self.start.0.as_secs() / 60
        )
    }
}

/// vLLM's arguments: as the shape was reckoned with them, as the model needs, and as they are given.
/// What makes data-parallel engines share experts: without it each would have a part of every expert.
const SHARED_EXPERTS: &str = "--enable-expert-parallel";

fn args(subject: &Subject, choice: &Choice, flags: &FleetFlags, amd: bool) -> Vec<String> {
    let demand = &choice.demand;
    let permille = format!("{:03}", demand.utilization_permille % 1000);
    let fraction = match permille.trim_end_matches('0') {
        "" => "1".to_owned(),
        digits => format!("0.{digits}"),
    };
    let mut args = vec![
        format!("--max-model-len={}", demand.context.unwrap_or_default()),
        format!("--max-num-seqs={}", demand.step.map_or(0, |step| step.sequences)),
        format!("--gpu-memory-utilization={fraction}"),
    ];
    if demand.kv == KvPrecision::Fp8 {
        args.push("--kv-cache-dtype=fp8".to_owned());
    }
    let needed =
        subject.engine.iter().flat_map(|engine| engine.all.iter().chain(engine.amd.iter().filter(|_| amd)));
    let shared = choice.chosen.as_ref().filter(|fit| fit.shape.data > 1).map(|_| SHARED_EXPERTS.to_owned());
    let needed: Vec<String> = shared.into_iter().chain(needed.cloned()).collect();
    args.extend(engine_args::merged(needed.iter(), &flags.engine_arg));
    args
}

fn gateway(flags: &FleetFlags) -> Result<Option<Gateway>, CliError> {
    let Some(text) = &flags.gateway else { return Ok(None) };
    let (namespace, name) =
        text.split_once('/').map_or((None, text.as_str()), |(space, name)| (Some(space), name));
    let cure = "write it as NAMESPACE/NAME or NAME";
    if let Some(wrong) = namespace.filter(|namespace| !is_namespace(namespace)) {
        return Err(CliError::usage(format!("--gateway: \"{wrong}\" is no namespace of Kubernetes"), cure));
    }
    if !is_name(name) {
        return Err(CliError::usage(format!("--gateway: \"{name}\" is no name of Kubernetes"), cure));
    }
    if let Some(host) = flags.hostname.as_ref().filter(|host| !is_host(host)) {
        return Err(CliError::usage(
            format!("--hostname: \"{host}\" is no host of a route"),
            "write it as llm.example.com or *.example.com",
        ));
    }
    Ok(Some(Gateway {
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        hostname: flags.hostname.clone(),
    }))
}
