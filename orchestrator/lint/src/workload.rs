//! What fleets and LeaderWorkerSets have in common: groups of a head and workers, each with a pod template, and a head that may start an
//! engine. Reading alone; no rule lives here.

use rayfleet_api::kuberay::{self, WorkerSize};
use rayfleet_api::spec::StrategyType;
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use serde_json::{Value, json};

use crate::launch::{self, Launch};
use crate::read::Object;
use crate::vllm::Engine;

/// API group of LeaderWorkerSets.
pub(crate) const LWS_GROUP: &str = "leaderworkerset.x-k8s.io";
/// Kind of LeaderWorkerSets.
pub(crate) const LWS_KIND: &str = "LeaderWorkerSet";

/// Objects whose groups run one engine each.
pub(crate) struct Workload<'o> {
    /// The object.
    pub(crate) object: &'o Object,
    /// It is a LeaderWorkerSet, else a fleet.
    pub(crate) lws: bool,
    /// Rayfleet starts the engine (`spec.model`).
    pub(crate) bridged: bool,
    /// The fleet, if it is valid.
    pub(crate) valid: Option<ValidFleet>,
    /// The head, then the kinds of workers.
    pub(crate) roles: Vec<Role<'o>>,
    /// What the head's first container runs.
    pub(crate) launch: Option<Launch>,
    /// The engine that it starts, and the number of the command that does.
    pub(crate) engine: Option<(usize, Engine)>,
    /// How many groups, and how they are replaced.
    pub(crate) rollout: Option<Rollout>,
}

/// How groups are replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rollout {
    /// Groups wanted.
    pub(crate) replicas: u64,
    /// Groups above that.
    pub(crate) surge: u64,
    /// Groups that may be unavailable.
    pub(crate) unavailable: u64,
    /// All old groups end before the new ones start.
    pub(crate) recreate: bool,
}

/// Pods of a group that are alike.
pub(crate) struct Role<'o> {
    /// Field of the pod template.
    pub(crate) field: String,
    /// The pod template.
    pub(crate) template: &'o Value,
    /// It is the head.
    pub(crate) head: bool,
    /// Pods of each group.
    pub(crate) pods: u64,
    /// GPUs of each pod, if they can be read.
    pub(crate) gpus: Option<u32>,
}

impl Role<'_> {
    /// Field of the first container, in which Ray runs.
    pub(crate) fn container_field(&self) -> String {
        format!("{}.spec.containers[0]", self.field)
    }

    /// The first container, in which Ray runs.
    pub(crate) fn container(&self) -> &Value {
        &self.template["spec"]["containers"][0]
    }

    /// All containers with their fields, those for the start first.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (String, &Value)> {
        ["initContainers", "containers"].into_iter().flat_map(move |kind| {
            let list = self.template["spec"][kind].as_array().into_iter().flatten().enumerate();
            list.map(move |(index, container)| (format!("{}.spec.{kind}[{index}]", self.field), container))
        })
    }

    /// Whether a set of labels selects it, as far as the manifest and KubeRay label it.
    pub(crate) fn has(&self, key: &str, value: &str, lws: bool) -> bool {
        let node_type = if self.head { "head" } else { "worker" };
        let of_ray = [(names::RAY_LABEL_NODE_TYPE, node_type), ("ray.io/is-ray-node", "yes")];
        (!lws && of_ray.contains(&(key, value))) || self.template["metadata"]["labels"][key] == value
    }
}

impl<'o> Workload<'o> {
    /// Of an object, if it is one.
    pub(crate) fn of(object: &'o Object) -> Option<Self> {
        let (lws, roles) = if object.is(names::GROUP, names::KIND) {
            (false, fleet_roles(&object.value))
        } else if object.is(LWS_GROUP, LWS_KIND) {
            (true, lws_roles(&object.value))
        } else {
            return None;
        };
        let bridged = !lws && !object.value["spec"]["model"].is_null();
        let valid = (!lws).then(|| valid(&object.value).ok()).flatten();
        let launch = roles.first().and_then(|head| launch::of(head.container()));
        let engine = launch.as_ref().and_then(Launch::engine);
        let rollout = if lws { lws_rollout(&object.value) } else { valid.as_ref().map(fleet_rollout) };
        Some(Self { object, lws, bridged, valid, roles, launch, engine, rollout })
    }

    /// Whether there is an engine in it, as far as is known, or a GPU for one.
    pub(crate) fn serves(&self) -> bool {
        self.bridged || self.engine.is_some() || self.gpus() != Some(0)
    }

