//! The validation rules (CEL) of the CRD. The API server reckons what each may cost from the bounds of what it reads, and refuses a CRD
//! that is too dear; so some rules only speak where they can do so cheaply, and leave the rest to [`crate::valid`].

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::{Value, json};

use crate::kuberay::{FIXED, OTHERS, SLICES};
use crate::names::MAX_FLEET_NAME;
use crate::owned;
use crate::valid::MAX_PODS;
use crate::valid::ray::LOCAL;

/// Numbers of GPUs of a pod that a pattern can read. No pod has more; other spellings are read by the orchestrator.
const PLAIN: std::ops::RangeInclusive<u32> = 0..=64;

/// A list of texts.
fn list<T: std::fmt::Display>(of: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = of.into_iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn limits(group: &str) -> String {
    format!("{group}.template.spec.containers[0].resources.limits")
}

fn has_limits(group: &str) -> String {
    format!("has({group}.template.spec.containers[0].resources) && has({})", limits(group))
}

fn has_number(group: &str) -> String {
    format!("has({group}.rayStartParams) && 'num-gpus' in {group}.rayStartParams")
}

/// GPUs of a pod of `group` as KubeRay counts them, where [`plain`] holds: `num-gpus` of the start parameters, or the GPUs of the
/// first container (Ray's own).
///
/// `int()` takes a limit as it is, number or text. A `string()` around it would cost so much by the API server's
/// estimate, which knows no bound for a limit's text, that it refuses the whole CRD.
fn gpus(group: &str) -> String {
    let limits = limits(group);
    format!(
        "({} ? int({group}.rayStartParams['num-gpus']) : ({} \
         ? {limits}.filter(k, k.endsWith('gpu')).map(k, int({limits}[k])).sum() : 0))",
        has_number(group),
        has_limits(group),
    )
}

/// Whether all that tells the GPUs of a pod is a plain number, of one kind of GPU, and nothing else could be one.
fn plain(group: &str) -> String {
    let (limits, numbers) = (limits(group), list(PLAIN));
    let others = OTHERS.iter().map(|(name, _)| *name).chain(SLICES);
    let others: Vec<String> = others.map(|name| format!("k.startsWith('{name}')")).collect();
    format!(
        "(!(has({group}.resources) && size({group}.resources) > 0) && ({} ? {group}.rayStartParams['num-gpus'] in {numbers} : \
         (!(has({group}.template.spec.containers[0].resources) && has({group}.template.spec.containers[0].resources.claims)) && \
         (!({}) || ({limits}.filter(k, k.endsWith('gpu')).size() <= 1 && \
         {limits}.all(k, k.endsWith('gpu') ? (type({limits}[k]) == int || {limits}[k] in {numbers}) : !({})))))))",
        has_number(group),
        has_limits(group),
        others.join(" || "),
    )
}

/// Pods of a worker group as [`crate::kuberay::WorkerSize::pods`] has them.
fn pods(group: &str) -> String {
    let least = format!("(has({group}.minReplicas) ? {group}.minReplicas : 0)");
    let most = format!("(has({group}.maxReplicas) ? {group}.maxReplicas : {})", i32::MAX);
    format!(
        "(has({group}.suspend) && {group}.suspend ? 0 : \
         (!has({group}.replicas) || {group}.replicas < {least} ? {least} : \
         ({group}.replicas > {most} ? {most} : {group}.replicas))) * (has({group}.numOfHosts) ? {group}.numOfHosts : 1)"
    )
}

/// Rules of the worker groups together.
pub(super) fn worker_groups() -> Value {
    json!([
        {
            "rule": format!("self.map(g, {}).sum() < {MAX_PODS}", pods("g")),
            "message": format!("a group may have {MAX_PODS} pods, the head included: lower replicas or numOfHosts, and raise the fleet's replicas where more groups were meant")
        },
        {
            "rule": "self.all(g, !has(g.minReplicas) || !has(g.maxReplicas) || g.minReplicas <= g.maxReplicas)",
            "message": "minReplicas must not be above maxReplicas, which KubeRay refuses: leave both out, so that they follow replicas"
        }
    ])
}

/// Rules of the head's `rayStartParams`: what keeps Rayfleet from the dashboard.
pub(super) fn head_parameters() -> Value {
    json!([
        {
            "rule": format!("!('dashboard-host' in self) || !(self['dashboard-host'] in {})", list(LOCAL)),
            "message": "dashboard-host keeps the dashboard from Rayfleet, which sees by it whether the group is up: leave it out, or write 0.0.0.0 (with IPv6 alone ::)"
        },
        {
            "rule": "!('include-dashboard' in self) || !(self['include-dashboard'] in ['false', 'False', 'FALSE'])",
            "message": "include-dashboard: without its dashboard Rayfleet cannot see whether a group is up: leave it out"
        }
    ])
}

/// Rules of `authOptions`.
pub(super) fn authentication() -> Value {
    json!([{
        "rule": "!has(self.enableK8sTokenAuth) || !self.enableK8sTokenAuth",
        "message": "enableK8sTokenAuth: the dashboard would ask Kubernetes for every token, and Rayfleet has none that Kubernetes knows: leave it out; with mode token KubeRay makes one that Rayfleet reads"
    }])
}

/// A port that Ray may give to a worker on the head.
fn workers_apart() -> String {
    let head = "self.template.spec.headGroupSpec";
    let set = ["min-worker-port", "max-worker-port", "worker-port-list"];
    let set: Vec<String> = set.iter().map(|name| format!("'{name}' in {head}.rayStartParams")).collect();
    format!(
        "!has(self.model) || !has(self.model.port) || self.model.port < 10002 || self.model.port > 19999 || \
         (oldSelf.hasValue() && has(oldSelf.value().model) && has(oldSelf.value().model.port) && \
         oldSelf.value().model.port == self.model.port) || (has({head}.rayStartParams) && ({}))",
        set.join(" || "),
    )
}

/// The wait grows from the one to the other.
pub(super) fn backoff() -> ValidationRule {
    rule(
        "!has(self.initial) || !has(self.max) || duration(self.initial) <= duration(self.max)".to_owned(),
        "initial must not be above max: the wait grows from the one to the other",
        None,
    )
}

/// No argument of the engine is one that Rayfleet sets itself, as far as it is written in the usual way. To look at all of an argument would
/// be too dear: it may be long.
fn no_owned_arguments() -> String {
    let there = |spec: &str| {
        format!("has({spec}.model) && has({spec}.model.engine) && has({spec}.model.engine.args)")
    };
    let options = owned::options();
    let begins = options.iter().map(|option| format!("{option}=")).chain(owned::families());
    let begins: Vec<String> = begins.map(|begin| format!("a.startsWith('{begin}')")).collect();
    format!(
        "!({}) || (oldSelf.hasValue() && {} && oldSelf.value().model.engine.args == self.model.engine.args) || \
         self.model.engine.args.all(a, !(a in {} || {}))",
        there("self"),
        there("oldSelf.value()"),
        list(&options),
        begins.join(" || "),
    )
}

/// The engine's port is none that Ray takes unless its parameters say otherwise.
fn free_port() -> String {
    let head = "self.template.spec.headGroupSpec";
    let free = FIXED.iter().map(|(name, port, _)| {
        format!(
            "(self.model.port != {port} || (has({head}.rayStartParams) && '{name}' in {head}.rayStartParams))"
        )
    });
    format!("!has(self.model) || !has(self.model.port) || ({})", free.collect::<Vec<_>>().join(" && "))
}

fn rule(rule: String, message: &str, field_path: Option<&str>) -> ValidationRule {
    ValidationRule {
        rule,
        message: Some(message.to_owned()),
        field_path: field_path.map(str::to_owned),
        reason: Some("FieldValueInvalid".to_owned()),
        ..ValidationRule::default()
    }
}

/// A rule that what was stored before, by another CRD, need not keep as long as nobody changes it: see `oldSelf` in the rule.
fn rule_for_changes(text: String, message: &str, field_path: Option<&str>) -> ValidationRule {
    ValidationRule { optional_old_self: Some(true), ..rule(text, message, field_path) }
}

pub(super) fn root_rules() -> Vec<ValidationRule> {
    vec![rule_for_changes(
        format!(
            "oldSelf.hasValue() || (size(self.metadata.name) <= {MAX_FLEET_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))"
        ),
        "metadata.name must be at most 37 characters: a lower-case letter, then letters, digits or '-'; KubeRay allows 53 characters for the RayClusters that are named after the fleet",
        None,
    )]
}

pub(super) fn spec_rules() -> Vec<ValidationRule> {
    let (head, workers) = ("self.template.spec.headGroupSpec", "self.template.spec.workerGroupSpecs");
    let gpus = format!(
        "{} + (has({workers}) ? {workers}.map(g, {} * {}).sum() : 0)",
        gpus(head),
        pods("g"),
        gpus("g"),
    );
    let reported = format!("{} && (!has({workers}) || {workers}.all(g, {}))", plain(head), plain("g"));
    let same = "oldSelf.hasValue() && oldSelf.value().selector == self.selector";
    // Without optional steps: of what those give, the API server knows no bounds. That the selector is the same is a rule of its own.
    let labels = |of: &str| format!("has({of}.template.metadata) && has({of}.template.metadata.labels)");
    let (labelled, was_labelled) = (labels("self"), labels("oldSelf.value()"));
    let same_labels = format!(
        "oldSelf.hasValue() && ({labelled} ? {was_labelled} && \
         self.template.metadata.labels == oldSelf.value().template.metadata.labels : !({was_labelled}))"
    );
    vec![
        rule_for_changes(
            format!("({same_labels}) || !has(self.selector.matchLabels) || (has(self.template.metadata) && has(self.template.metadata.labels) && \
             self.selector.matchLabels.all(k, k in self.template.metadata.labels && \
             self.template.metadata.labels[k] == self.selector.matchLabels[k]))"),
            "selector.matchLabels must be among template.metadata.labels: add the missing labels to the template, or correct the selector",
            Some(".selector.matchLabels"),
        ),
        rule_for_changes(
            format!("({same}) || (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || \
             (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)"),
            "selector must not be empty: it would select every RayCluster of the namespace",
            Some(".selector"),
        ),
        rule(
            "self.selector == oldSelf.selector".to_owned(),
            "selector cannot be changed: delete the fleet and create it again",
            Some(".selector"),
        ),
        rule(
            format!("!has(self.model) || !({reported}) || self.model.parallelism.tensor * self.model.parallelism.pipeline * (has(self.model.parallelism.data) ? self.model.parallelism.data : 1) == {gpus}"),
            "model.parallelism: tensor x pipeline x data must equal the GPUs of the template (head plus all workers): change parallelism, the GPU limits or workerGroupSpecs[].replicas",
            Some(".model.parallelism"),
        ),
        rule(
            "!has(self.model) || !has(self.model.engine) || !has(self.model.engine.type) || self.model.engine.type != 'custom' || has(self.model.engine.entrypoint)".to_owned(),
            "model.engine.entrypoint is required for type custom: give it as module:function",
            Some(".model.engine"),
        ),
        rule_for_changes(
            workers_apart(),
            "model.port is one of those that Ray gives to its workers (10002 to 19999): choose another, such as 8000, or set min-worker-port and max-worker-port of the head's rayStartParams",
            Some(".model.port"),
        ),
        rule(
            free_port(),
            "model.port is one of Ray's own on the head (6379, 8080, 8265, 10001, 52365): choose another, such as 8000",
            Some(".model.port"),
        ),
        rule_for_changes(
            no_owned_arguments(),
            "model.engine.args must not have what Rayfleet sets itself or relies on (parallel sizes, executor backend, nodes and ranks, host, port, model and served name, TLS files, API key, config files, statistics): leave it out; model.parallelism, model.port, model.name and model.source say it instead, and VLLM_API_KEY in the pod template is the key",
            Some(".model.engine.args"),
        ),
    ]
}
