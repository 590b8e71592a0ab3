//! What events say of pods none of whose containers has started: volumes and networks that their nodes do not give them. A pod's own
//! status has no word of it. Only of pods that may be a group's, and one event for each pod and reason, so that nobody's events
//! take much. They decide nothing that must not wait: an event that came before its pod comes again within two minutes.

use rayfleet_core::observed::PodProblem;

use super::index::{Indexed, Kind, Store};
use super::objects::{Event, Watched, bounded};
use super::{Key, PodKey};

/// All warnings about pods but the most frequent ones, which the pods themselves have words for. The API server selects by no list of
/// reasons, only by what they are not.
pub(super) const SELECTOR: &str = "involvedObject.kind=Pod,type=Warning,reason!=Unhealthy,reason!=BackOff,reason!=FailedScheduling,\
                                   reason!=Failed,reason!=FailedToRetrieveImagePullSecret";

/// Reasons that are kept, the one that explains the others first. Of the attach/detach controller and the kubelet
/// (Kubernetes, `pkg/kubelet/events/event.go`).
const KEPT: [&str; 6] = [
    "FailedAttachVolume",
    "FailedMount",
    "FailedMapVolume",
    "NetworkNotReady",
    "FailedCreatePodSandBox",
    "FailedPrepareDynamicResources",
];

/// A warning about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodEvent {
    pod: PodKey,
    /// UID of the pod.
    uid: String,
    reason: &'static str,
    /// The volume that it is about, if any.
    volume: String,
    message: String,
    /// When the Event object was created, as the API server writes it (such texts sort as their times do), and its name.
    event: (String, String),
}

/// The volume that Kubernetes' message names: `MountVolume.SetUp failed for volume "data" : …`.
fn volume_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("for volume \"")?;
    rest.split_once('"').map(|(volume, _)| volume)
}

impl Watched for PodEvent {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let Event { metadata, reason, message, involved_object: about, .. } = serde_json::from_str(text)?;
        let reason = KEPT.into_iter().find(|kept| reason.as_deref() == Some(*kept));
        let Some(reason) = reason.filter(|_| about.kind == "Pod" && !about.name.is_empty()) else {
            return Ok(None);
        };
        let pod = Key::new(about.namespace, about.name);
        let message = bounded(&message.unwrap_or_default());
        Ok(Some(Self {
            pod,
            uid: about.uid,
            reason,
            volume: volume_in(&message).unwrap_or_default().to_owned(),
            message,
            event: (metadata.creation_timestamp.unwrap_or_default(), metadata.name),
        }))
    }
}

impl Indexed for PodEvent {
    const KIND: Kind = Kind::PodEvent;
    type Name = String;
    fn key(&self) -> Key {
        key(&self.pod, self.reason)
    }
    fn version(&self) -> u64 {
        0
    }
    fn apply(self, known: &mut Store) -> Vec<Key> {
        // Of a pod that is nobody's here, or is not known yet, nothing is kept.
        let member = known.member(&self.pod).filter(|member| member.observed.uid == self.uid);
        let Some(fleet) = member.map(|member| known.fleets_of(&self.pod, member)) else { return Vec::new() };
        let key = self.key();
        // The node tries again and again, in changing words: the first ones about a volume, or about what is none, stay. Of several
        // volumes it reports by turns, and each has its own events: the newest of those is shown.
        let before = known.troubles.get(&key).filter(|before| before.uid == self.uid);
        if before.is_some_and(|before| before.volume == self.volume || before.event >= self.event) {
            return Vec::new();
        }
        known.troubles.insert(key, self);
        fleet
    }
    fn remove(key: &Key, known: &mut Store) -> Vec<Key> {
        let Some(gone) = known.troubles.remove(key) else { return Vec::new() };
        let member = known.member(&gone.pod);
        member.map(|member| known.fleets_of(&gone.pod, member)).unwrap_or_default()
    }
    fn known(key: &Key, known: &Store) -> Option<u64> {
        known.troubles.contains_key(key).then_some(0)
    }
    fn keys(known: &Store) -> Vec<Key> {
        known.troubles.keys().cloned().collect()
    }
}

/// No object is called so: names have no slash.
fn key(pod: &PodKey, reason: &str) -> Key {
    pod.sibling(format!("{}/{reason}", pod.name))
}

