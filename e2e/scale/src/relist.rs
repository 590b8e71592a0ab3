//! Changes of pods, also those that were deleted while the watch was broken: they are missing in the list with which it starts over.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// The pods of a watch.
#[derive(Default)]
pub(crate) struct WatchedPods {
    /// By UID.
    here: BTreeMap<String, Pod>,
    /// Those of the list that is being read.
    listed: Vec<Pod>,
}

#[derive(Debug)]
pub(crate) enum PodChange {
    Applied(Pod),
    Deleted(Pod),
}

impl WatchedPods {
    /// What an event changes. A list changes nothing before its end, and then the missing pods come first: a listed pod may have the name
    /// and the address of a deleted one.
    pub(crate) fn event(&mut self, event: Event<Pod>) -> Vec<PodChange> {
        match event {
            Event::Apply(pod) => {
                self.here.insert(pod.uid().unwrap_or_default(), pod.clone());
                vec![PodChange::Applied(pod)]
            }
            Event::Delete(pod) => {
                self.here.remove(&pod.uid().unwrap_or_default());
                vec![PodChange::Deleted(pod)]
            }
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(pod) => {
                self.listed.push(pod);
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let by_uid = listed.iter().map(|pod| (pod.uid().unwrap_or_default(), pod.clone())).collect();
                let mut gone = std::mem::replace(&mut self.here, by_uid);
                gone.retain(|uid, _| !self.here.contains_key(uid));
                let gone = gone.into_values().map(PodChange::Deleted);
                gone.chain(listed.into_iter().map(PodChange::Applied)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.uid) = (Some(name.to_owned()), Some(uid.to_owned()));
        pod
    }

    fn changes(watched: &mut WatchedPods, events: Vec<Event<Pod>>) -> Vec<String> {
        let changes = events.into_iter().flat_map(|event| watched.event(event));
        let said = changes.map(|change| match change {
            PodChange::Applied(pod) => format!("applied {}", pod.uid().unwrap_or_default()),
            PodChange::Deleted(pod) => format!("deleted {}", pod.uid().unwrap_or_default()),
        });
        said.collect()
    }

    fn list(pods: &[(&str, &str)]) -> Vec<Event<Pod>> {
        let pods = pods.iter().map(|(name, uid)| Event::InitApply(pod(name, uid)));
        [Event::Init].into_iter().chain(pods).chain([Event::InitDone]).collect()
    }

    #[test]
    fn pods_missing_after_a_relist_are_deleted_before_the_pods_that_have_their_names_are_applied() {
        let mut watched = WatchedPods::default();
        let listed = changes(&mut watched, list(&[("a", "1"), ("b", "2")]));
        assert_eq!(listed, ["applied 1", "applied 2"]);
        let events = vec![Event::Apply(pod("c", "3")), Event::Delete(pod("a", "1"))];
        assert_eq!(changes(&mut watched, events), ["applied 3", "deleted 1"]);
        let relisted = changes(&mut watched, list(&[("b", "4"), ("c", "3")]));
        assert_eq!(relisted, ["deleted 2", "applied 4", "applied 3"]);
    }
}
