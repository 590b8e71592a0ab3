//! Texts that the links have in common: words of others, bounded and on one line; moments; why something was not
//! read. No conclusions here.

use jiff::Timestamp;
use rayfleet_api::status::FleetCondition;
use rayfleet_cli_kit::age;
use rayfleet_cli_kit::table::one_line;
use rayfleet_text::cut;

use crate::diagnose::answer::{Answer, List, NoAnswer};
use crate::diagnose::case::Case;

/// Longest text of others that is repeated, in bytes.
const LONGEST: usize = 1024;
/// Fields of a status that are named if they cannot be read.
const FIELDS: usize = 3;

/// A text of others, bounded and on one line.
pub(super) fn quoted(text: &str) -> String {
    cut(&one_line(text), LONGEST)
}

/// A condition of the fleet as evidence.
pub(super) fn said(condition: &FleetCondition) -> String {
    let FleetCondition { type_, status, reason, message, .. } = condition;
    quoted(&format!("condition {type_} is {status} ({reason}): {message}"))
}

/// `2m ago` of a moment.
pub(super) fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    age::since(moment, now) + " ago"
}

/// `at TIME (in 2m)` of a moment to come.
pub(super) fn at(moment: Timestamp, now: Timestamp) -> String {
    format!("at {moment} (in {})", age::span(age::between(now, moment)))
}

/// Why something was not read.
pub(super) fn not_read(none: &NoAnswer) -> String {
    match none {
        NoAnswer::Missing => "it is not there".to_owned(),
        NoAnswer::Forbidden { verb, resource, namespace, .. } => {
            format!("you may not {verb} {resource} {}", place(namespace))
        }
        NoAnswer::Failed { what, .. } => quoted(what),
        NoAnswer::TooLong(most) => format!("no more than the first {most} are read"),
        NoAnswer::OutOfTime(seconds) => format!("the {seconds}s for all calls together are over"),
        NoAnswer::NotAsked => "not asked".to_owned(),
    }
}

/// Why something with this name was not read. A missing right names what it is about by itself.
pub(super) fn unread(name: &str, none: &NoAnswer) -> String {
    match none {
        NoAnswer::Forbidden { .. } => not_read(none),
        _ => format!("{name}: {}", not_read(none)),
    }
}

/// What is missing from a list.
pub(super) fn missing<T>(name: &str, answer: &Answer<List<T>>) -> Option<String> {
    match answer {
        Err(none) | Ok(List { ends: Some(none), .. }) => Some(unread(name, none)),
        Ok(List { unreadable: 0, .. }) => None,
        Ok(List { unreadable, .. }) => Some(format!("{name}: {unreadable} cannot be read")),
    }
}

/// What cannot be read of the status of a fleet.
pub(super) fn odd_status(case: &Case<'_>) -> Option<String> {
    let odd = &case.of.fleet.status.as_ref()?.unreadable;
    let named: Vec<String> = odd.iter().take(FIELDS).map(ToString::to_string).collect();
    (!named.is_empty()).then(|| quoted(&named.join("; ")))
}

/// `in namespace n`, or everywhere.
pub(super) fn place(namespace: &str) -> String {
    if namespace.is_empty() { "in the whole cluster".to_owned() } else { format!("in namespace {namespace}") }
}