/// Forgets a pod that is gone.
pub(super) fn forget(known: &mut Store, pod: &PodKey) {
    for reason in KEPT {
        known.troubles.remove(&key(pod, reason));
    }
}

/// What a pod waits for that has not started to start.
pub(super) fn of(known: &Store, pod: &PodKey, uid: &str) -> Option<PodProblem> {
    let found = KEPT.iter().find_map(|reason| known.troubles.get(&key(pod, reason)))?;
    let problem = PodProblem {
        reason: found.reason.to_owned(),
        subject: found.volume.clone(),
        message: found.message.clone(),
    };
    (found.uid == uid).then_some(problem)
}

#[cfg(test)]
mod tests {
    use rayfleet_api::names;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::object;
    use crate::kubernetes::Index;
    use crate::kubernetes::pods::Pod;

    fn pod(name: &str, labels: &Value) -> Pod {
        object(
            &json!({"metadata": {"name": name, "namespace": "n", "uid": "u", "labels": labels}, "spec": {}}),
        )
    }

    fn event(name: &str, uid: &str, reason: &str) -> Option<PodEvent> {
        let event = json!({
            "reason": reason, "message": "m".repeat(10_000),
            "involvedObject": {"kind": "Pod", "namespace": "n", "name": name, "uid": uid}
        });
        PodEvent::read(&event.to_string()).unwrap()
    }

    fn reported(index: &Index) -> Option<String> {
        index.read(|known| of(known, &Key::new("n", "p"), "u")).map(|problem| problem.reason)
    }

    #[test]
    fn only_what_keeps_a_pod_of_a_group_from_starting_is_kept() {
        let index = Index::default();
        index.apply(pod("p", &json!({(names::LABEL_FLEET): "f"})));
        index.apply(pod("other", &json!({})));
        assert!(event("p", "u", "Unhealthy").is_none() && event("p", "u", "FailedScheduling").is_none());
        for (name, uid) in [("other", "u"), ("unknown", "u"), ("p", "of-before")] {
            index.apply(event(name, uid, "FailedMount").unwrap());
            assert!(index.read(|known| known.troubles.is_empty()), "{name} {uid}");
        }
        index.apply(event("p", "u", "FailedMount").unwrap());
        assert_eq!(reported(&index).as_deref(), Some("FailedMount"));
        index.apply(event("p", "u", "FailedAttachVolume").unwrap());
        assert_eq!(reported(&index).as_deref(), Some("FailedAttachVolume"), "it explains the other");
        let message = index.read(|known| of(known, &Key::new("n", "p"), "u")).unwrap().message;
        assert!(message.len() <= 512, "{}", message.len());
        index.delete(&event("p", "u", "FailedAttachVolume").unwrap());
        assert_eq!(reported(&index).as_deref(), Some("FailedMount"));
    }

    #[test]
    fn the_first_words_about_a_volume_stay_until_another_one_is_in_trouble() {
        let index = Index::default();
        index.apply(pod("p", &json!({(names::LABEL_FLEET): "f"})));
        let shown = |second: u8, name: &str, message: &str| {
            index.apply(object::<PodEvent>(&json!({
                "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{second}Z")},
                "reason": "FailedMount", "message": message,
                "involvedObject": {"kind": "Pod", "namespace": "n", "name": "p", "uid": "u"}
            })));
            index.read(|known| of(known, &Key::new("n", "p"), "u")).unwrap().message
        };
        let (a, b) = (r#"failed for volume "a" : no such claim"#, r#"failed for volume "b" : timed out"#);
        assert_eq!(shown(1, "p.1", a), a);
        assert_eq!(shown(2, "p.2", r#"failed for volume "a" : timed out"#), a, "the same in other words");
        assert_eq!(shown(3, "p.3", b), b);
        assert_eq!(shown(1, "p.1", a), b, "both go on: the newest stays");
        assert_eq!(shown(3, "p.3", a), b, "an event that combines both");
    }

    #[test]
    fn a_pod_that_is_gone_leaves_nothing() {
        let index = Index::default();
        index.apply(pod("p", &json!({(names::LABEL_FLEET): "f"})));
        index.apply(event("p", "u", "FailedCreatePodSandBox").unwrap());
        index.delete(&pod("p", &json!({(names::LABEL_FLEET): "f"})));
        assert!(index.read(|known| known.troubles.is_empty()));
    }
}