    /// The head.
    pub(crate) fn head(&self) -> Option<&Role<'o>> {
        self.roles.first()
    }

    /// GPUs of a group, if they can be read.
    pub(crate) fn gpus(&self) -> Option<u64> {
        self.roles.iter().try_fold(0_u64, |sum, role| {
            let of_role = u64::from(role.gpus?).saturating_mul(role.pods);
            Some(sum.saturating_add(of_role))
        })
    }

    /// Pods of a group.
    pub(crate) fn pods(&self) -> u64 {
        self.roles.iter().map(|role| role.pods).fold(0, u64::saturating_add)
    }

    /// Field of what the head's first container runs.
    pub(crate) fn launch_field(&self) -> String {
        let container = self.head().map(Role::container_field).unwrap_or_default();
        let field = self.launch.as_ref().map(|launch| launch.field.as_str()).unwrap_or_default();
        format!("{container}.{field}")
    }

    /// Port on which the engine is asked.
    pub(crate) fn asked_port(&self) -> Option<u16> {
        let valid = self.valid.as_ref()?;
        valid.model.as_ref().map(|model| model.port).or(valid.own_engine_port)
    }
}

/// A fleet as the orchestrator takes it, or what it would refuse.
pub(crate) fn valid(value: &Value) -> Result<ValidFleet, Vec<rayfleet_api::FieldError>> {
    let fleet: RayClusterFleet = serde_json::from_value(value.clone()).map_err(|error| {
        vec![rayfleet_api::FieldError { field: String::new(), problem: error.to_string() }]
    })?;
    let valid = ValidFleet::new(&fleet)?;
    let problems = valid.launch_problems();
    if problems.is_empty() { Ok(valid) } else { Err(problems) }
}

fn fleet_roles(value: &Value) -> Vec<Role<'_>> {
    let spec = &value["spec"]["template"]["spec"];
    let head = fleet_role("spec.template.spec.headGroupSpec", &spec["headGroupSpec"], true, 1);
    let workers = spec["workerGroupSpecs"].as_array().into_iter().flatten().enumerate();
    let workers = workers.map(|(index, group)| {
        let field = format!("spec.template.spec.workerGroupSpecs[{index}]");
        fleet_role(&field, group, false, WorkerSize::of(group).pods())
    });
    std::iter::once(head).chain(workers).collect()
}

fn fleet_role<'v>(field: &str, group: &'v Value, head: bool, pods: u64) -> Role<'v> {
    Role {
        field: format!("{field}.template"),
        template: &group["template"],
        head,
        pods,
        gpus: kuberay::gpus(group).ok(),
    }
}

fn lws_roles(value: &Value) -> Vec<Role<'_>> {
    let template = &value["spec"]["leaderWorkerTemplate"];
    let role = |name: &str, head, pods| Role {
        field: format!("spec.leaderWorkerTemplate.{name}"),
        template: &template[name],
        head,
        pods,
        gpus: kuberay::gpus(
            &json!({"template": {"spec": {"containers": [template[name]["spec"]["containers"][0]]}}}),
        )
        .ok(),
    };
    let workers = template["size"].as_u64().unwrap_or(1).saturating_sub(1);
    let leader = if template["leaderTemplate"].is_object() { "leaderTemplate" } else { "workerTemplate" };
    let mut roles = vec![role(leader, true, 1)];
    if workers > 0 {
        roles.push(role("workerTemplate", false, workers));
    }
    roles
}

fn fleet_rollout(valid: &ValidFleet) -> Rollout {
    Rollout {
        replicas: u64::from(valid.replicas),
        surge: u64::from(valid.strategy.max_surge),
        unavailable: u64::from(valid.strategy.max_unavailable),
        recreate: valid.strategy.kind == StrategyType::Recreate,
    }
}

/// With the defaults of its CRD: no surge, one unavailable.
fn lws_rollout(value: &Value) -> Option<Rollout> {
    let spec = &value["spec"];
    let replicas = if spec["replicas"].is_null() { 1 } else { spec["replicas"].as_u64()? };
    let rolling = &spec["rolloutStrategy"]["rollingUpdateConfiguration"];
    let groups = |field: &str, default: u64, up: bool| match &rolling[field] {
        Value::Null => Some(default),
        Value::String(text) => {
            let percent = text.strip_suffix('%')?.parse::<u32>().ok()?;
            let hundredths = replicas.checked_mul(u64::from(percent))?;
            Some(if up { hundredths.div_ceil(100) } else { hundredths / 100 })
        }
        number => number.as_u64(),
    };
    let (surge, unavailable) = (groups("maxSurge", 0, true)?, groups("maxUnavailable", 1, false)?);
    Some(Rollout { replicas, surge, unavailable, recreate: false })
}
