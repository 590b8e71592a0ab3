//! Which head counts where a RayCluster has several. KubeRay makes one; where its view of pods is late it has made two, and
//! makes and replaces no pod of that cluster any more until somebody has deleted one. What follows from that is a group's step.

use std::ptr;

use crate::observed::ObservedPod;

/// The head that runs: one that nobody is deleting, else one whose containers still run in its grace period.
///
/// Of several it is the one that the Service selects, by its open gate; else the one that is up.
pub fn head_of(pods: &[ObservedPod]) -> Option<&ObservedPod> {
    let key =
        |pod: &ObservedPod| (pod.deleting, pod.over, pod.node_lost, !pod.gate_open, !pod.containers_ready);
    let counts = |pod: &&ObservedPod| pod.head && (!pod.deleting || (pod.containers_ready && !pod.node_lost));
    pods.iter().filter(counts).min_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name)))
}

/// Pods that nobody is deleting, with one head at the most.
pub fn live_of(pods: &[ObservedPod]) -> impl Iterator<Item = &ObservedPod> {
    live_with(pods, head_of(pods))
}

/// The same where the head is known.
pub(crate) fn live_with<'a>(
    pods: &'a [ObservedPod],
    head: Option<&'a ObservedPod>,
) -> impl Iterator<Item = &'a ObservedPod> {
    pods.iter().filter(move |pod| !pod.deleting && !is_surplus(pod, head))
}

/// Heads beside the one that counts that nobody is deleting.
pub(crate) fn surplus<'a>(
    pods: &'a [ObservedPod],
    head: Option<&'a ObservedPod>,
) -> impl Iterator<Item = &'a ObservedPod> {
    pods.iter().filter(move |pod| !pod.deleting && is_surplus(pod, head))
}

fn is_surplus(pod: &ObservedPod, head: Option<&ObservedPod>) -> bool {
    pod.head && !head.is_some_and(|head| ptr::eq(head, pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, edit: fn(&mut ObservedPod)) -> ObservedPod {
        let mut pod = ObservedPod { name: name.into(), head: true, ..ObservedPod::default() };
        edit(&mut pod);
        pod
    }

    #[test]
    fn of_several_heads_the_one_that_serves_counts_then_the_one_that_is_up() {
        let chosen = |edits: [fn(&mut ObservedPod); 2]| {
            let pods = [head("a", edits[0]), head("b", edits[1])];
            let (one, other) = (head_of(&pods).map(|pod| pod.name.clone()), live_of(&pods).count());
            let turned = [pods[1].clone(), pods[0].clone()];
            assert_eq!(head_of(&turned).map(|pod| pod.name.clone()), one, "whichever comes first");
            (one.unwrap_or_default().to_string(), other)
        };
        let plain: fn(&mut ObservedPod) = |_| {};
        let up: fn(&mut ObservedPod) = |pod| pod.containers_ready = true;
        let serves: fn(&mut ObservedPod) = |pod| (pod.containers_ready, pod.gate_open) = (true, true);
        let deleted: fn(&mut ObservedPod) = |pod| (pod.containers_ready, pod.deleting) = (true, true);
        let over: fn(&mut ObservedPod) = |pod| (pod.over, pod.gate_open) = (true, true);
        let lost: fn(&mut ObservedPod) = |pod| (pod.node_lost, pod.gate_open) = (true, true);
        assert_eq!(chosen([plain, plain]), ("a".to_owned(), 1));
        assert_eq!(chosen([plain, up]), ("b".to_owned(), 1));
        assert_eq!(chosen([up, serves]), ("b".to_owned(), 1));
        for gone in [deleted, over, lost] {
            assert_eq!(chosen([gone, plain]), ("b".to_owned(), 1));
        }
        assert_eq!(chosen([deleted, deleted]).1, 0);
    }

    #[test]
    fn a_head_on_its_way_out_counts_while_its_containers_run() {
        let mut pods = [head("a", |pod| pod.deleting = true)];
        assert!(head_of(&pods).is_none());
        pods[0].containers_ready = true;
        assert!(head_of(&pods).is_some() && live_of(&pods).count() == 0);
        pods[0].node_lost = true;
        assert!(head_of(&pods).is_none());
    }
}
