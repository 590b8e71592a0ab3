//! From what a user wrote to what the rest of the program works with: defaults filled in, every rule
//! checked once. After this no other module looks at the raw spec.

mod head_service;
mod isolation;
mod modes;
mod own_engine;
pub(crate) mod ray;
mod scheduling;
mod shape;
pub(crate) mod strategy;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use ray_bridge_model::duration::{SHORTEST, length};
use ray_bridge_model::valid_model;

use crate::names;
use crate::revision::{Revision, revision};
use crate::spec::{RayClusterFleet, RayClusterFleetSpec, RayClusterTemplate, StrategyType};

pub(crate) use ray_bridge_model::field_error::invalid;
pub use ray_bridge_model::{DEFAULT_PORT, FieldError, START_TIMEOUT, ValidModel, ValidPlacement, ValidProbe};
pub use shape::{GroupShape, MAX_PODS, PodShape};
use shape::{check_gpus, group_shape};
pub use strategy::ValidStrategy;
use strategy::valid_strategy;

/// Field of the model block.
const MODEL: &str = "spec.model";

/// A fleet that is fit to be worked on.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidFleet {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID, for owner references and events.
    pub uid: String,
    /// Generation of the spec.
    pub generation: i64,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// Groups wanted.
    pub replicas: u32,
    /// Revisions wanted.
    pub revision: Revision,
    /// Template of the RayClusters.
    pub template: RayClusterTemplate,
    /// What a group consists of.
    pub shape: GroupShape,
    /// Bounds of rollouts.
    pub strategy: ValidStrategy,
    /// How long a group must be ready to be available.
    pub min_ready: Duration,
    /// Old revisions kept.
    pub history_limit: usize,
    /// Rollouts stand still.
    pub paused: bool,
    /// Time without progress until the rollout counts as stuck. `None`: derived from what groups take.
    pub progress_deadline: Option<Duration>,
    /// Longest drain.
    pub drain_timeout: Duration,
    /// What is tried after failures.
    pub failure: ValidFailurePolicy,
    /// The engine, in bridge mode.
    pub model: Option<ValidModel>,
    /// Port of the engine that the template starts itself. `None`: it says that it starts none.
    pub own_engine_port: Option<u16>,
}

/// What is tried after failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidFailurePolicy {
    /// Engine restarts before the group is recreated.
    pub engine_restarts: u32,
    /// Wait before the first restart.
    pub backoff_initial: Duration,
    /// Upper bound of the waits, which double.
    pub backoff_max: Duration,
    /// Time without progress until an engine counts as hung.
    pub hung_after: Duration,
    /// Failures from one node before it is avoided; 0 for never.
    pub avoid_node_after: u32,
}

impl ValidFleet {
    /// Checks a fleet and fills in defaults. All problems are reported, not just the first.
    pub fn new(fleet: &RayClusterFleet) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        scheduling::check_scheduling(&fleet.spec.template.spec, &mut problems);
        Self::check(fleet, problems)
    }

    /// Checks a fleet at a revision that was taken once, when there were fewer bounds: groups of it may serve, and are looked after.
    pub fn recorded(fleet: &RayClusterFleet) -> Result<Self, Vec<FieldError>> {
        Self::check(fleet, Vec::new())
    }

    fn check(fleet: &RayClusterFleet, mut problems: Vec<FieldError>) -> Result<Self, Vec<FieldError>> {
        let spec = &fleet.spec;
        problems.extend(spec.unreadable.iter().cloned());
        let name = fleet.name_any();
        check_name(&name, &mut problems);
        check_selector(fleet, &mut problems);
        ray::check_template(&spec.template.spec, &mut problems);
        let revision = revision(&spec.template, spec.model.as_ref());
        let shape = group_shape((&name, &revision.pod), &spec.template.spec, &mut problems);
        let model = spec.model.as_ref().map(|model| {
            check_gpus(model, &shape, &spec.template.spec, &mut problems);
            let mut found = Vec::new();
            let valid = valid_model(model, &mut found);
            problems.extend(found.into_iter().map(|problem| problem.within(MODEL)));
            ray::check_port(model, valid.port, &spec.template.spec, &mut problems);
            valid
        });
        let replicas = u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or_else(|_| {
            problems.push(invalid("spec.replicas", "must not be negative"));
            0
        });
        let strategy = valid_strategy(spec, replicas, &mut problems);
        let one_at_a_time =
            replicas <= 1 && (strategy.max_surge == 0 || strategy.kind == StrategyType::Recreate);
        modes::check_modes(&spec.template.spec, spec.model.is_some(), &mut problems);
        isolation::check_isolation(&spec.template.spec, &mut problems);
        head_service::check_head_service(&spec.template.spec, one_at_a_time, &mut problems);
        let failure = valid_failure(spec, &mut problems);
        let drain = spec.drain.as_ref().and_then(|drain| drain.timeout.as_deref());
        // Nothing is a wish too: not to wait.
        let bounds = (Duration::from_mins(10), Duration::ZERO);
        let drain_timeout = length(drain, "spec.drain.timeout", bounds, &mut problems);
        let own_engine_port = own_engine::own_engine_port(fleet, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            namespace: fleet.namespace().unwrap_or_default(),
            uid: fleet.uid().unwrap_or_default(),
            generation: fleet.metadata.generation.unwrap_or_default(),
            deleting: fleet.metadata.deletion_timestamp.is_some(),
            replicas,
            revision,
            own_engine_port,
            template: spec.template.clone(),
            shape,
            strategy,
            min_ready: seconds(spec.min_ready_seconds),
            history_limit: spec
                .revision_history_limit
                .map_or(10, |limit| usize::try_from(limit).unwrap_or_default())
                .min(MOST_HISTORY),
            paused: spec.paused.unwrap_or_default(),
            progress_deadline: progress_deadline(spec),
            drain_timeout,
            failure,
            model,
            name,
        })
    }

    /// What the bridge would refuse at a launch of the engine.
    pub fn launch_problems(&self) -> Vec<FieldError> {
        let problems = self.model.as_ref().map(ValidModel::launch_problems).unwrap_or_default();
        problems.into_iter().map(|problem| problem.within(MODEL)).collect()
    }

    /// Ranks of the engine; 0 when the template starts it.
    pub fn ranks(&self) -> u32 {
        let ranks = |model: &ValidModel| u32::try_from(model.parallelism.ranks()).unwrap_or(u32::MAX);
        self.model.as_ref().map_or(0, ranks)
    }
}

