//! Pods. Of all of them what they take of the nodes' room and whom they keep off; of those of groups also what a decision needs to know. Pure.

use jiff::{SignedDuration, Timestamp};
use rayfleet_api::{GroupName, names};
use rayfleet_core::capacity::{About, Claim, PodSpec};
use rayfleet_core::observed::{ObservedPod, PodProblem};

use super::objects::{Meta, Object, Watched, bounded, time};
use super::pod_status::{Status, ended, init_container, is_over, is_true, problem, waits};
use super::{PodKey, gate};

/// Ray reads its token from this variable, and wants it from others where [`AUTH_MODE`] is `token`. KubeRay sets both, the token from
/// a Secret, where `authOptions.mode` is `token`, but leaves a variable alone that the template has.
const TOKEN: &str = "RAY_AUTH_TOKEN";
const AUTH_MODE: &str = "RAY_AUTH_MODE";

/// A pod of any namespace.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(super) key: PodKey,
    /// Version of the object.
    pub(super) version: u64,
    /// What it takes of the nodes' room.
    pub(super) claim: Claim,
    /// What else there is to know of a pod that may be a group's.
    pub(super) member: Option<Box<Member>>,
}

/// A pod that a RayCluster controls, or that says by its labels that it is a fleet's.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// The RayCluster that controls it. Only that makes it a pod of a group: labels can be copied.
    pub(super) cluster: Option<Owner>,
    /// The fleet that its labels name.
    pub(super) fleet: Option<String>,
    /// The RayCluster that its labels name.
    pub(super) group: Option<GroupName>,
    /// Ports of its containers that have a name.
    pub(super) ports: Vec<(String, i64)>,
    /// Port of the engine that it starts itself, by AIBrix's label.
    pub(super) own_port: Option<u16>,
    /// The Secret that its Ray takes the token from; `None` without token authentication.
    pub(super) token_secret: Option<String>,
    /// Its grace period, while it is being deleted, in seconds.
    pub(super) grace: Option<i64>,
    /// None of its containers has started, nor can one: volumes and network come first.
    pub(super) waits: bool,
    /// What a decision needs to know of it, but for its node.
    pub(super) observed: ObservedPod,
}

/// An owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(super) uid: String,
    pub(super) name: GroupName,
}

impl Watched for Pod {
    fn read(text: &str) -> Result<Option<Self>, serde_json::Error> {
        let Object::<Option<PodSpec>, Status> { metadata, spec, status } = serde_json::from_str(text)?;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let member = Member::of(&metadata, &spec, &status);
        let about = About {
            namespace: &metadata.namespace,
            labels: metadata.labels.as_ref(),
            phase: status.phase.as_deref(),
            deleting: metadata.deletion_timestamp.is_some(),
        };
        Ok(Some(Self {
            key: PodKey::new(&metadata.namespace, &*metadata.name),
            version: metadata.version(),
            claim: spec.claim(&about),
            member: member.map(Box::new),
        }))
    }
}

impl Member {
    fn of(metadata: &Meta, spec: &PodSpec, status: &Status) -> Option<Self> {
        let controller = metadata.controller().filter(|owner| {
            owner.kind == "RayCluster" && owner.api_version.split('/').next() == Some("ray.io")
        });
        let fleet = metadata.label(names::LABEL_FLEET);
        if controller.is_none() && fleet.is_none() {
            return None;
        }
        Some(Self {
            cluster: controller
                .map(|owner| Owner { uid: owner.uid.clone(), name: owner.name.as_str().into() }),
            fleet: fleet.map(str::to_owned),
            group: metadata.label(names::RAY_LABEL_CLUSTER).map(Into::into),
            ports: spec.named_ports(),
            own_port: metadata.label(names::LABEL_MODEL_PORT).and_then(|port| port.parse().ok()),
            token_secret: spec.secret_of(TOKEN, (AUTH_MODE, "token")),
            grace: metadata.deletion_grace_period_seconds,
            waits: waits(status),
            observed: observed(metadata, spec, status),
        })
    }
}

