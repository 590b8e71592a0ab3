//! The pods of a group: are all there and ready, and if not, what is the matter, in plain words.

use jiff::Timestamp;
use rayfleet_api::valid::{GroupShape, PodShape};
use rayfleet_api::{NodeName, PodName};

use crate::capacity;
use crate::heads::{self, head_of};
use crate::observed::{ObservedPod, ObservedRayCluster, PodProblem};

/// The init container that KubeRay puts into workers: it asks the head's GCS until that answers, without an end.
const WAIT_GCS_READY: &str = "wait-gcs-ready";

/// The pods of one group beside what they should be.
pub(super) struct Pods<'a> {
    shape: &'a GroupShape,
    wanted: usize,
    /// Ray's autoscaler adds and removes workers: those above the wanted ones need not be up.
    elastic: bool,
    all: &'a [ObservedPod],
    head: Option<&'a ObservedPod>,
}

/// What keeps pods from being ready.
pub(super) struct PodTrouble {
    /// What is the matter: the same text as long as the same is the case.
    pub(super) cause: String,
    /// Kubernetes' words, which may change; empty if it has none.
    pub(super) details: String,
}

impl<'a> Pods<'a> {
    /// A group of an older template may have another size than the one that is asked for now.
    pub(super) fn new(
        shape: &'a GroupShape,
        cluster: Option<&ObservedRayCluster>,
        all: &'a [ObservedPod],
    ) -> Self {
        let size = cluster.and_then(|cluster| cluster.pods);
        let elastic = cluster.is_some_and(|cluster| cluster.elastic);
        Self { shape, wanted: size.unwrap_or_else(|| shape.size()), elastic, all, head: head_of(all) }
    }

