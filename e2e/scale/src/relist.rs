//! What a watch of pods says, and which pods went while it was broken: they are missing in the list that it begins anew with.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Pods that are there, by UID.
#[derive(Default)]
pub(crate) struct Relist {
    here: BTreeMap<String, Pod>,
    /// Those of the list that is being read.
    listed: Vec<Pod>,
}

/// A pod, and whether it is gone.
pub(crate) type Change = (Pod, bool);

impl Relist {
    /// What an event says. Of a list nothing is said before its end, and first who is missing: one that is there may have the name and the
    /// address of one that went.
    pub(crate) fn event(&mut self, event: Event<Pod>) -> Vec<Change> {
        match event {
            Event::Apply(pod) => {
                self.here.insert(pod.uid().unwrap_or_default(), pod.clone());
                vec![(pod, false)]
            }
            Event::Delete(pod) => {
                self.here.remove(&pod.uid().unwrap_or_default());
                vec![(pod, true)]
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
                let gone = gone.into_values().map(|pod| (pod, true));
                gone.chain(listed.into_iter().map(|pod| (pod, false))).collect()
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

    fn said(relist: &mut Relist, events: Vec<Event<Pod>>) -> Vec<(String, bool)> {
        let changes = events.into_iter().flat_map(|event| relist.event(event));
        changes.map(|(pod, gone)| (pod.uid().unwrap_or_default(), gone)).collect()
    }

    fn list(pods: &[(&str, &str)]) -> Vec<Event<Pod>> {
        let pods = pods.iter().map(|(name, uid)| Event::InitApply(pod(name, uid)));
        [Event::Init].into_iter().chain(pods).chain([Event::InitDone]).collect()
    }

    #[test]
    fn pods_that_went_while_the_watch_was_broken_are_gone_before_those_that_took_their_names_are_there() {
        let mut relist = Relist::default();
        let is = |uid: &str, gone| (uid.to_owned(), gone);
        assert_eq!(said(&mut relist, list(&[("a", "1"), ("b", "2")])), [is("1", false), is("2", false)]);
        let changes = vec![Event::Apply(pod("c", "3")), Event::Delete(pod("a", "1"))];
        assert_eq!(said(&mut relist, changes), [is("3", false), is("1", true)]);
        let again = said(&mut relist, list(&[("b", "4"), ("c", "3")]));
        assert_eq!(again, [is("2", true), is("4", false), is("3", false)]);
    }
}
