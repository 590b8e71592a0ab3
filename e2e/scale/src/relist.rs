//! What a watch of pods says, and which pods went while it was broken: they are missing in the list that it begins anew with.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// Pods that are there, by UID.
#[derive(Default)]
pub(crate) struct Relist {
    here: BTreeMap<String, Pod>,
    /// Those of the list that is being read.
    listed: BTreeSet<String>,
}

/// A pod, and whether it is gone.
pub(crate) type Change = (Pod, bool);

impl Relist {
    /// What an event says.
    pub(crate) fn event(&mut self, event: Event<Pod>) -> Vec<Change> {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let uid = pod.uid().unwrap_or_default();
                self.listed.insert(uid.clone());
                self.here.insert(uid, pod.clone());
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
            Event::InitDone => {
                let gone = self.here.extract_if(.., |uid, _| !self.listed.contains(uid));
                let gone = gone.map(|(_, pod)| (pod, true)).collect();
                self.listed.clear();
                gone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        (pod.metadata.name, pod.metadata.uid) = (Some(name.to_owned()), Some(format!("u-{name}")));
        pod
    }

    fn said(relist: &mut Relist, event: Event<Pod>) -> Vec<(String, bool)> {
        relist.event(event).into_iter().map(|(pod, gone)| (pod.name_any(), gone)).collect()
    }

    #[test]
    fn pods_that_went_while_the_watch_was_broken_are_gone_once_the_list_has_ended() {
        let mut relist = Relist::default();
        for event in [Event::Init, Event::InitApply(pod("a")), Event::InitApply(pod("b")), Event::InitDone] {
            said(&mut relist, event);
        }
        assert_eq!(said(&mut relist, Event::Apply(pod("c"))), [("c".to_owned(), false)]);
        assert_eq!(said(&mut relist, Event::Delete(pod("a"))), [("a".to_owned(), true)]);
        for event in [Event::Init, Event::InitApply(pod("c"))] {
            assert!(said(&mut relist, event).iter().all(|(_, gone)| !gone));
        }
        assert_eq!(said(&mut relist, Event::InitDone), [("b".to_owned(), true)]);
    }
}