/// Most old revisions that are kept: each may have a record of a megabyte.
pub(crate) const MOST_HISTORY: usize = 100;
/// What AIBrix's CRD stores in every fleet that says nothing.
const AIBRIX_DEADLINE: u64 = 600;

/// A fleet of AIBrix's shape has had its CRD's default written into it, so that 600 is nobody's wish there.
fn progress_deadline(spec: &RayClusterFleetSpec) -> Option<Duration> {
    let seconds = spec.progress_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let said = seconds.filter(|seconds| spec.model.is_some() || *seconds != AIBRIX_DEADLINE);
    said.map(Duration::from_secs)
}

fn seconds(value: Option<i32>) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default())
}

fn check_name(name: &str, problems: &mut Vec<FieldError>) {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let ends = !name.ends_with('-');
    let inner = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if name.len() > names::MAX_FLEET_NAME || !starts || !ends || !inner {
        problems.push(invalid(
            "metadata.name",
            format!(
                "`{name}` must be at most {} characters: a lower-case letter, then letters, digits or '-'",
                names::MAX_FLEET_NAME
            ),
        ));
    }
}

fn check_selector(fleet: &RayClusterFleet, problems: &mut Vec<FieldError>) {
    let selector = &fleet.spec.selector;
    let empty = selector.match_labels.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    if empty {
        problems.push(invalid("spec.selector", "must not be empty"));
    }
    let labels = fleet.spec.template.metadata.as_ref().map(|metadata| &metadata.labels);
    for (key, value) in selector.match_labels.iter().flatten() {
        if labels.and_then(|labels| labels.get(key)) != Some(value) {
            problems.push(invalid(
                "spec.selector.matchLabels",
                format!("`{key}: {value}` is not among spec.template.metadata.labels: add it there"),
            ));
        }
    }
}

fn valid_failure(spec: &RayClusterFleetSpec, problems: &mut Vec<FieldError>) -> ValidFailurePolicy {
    let policy = spec.failure_policy.clone().unwrap_or_default();
    let backoff = policy.backoff.unwrap_or_default();
    let mut of = |text: &Option<String>, field: &str, default: Duration| {
        length(text.as_deref(), &format!("spec.failurePolicy.{field}"), (default, SHORTEST), problems)
    };
    let mut initial = of(&backoff.initial, "backoff.initial", Duration::from_secs(5));
    let mut max = of(&backoff.max, "backoff.max", Duration::from_mins(5));
    let hung_after = of(&policy.hung_after, "hungAfter", Duration::from_mins(1));
    match (backoff.initial.is_some(), backoff.max.is_some()) {
        // What is not said gives way to what is.
        (false, _) => initial = initial.min(max),
        (true, false) => max = max.max(initial),
        (true, true) if initial > max => problems.push(invalid(
            "spec.failurePolicy.backoff",
            "initial must not be above max: the wait grows from the one to the other",
        )),
        (true, true) => {}
    }
    ValidFailurePolicy {
        engine_restarts: policy.engine_restarts.and_then(|n| u32::try_from(n).ok()).unwrap_or(2),
        backoff_initial: initial,
        backoff_max: max,
        hung_after,
        avoid_node_after: policy.avoid_node_after.and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
    }
}

/// Moment a duration after another, at the end of time when that is not representable.
pub fn after(start: Timestamp, wait: Duration) -> Timestamp {
    start.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
