//! The serving gate as a condition of a head pod: written with the launch that it was opened for, and read with it. Pure.

use jiff::Timestamp;
use rayfleet_api::{LaunchId, names};
use serde_json::{Value, json};

use super::pods::Condition;

/// What goes before the launch in the condition's message.
const OPENED_FOR: &str = "takes traffic: ";

/// What a gate is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    /// Whether the pod is to take traffic.
    pub(crate) open: bool,
    /// Launch of the engine.
    pub(crate) launch: &'a LaunchId,
    /// One word for the condition's reason.
    pub(crate) reason: &'a str,
}

impl Gate<'_> {
    /// The condition that says so.
    pub(super) fn condition(self, now: Timestamp) -> Value {
        let Self { open, launch, reason } = self;
        json!({
            "type": names::GATE_SERVING,
            "status": if open { "True" } else { "False" },
            "reason": reason,
            "message": if open { format!("{OPENED_FOR}{launch}") } else { "takes no new traffic".to_owned() },
            "lastTransitionTime": now.to_string(),
        })
    }
}

/// Since when the gate is as it is; `None` if it was never set.
pub(super) fn since(conditions: &[Condition]) -> Option<Timestamp> {
    conditions.iter().find(|condition| condition.r#type == names::GATE_SERVING)?.since()
}

/// The launch that a gate was opened for; `None` if it is closed or does not tell.
pub(super) fn opened_for(conditions: &[Condition]) -> Option<LaunchId> {
    let open = |condition: &&Condition| condition.r#type == names::GATE_SERVING && condition.status == "True";
    let message = conditions.iter().find(open)?.message.as_deref()?;
    message.strip_prefix(OPENED_FOR)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_gate_tells_what_it_was_opened_for() {
        let written = |open| {
            let gate = Gate { open, launch: "light-0.eng.1", reason: "Ready" };
            let condition: Condition = serde_json::from_value(gate.condition(Timestamp::UNIX_EPOCH)).unwrap();
            assert_eq!(
                (condition.r#type.as_str(), condition.reason.as_deref()),
                (names::GATE_SERVING, Some("Ready"))
            );
            condition
        };
        assert_eq!(opened_for(&[written(true)]).as_deref(), Some("light-0.eng.1"));
        assert_eq!(since(&[written(false)]), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(opened_for(&[written(false)]), None);
        let other = Condition { r#type: "Ready".to_owned(), ..written(true) };
        assert_eq!((opened_for(std::slice::from_ref(&other)), since(&[other])), (None, None));
        let of_an_older_version =
            Condition { message: Some("the engine takes traffic".to_owned()), ..written(true) };
        assert_eq!(opened_for(&[of_an_older_version]), None);
        let closed = Condition { status: "False".to_owned(), ..written(true) };
        assert_eq!(opened_for(&[closed]), None);
    }
}
