//! The links of the chain, one idea a file. Each reads facts and gives a verdict; none makes a call or knows
//! of another. Words of the orchestrator, KubeRay and Kubernetes are repeated as evidence, never parsed.

pub(super) mod api;
mod clusters;
pub(super) mod control;
mod engine;
mod failure;
pub(super) mod groups;
pub(super) mod kuberay;
mod nodes;
pub(super) mod orchestrator;
mod pod_problem;
mod pods;
mod ray;
pub(super) mod rollout;
pub(super) mod spec;
mod traffic;

use jiff::Timestamp;
use rayfleet_api::status::FleetCondition;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use super::facts::NoAnswer;

/// Longest text of others that is repeated, in bytes.
const LONGEST: usize = 1024;

/// A text of others, bounded and on one line.
fn quoted(text: &str) -> String {
    cut(&one_line(text), LONGEST)
}

/// A condition of the fleet as evidence.
fn said(condition: &FleetCondition) -> String {
    let FleetCondition { type_, status, reason, message, .. } = condition;
    quoted(&format!("condition {type_} is {status} ({reason}): {message}"))
}

/// `since 12:00:00 (2m ago)` of a moment.
fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    age::since(moment, now) + " ago"
}

/// `at TIME (in 2m)` of a moment to come.
fn at(moment: Timestamp, now: Timestamp) -> String {
    format!("at {moment} (in {})", age::span(age::between(now, moment)))
}

/// Why something was not read, in words.
fn not_read(none: &NoAnswer) -> String {
    match none {
        NoAnswer::Missing => "it is not there".to_owned(),
        NoAnswer::Forbidden { verb, resource, namespace, .. } => {
            format!("you may not {verb} {resource} {}", place(namespace))
        }
        NoAnswer::Failed { what, .. } => quoted(what),
        NoAnswer::NotAsked => "not asked".to_owned(),
    }
}

/// `in namespace n`, or everywhere.
fn place(namespace: &str) -> String {
    if namespace.is_empty() { "in the whole cluster".to_owned() } else { format!("in namespace {namespace}") }
}
