//! The serving gate of a head pod: a condition, and beside it an annotation with the launch that it was opened for. Both are written
//! by one patch, and read together. Pure.

use jiff::Timestamp;
use rayfleet_api::{LaunchId, names};
use serde_json::{Value, json};

use super::objects::Meta;
use super::pod_status::Condition;

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
    /// The patch of the pod's status that sets it. Of a pod the status takes annotations along, unlike that of a custom resource:
    /// <https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/registry/core/pod/strategy.go>, `podStatusStrategy`.
    pub(super) fn patch(self, uid: &str, now: Timestamp) -> Value {
        let Self { open, launch, reason } = self;
        // The uid makes the API server refuse the patch for another pod of the same name.
        json!({
            "metadata": {
                "uid": uid,
                "annotations": {names::ANNOTATION_OPENED_FOR: open.then(|| launch.to_string())},
            },
            "status": {"conditions": [{
                "type": names::GATE_SERVING,
                "status": if open { "True" } else { "False" },
                "reason": reason,
                "message": if open { "takes traffic" } else { "takes no new traffic" },
                "lastTransitionTime": now.to_string(),
            }]},
        })
    }
}

/// Since when the gate is as it is; `None` if it was never set.
pub(super) fn since(conditions: &[Condition]) -> Option<Timestamp> {
    conditions.iter().find(|condition| condition.r#type == names::GATE_SERVING)?.since()
}

/// The launch that a gate was opened for; `None` if it is closed or does not tell.
pub(super) fn opened_for(metadata: &Meta, conditions: &[Condition]) -> Option<LaunchId> {
    let mut gates = conditions.iter().filter(|condition| condition.r#type == names::GATE_SERVING);
    let open = gates.any(|gate| gate.status == "True");
    metadata.annotations.as_ref()?.get(names::ANNOTATION_OPENED_FOR)?.parse().ok().filter(|_| open)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn written(open: bool) -> (Meta, Condition) {
        let launch = "light-0.eng.1".parse().unwrap();
        let patch = Gate { open, launch: &launch, reason: "Ready" }.patch("u", Timestamp::UNIX_EPOCH);
        let mut metadata = patch["metadata"].clone();
        // A null takes the annotation away.
        if !open {
            assert_eq!(metadata["annotations"].take(), json!({names::ANNOTATION_OPENED_FOR: null}));
        }
        let condition = Condition::deserialize(&patch["status"]["conditions"][0]).unwrap();
        assert_eq!(condition.reason.as_deref(), Some("Ready"));
        (serde_json::from_value(metadata).unwrap(), condition)
    }

    #[test]
    fn an_open_gate_tells_what_it_was_opened_for() {
        let (metadata, open) = written(true);
        let opened_for = |metadata: &Meta, condition: &Condition| {
            opened_for(metadata, std::slice::from_ref(condition)).map(|launch| launch.to_string())
        };
        assert_eq!(opened_for(&metadata, &open).as_deref(), Some("light-0.eng.1"));
        let (without, closed) = written(false);
        assert_eq!(since(std::slice::from_ref(&closed)), Some(Timestamp::UNIX_EPOCH));
        assert_eq!((opened_for(&without, &open), opened_for(&metadata, &closed)), (None, None));
        let other = Condition { r#type: "Ready".to_owned(), ..open };
        assert_eq!((opened_for(&metadata, &other), since(&[other])), (None, None));
    }

    #[test]
    fn an_annotation_that_is_no_launch_tells_nothing() {
        let (mut metadata, open) = written(true);
        let annotations = metadata.annotations.as_mut().unwrap();
        annotations.insert(names::ANNOTATION_OPENED_FOR.to_owned(), "yes".to_owned());
        assert_eq!(opened_for(&metadata, &[open]), None);
    }
}
