//! A RayCluster that is to go and stays, because a finalizer holds it: whose that is, and who has to remove it.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::GroupName;
use rayfleet_api::valid::after;

use crate::observed::ObservedRayCluster;

/// KubeRay's own, while it cleans up what a head has stored in Redis (`ray-operator/controllers/ray/utils/constant.go`).
const KUBERAY: &str = "ray.io/gcs-ft-redis-cleanup-finalizer";

/// Those of Kubernetes' garbage collector, with `kubectl delete --cascade=foreground` or `=orphan`.
const KUBERNETES: [&str; 2] = ["foregroundDeletion", "orphan"];

/// How long whoever takes part in every such deletion may need for it.
const GRACE: Duration = Duration::from_mins(1);

/// What holds a RayCluster that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing, or nothing that does not go by itself.
    None,
    /// Somebody who may be done at this moment; until then nothing is wrong.
    Until(Timestamp),
    /// A finalizer: which, and what helps.
    By(String),
}

/// Who holds the RayCluster of this name.
pub(crate) fn hold(namespace: &str, name: &GroupName, cluster: &ObservedRayCluster, now: Timestamp) -> Hold {
    let since = cluster.deleting_since.unwrap_or(now);
    let Some(finalizer) = cluster.finalizers.iter().min_by_key(|finalizer| is_known(finalizer)) else {
        return Hold::None;
    };
    if !cluster.deleting {
        return Hold::None;
    }
    let end = after(since, GRACE);
    if is_known(finalizer) && now < end {
        return Hold::Until(end);
    }
    let cure = if finalizer == KUBERAY {
        format!(
            "KubeRay removes it when its Redis cleanup is over: see `kubectl -n {namespace} get jobs,pods -l \
             ray.io/cluster={name}`"
        )
    } else if is_known(finalizer) {
        "Kubernetes' garbage collector removes it when the pods are gone".to_owned()
    } else {
        format!(
            "whoever set it has to remove it; where nobody will, `kubectl -n {namespace} patch raycluster {name} \
             --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'`"
        )
    };
    Hold::By(format!("RayCluster {name} is to go and its finalizer {finalizer} holds it: {cure}"))
}

fn is_known(finalizer: &str) -> bool {
    finalizer == KUBERAY || KUBERNETES.contains(&finalizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn held(finalizers: &[&str], seconds: i64) -> Hold {
        let finalizers = finalizers.iter().map(|&finalizer| finalizer.to_owned()).collect();
        let cluster = ObservedRayCluster {
            deleting: true,
            deleting_since: Some(at(0)),
            finalizers,
            ..ObservedRayCluster::default()
        };
        hold("n", &"g".into(), &cluster, at(seconds))
    }

    #[test]
    fn a_foreign_finalizer_is_named_at_once_and_one_that_goes_by_itself_after_a_while() {
        let Hold::By(text) = held(&[KUBERAY, "example.com/backup"], 0) else { panic!("it holds") };
        assert!(text.contains("RayCluster g") && text.contains("example.com/backup"), "{text}");
        assert!(text.contains("kubectl -n n patch raycluster g"), "{text}");
        assert_eq!(held(&[], 100), Hold::None);
        for known in [KUBERAY, "foregroundDeletion", "orphan"] {
            assert_eq!(held(&[known], 59), Hold::Until(at(60)));
            let Hold::By(text) = held(&[known], 60) else { panic!("it holds") };
            assert!(text.contains(known) && !text.contains("patch"), "{text}");
        }
    }

    #[test]
    fn a_finalizer_holds_nothing_that_is_to_stay() {
        let cluster =
            ObservedRayCluster { finalizers: vec!["a/b".to_owned()], ..ObservedRayCluster::default() };
        assert_eq!(hold("n", &"g".into(), &cluster, at(0)), Hold::None);
    }
}
