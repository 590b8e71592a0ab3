//! Schemas of single fields that the derive cannot say. A fleet's other fields take theirs from here, too.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Default of the parallel sizes.
pub(crate) fn one_u32() -> u32 {
    1
}

/// What a duration looks like: so many digits that the rules over it can always be evaluated. Go's durations, and with
/// them those of CEL, end at 292 years.
pub const DURATION: &str = r"^([0-9]{1,6}(\.[0-9]{1,9})?h)?([0-9]{1,7}(\.[0-9]{1,9})?m)?([0-9]{1,9}(\.[0-9]{1,9})?s)?([0-9]{1,12}(\.[0-9]{1,9})?ms)?$";

/// A duration such as `90s`, `10m` or `1h30m`, from one second to 30 days.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    length("duration(self) >= duration('1s') && duration(self) <= duration('720h')", "must be 1s to 720h")
}

/// The same from nothing on.
pub fn duration_or_none(_: &mut SchemaGenerator) -> Schema {
    length("duration(self) <= duration('720h')", "must be 0s to 720h")
}

fn length(rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 32,
        "pattern": DURATION,
        "x-kubernetes-validations": [{ "rule": rule, "message": message }]
    })
}

/// Arguments of an engine.
pub(crate) fn arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 256, "items": { "type": "string", "maxLength": 32768 } })
}

/// The key of a label: an optional domain before a slash, then a name.
pub(crate) const LABEL_KEY: &str =
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Longest key of a label: 253 characters of domain, a slash, 63 of name.
pub(crate) const LABEL_KEY_LENGTH: usize = 317;
/// Most levels of a topology.
pub(crate) const LEVELS: usize = 8;

/// The key of a label, such as `topology.kubernetes.io/zone`.
pub(crate) fn label_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": LABEL_KEY_LENGTH, "pattern": LABEL_KEY })
}

/// Keys of labels.
pub(crate) fn label_keys(of: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": LEVELS, "items": label_key(of) })
}