impl Member {
    /// Keeps what was known of the same pod. The words of a trouble that goes on stay: Kubernetes changes them with every try.
    ///
    /// The end of a grace period that began under our eyes is put by our own clock: the API server's may differ, and what is in time by
    /// the one is over by the other. One that had started before has the API server's word.
    pub(super) fn follow(&mut self, before: &Self, now: Timestamp) {
        if before.observed.uid != self.observed.uid {
            return;
        }
        if let (Some(problem), Some(known)) = (&mut self.observed.problem, &before.observed.problem)
            && problem.goes_on_from(known)
        {
            problem.message.clone_from(&known.message);
        }
        if !self.observed.deleting {
            return;
        }
        // It may be cut short while it lasts: then another one begins.
        if before.observed.deleting && before.grace == self.grace {
            self.observed.ends_at = before.observed.ends_at;
        } else if let Some(grace) = self.grace {
            self.observed.ends_at = now.checked_add(SignedDuration::from_secs(grace)).ok();
        }
    }
}

/// What a decision needs to know of a pod.
fn observed(metadata: &Meta, spec: &PodSpec, status: &Status) -> ObservedPod {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let head = metadata.label(names::RAY_LABEL_NODE_TYPE) == Some("head");
    ObservedPod {
        name: metadata.name.as_str().into(),
        uid: metadata.uid.clone(),
        head,
        node: spec.node_name.clone(),
        ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
        deleting: metadata.deletion_timestamp.is_some(),
        over: is_over(status.phase.as_deref()),
        // The API server has added the grace period to it.
        ends_at: metadata.deletion_timestamp.as_deref().and_then(time),
        containers_ready: is_true(conditions, "ContainersReady"),
        gate_open: is_true(conditions, names::GATE_SERVING),
        gate_since: gate::since(conditions),
        opened_for: gate::opened_for(metadata, conditions),
        ungated: head && !spec.has_gate(names::GATE_SERVING),
        node_lost: false,
        node_closing: None,
        init_container: init_container(status, conditions).map(bounded),
        ended: ended(status, conditions),
        problem: problem(status, conditions).map(|problem| PodProblem {
            reason: bounded(&problem.reason),
            message: bounded(&problem.message),
            ..problem
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> ObservedPod {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"ray.io/node-type": "head", names::LABEL_FLEET: "f"}},
            "spec": {"containers": []},
            "status": status,
        });
        Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().observed
    }

    #[test]
    fn readiness_is_that_of_the_containers_not_of_the_gate() {
        let head = pod(&json!({"conditions": [
            {"type": "ContainersReady", "status": "True"},
            {"type": "Ready", "status": "False"},
            {"type": "rayfleet.io/serving", "status": "False"}
        ]}));
        assert!(head.head && head.containers_ready && !head.gate_open);
    }

    #[test]
    fn a_head_that_rayfleet_did_not_make_has_no_gate() {
        let ungated = |role: &str, gates: &serde_json::Value| {
            let pod = json!({
                "metadata": {"name": "p", "labels": {"ray.io/node-type": role, names::LABEL_FLEET: "f"}},
                "spec": {"containers": [], "readinessGates": gates},
            });
            Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap().observed.ungated
        };
        assert!(ungated("head", &json!(null)) && ungated("head", &json!([{"conditionType": "other"}])));
        assert!(!ungated("head", &json!([{"conditionType": "rayfleet.io/serving"}])));
        assert!(!ungated("worker", &json!(null)));
    }

    #[test]
    fn a_grace_period_that_began_under_our_eyes_ends_by_our_clock() {
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        let read = |uid: &str, ends: Option<i64>, grace: i64| {
            let pod = json!({"metadata": {
                "name": "p", "uid": uid, "labels": {names::LABEL_FLEET: "f"},
                "deletionTimestamp": ends.map(|ends| at(ends).to_string()),
                "deletionGracePeriodSeconds": ends.map(|_| grace)
            }});
            *Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap()
        };
        let followed = |before: &Member, mut pod: Member, now: i64| {
            pod.follow(before, at(now));
            pod
        };
        // The API server's clock is an hour behind.
        let lives = read("u", None, 0);
        let reported = followed(&lives, read("u", Some(-3_570), 30), 0);
        assert_eq!(reported.observed.ends_at, Some(at(30)));
        let later = followed(&reported, read("u", Some(-3_570), 30), 20);
        assert_eq!(later.observed.ends_at, Some(at(30)), "it goes on as it began");
        let cut_short = followed(&reported, read("u", Some(-3_595), 5), 2);
        assert_eq!(cut_short.observed.ends_at, Some(at(7)));
        assert_eq!(
            followed(&read("other", None, 0), read("u", Some(9), 30), 0).observed.ends_at,
            Some(at(9))
        );
        assert_eq!(followed(&reported, read("u", None, 0), 0).observed.ends_at, None);
    }

    #[test]
    fn a_trouble_that_goes_on_keeps_its_first_words() {
        let of = |container: &str, reason: &str, message: &str| {
            let waiting = json!({"name": container, "image": "i", "state": {"waiting": {"reason": reason, "message": message}}});
            let pod = json!({
                "metadata": {"name": "p", "uid": "u", "labels": {names::LABEL_FLEET: "f"}},
                "status": {"containerStatuses": [waiting]}
            });
            *Pod::read(&pod.to_string()).unwrap().unwrap().member.unwrap()
        };
        let read = |reason: &str, message: &str| of("ray", reason, message);
        let words = |before: &Member, mut pod: Member| {
            pod.follow(before, Timestamp::UNIX_EPOCH);
            pod.observed.problem.unwrap().message
        };
        let first = read("ErrImagePull", "not found");
        let said = |message: &str| format!("container ray of image i: {message}");
        assert_eq!(words(&first, read("ErrImagePull", "rate limit")), said("not found"));
        assert_eq!(
            words(&first, read("ImagePullBackOff", "Back-off")),
            said("not found"),
            "the same in other words"
        );
        assert_eq!(words(&first, read("CrashLoopBackOff", "Back-off")), said("Back-off"));
        assert_eq!(
            words(&first, of("logs", "ErrImagePull", "rate limit")),
            "container logs of image i: rate limit",
            "another container's"
        );
        let mut other = first.clone();
        other.observed.uid = "v".to_owned();
        assert_eq!(words(&other, read("ErrImagePull", "rate limit")), said("rate limit"), "another pod");
    }

    #[test]
    fn no_text_of_a_pod_is_longer_than_people_read() {
        let status =
            json!({"phase": "Failed", "reason": "r".repeat(2_000), "message": "\u{e4}".repeat(100_000)});
        let problem = pod(&status).problem.unwrap();
        assert!(problem.reason.len() <= 512 && problem.message.len() <= 512, "{problem:?}");
    }

    #[test]
    fn only_pods_that_may_be_a_groups_are_kept_with_more_than_they_take() {
        let read = |labels: &serde_json::Value, owners: &serde_json::Value| {
            let pod =
                json!({"metadata": {"name": "p", "labels": labels, "ownerReferences": owners}, "spec": {}});
            Pod::read(&pod.to_string()).unwrap().unwrap().member
        };
        let owner = |api: &str, kind: &str, controls: bool| json!([{"apiVersion": api, "kind": kind, "name": "g", "uid": "c-1", "controller": controls}]);
        let none = json!(null);
        assert!(read(&json!({"app": "x"}), &owner("apps/v1", "ReplicaSet", true)).is_none());
        assert!(read(&none, &owner("ray.io/v1", "RayCluster", false)).is_none());
        assert!(read(&none, &owner("example.com/v1", "RayCluster", true)).is_none());
        let member = read(&none, &owner("ray.io/v1", "RayCluster", true)).unwrap();
        assert_eq!(member.cluster, Some(Owner { uid: "c-1".into(), name: "g".into() }));
        let stray = read(&json!({names::LABEL_FLEET: "f"}), &owner("batch/v1", "Job", true)).unwrap();
        assert_eq!((stray.cluster, stray.fleet.as_deref()), (None, Some("f")));
    }
}