    /// All, those on their way out too.
    pub(super) fn all(&self) -> impl Iterator<Item = &'a ObservedPod> {
        self.all.iter()
    }

    /// Pods that nobody is deleting, with one head at the most.
    pub(super) fn live(&self) -> impl Iterator<Item = &'a ObservedPod> {
        heads::live_with(self.all, self.head)
    }

    /// The heads, where there are too many of them.
    pub(super) fn too_many_heads(&self) -> Option<Vec<&'a PodName>> {
        let surplus: Vec<_> = heads::surplus(self.all, self.head).map(|pod| &pod.name).collect();
        let head = self.head.filter(|_| !surplus.is_empty())?;
        Some(std::iter::once(&head.name).chain(surplus).collect())
    }

    /// How many there should be.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// The head that counts.
    pub(super) fn head(&self) -> Option<&'a ObservedPod> {
        self.head
    }

    /// No head is on a node, as where new pods wait for room in place of lost ones: nothing takes or answers a request.
    pub(super) fn headless(&self) -> bool {
        self.all.iter().filter(|pod| pod.head).all(|pod| pod.node.is_none())
    }

    /// The head, even on its way out: its gate may still be open.
    pub(super) fn any_head(&self) -> Option<&'a ObservedPod> {
        self.head().or_else(|| self.all.iter().find(|pod| pod.head))
    }

    /// None is missing or on its way out.
    pub(super) fn whole(&self) -> bool {
        self.live().count() >= self.wanted()
    }

    /// There are some, and all are on their way out.
    pub(super) fn all_end(&self) -> bool {
        !self.all.is_empty() && self.all.iter().all(|pod| pod.deleting)
    }

    /// None is missing, and the containers of all are ready.
    pub(super) fn ready(&self) -> bool {
        let ready = || self.live().filter(|pod| pod.containers_ready);
        if self.elastic {
            return ready().count() >= self.wanted() && ready().any(|pod| pod.head);
        }
        self.whole() && ready().count() == self.live().count()
    }

    /// How many have to be alive in Ray.
    pub(super) fn to_join(&self) -> usize {
        if self.elastic { self.wanted() } else { self.live().count() }
    }

    /// A container keeps ending.
    pub(super) fn crashing(&self) -> bool {
        let mut problems = self.live().filter_map(|pod| pod.problem.as_ref());
        problems.any(|problem| problem.reason == "CrashLoopBackOff")
    }

    /// Pods that nobody is deleting and that are not there, where none is left whose end is waited for.
    pub(super) fn missing(&self) -> Option<usize> {
        let missing = self.wanted().saturating_sub(self.live().count());
        (missing > 0 && self.leaving().is_none()).then_some(missing)
    }

    /// A pod that is being deleted, first by name.
    pub(super) fn leaving(&self) -> Option<&'a ObservedPod> {
        self.all.iter().filter(|pod| pod.deleting).min_by(|a, b| a.name.cmp(&b.name))
    }

    /// Pods on their way out that still have time to end by themselves.
    pub(super) fn in_grace(&self, now: Timestamp) -> impl Iterator<Item = &'a ObservedPod> {
        let has_time = move |pod: &&ObservedPod| pod.ends_at.is_some_and(|end| now < end);
        self.all.iter().filter(|pod| pod.deleting && !pod.node_lost).filter(has_time)
    }

    /// A pod whose containers are being ended because its node is being shut down, the head before others.
    pub(super) fn shut_down(&self) -> Option<&'a ObservedPod> {
        self.live().filter(|pod| pod.node_shuts_down()).min_by_key(|pod| (!pod.head, &pod.name))
    }

    /// Kubernetes nodes, the head's first, the others by name.
    pub(super) fn nodes(&self) -> Vec<NodeName> {
        let mut pods: Vec<_> = self.live().filter_map(|pod| Some((!pod.head, pod.node.clone()?))).collect();
        pods.sort();
        pods.into_iter().map(|(_, node)| node).collect()
    }

    /// What keeps the pods from being ready; of several the worst.
    pub(super) fn trouble(&self) -> PodTrouble {
        let worst = self
            .live()
            .filter_map(|pod| Some((pod, pod.problem.as_ref().filter(|problem| !problem.pulls())?)))
            .min_by_key(|(pod, problem)| (severity(problem), !pod.head, pod.name.clone()));
        if let Some((pod, problem)) = worst {
            return self.in_words(pod, problem);
        }
        let ready = self.live().filter(|pod| pod.containers_ready).count();
        let leaving = self.leaving().map_or_else(String::new, |pod| format!("; pod {} is ending", pod.name));
        let pulling = self.live().filter(|pod| pod.problem.as_ref().is_some_and(PodProblem::pulls));
        let pulling = pulling.min_by(|a, b| a.name.cmp(&b.name));
        let pulling = pulling.map_or_else(String::new, |pod| format!("; pod {} pulls its image", pod.name));
        let waits = self.waits_for_init().map_or_else(String::new, |words| format!("; {words}"));
        let cause = format!("{ready} of {} pods are ready{leaving}{pulling}{waits}", self.wanted());
        PodTrouble { cause, details: String::new() }
    }

    /// The first pod whose containers wait for an init container, the head before others, and what that waits for.
    fn waits_for_init(&self) -> Option<String> {
        let waiting = self.live().filter_map(|pod| Some((pod, pod.init_container.as_deref()?)));
        let (pod, init) = waiting.min_by_key(|(pod, _)| (!pod.head, pod.name.clone()))?;
        let name = &pod.name;
        let until =
            if init == WAIT_GCS_READY { ", which ends once Ray's GCS on the head answers it" } else { "" };
        Some(format!(
            "pod {name} waits for its init container {init}{until}: see `kubectl logs {name} -c {init}`"
        ))
    }

    fn in_words(&self, pod: &ObservedPod, problem: &PodProblem) -> PodTrouble {
        let name = &pod.name;
        let cause = match problem.reason.as_str() {
            "Unschedulable" => {
                let asks = self.shape_of(pod).map_or_else(String::new, gpus_in_words);
                format!("pod {name}: no node has room for it; it asks for {asks}")
            }
            _ if problem.no_image() => {
                format!(
                    "pod {name}: ImagePullBackOff: its image cannot be pulled: check the template's image"
                )
            }
            "CrashLoopBackOff" => {
                format!(
                    "pod {name}: CrashLoopBackOff: a container keeps ending: see `kubectl logs -p {name}`"
                )
            }
            "FailedAttachVolume" => {
                format!("pod {name}: FailedAttachVolume: a volume cannot be attached to its node")
            }
            "FailedMount" | "FailedMapVolume" => {
                format!("pod {name}: {}: a volume cannot be mounted", problem.reason)
            }
            "FailedCreatePodSandBox" => {
                format!("pod {name}: FailedCreatePodSandBox: its node gives it no network")
            }
            other => format!("pod {name}: {other}"),
        };
        PodTrouble { cause, details: problem.message.clone() }
    }

    fn shape_of(&self, pod: &ObservedPod) -> Option<&'a PodShape> {
        // A pod does not say which worker group it is of; the largest is the hardest to place.
        let workers = self.shape.roles.iter().filter(|shape| shape.role != "head");
        let head = self.shape.roles.iter().find(|shape| shape.role == "head");
        if pod.head { head } else { workers.max_by_key(|shape| shape.gpus).or(head) }
    }
}

/// What a pod asks for as far as it is scarce: `2 nvidia.com/gpu`, else its CPUs and memory.
fn gpus_in_words(shape: &PodShape) -> String {
    let asked = capacity::requests(&shape.spec);
    let scarce = capacity::scarce(&asked);
    if scarce.is_empty() { capacity::in_words(&asked) } else { capacity::in_words(&scarce) }
}

/// What keeps it from being ready may be its node's doing.
pub(super) fn may_be_the_nodes(pod: &ObservedPod) -> bool {
    !pod.problem.as_ref().is_some_and(|problem| problem.pulls() || problem.not_attached())
}

/// What hinders most comes first: no other pod's trouble goes away before it.
fn severity(problem: &PodProblem) -> u8 {
    match problem.reason.as_str() {
        _ if problem.no_image() => 0,
        "CrashLoopBackOff" => 1,
        "Unschedulable" => 3,
        _ => 2,
    }
}
