//! Pods and GPUs of one group, as KubeRay makes them of its template, and whether they are as many as the engine has ranks.
//! Nothing else of a fleet. Pods that are alike are counted, never copied: a manifest of 3 kB may ask for thousands.

use std::collections::BTreeMap;
use std::sync::Arc;

use ray_bridge_model::field_error::{FieldError, invalid};
use serde_json::{Value, json};

use super::scheduling;
use crate::kuberay::WorkerSize;
use crate::spec::{Model, Parallelism};
use crate::{PodRevision, kuberay, names};

/// Most pods of one group. The largest rank number is 1024; each may have a pod of its own, and then some.
pub const MAX_PODS: u64 = 2048;

/// What one group consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupShape {
    /// The head, then every worker group that has pods.
    pub roles: Vec<PodShape>,
}

/// The pods of one role, which are alike, as far as placement and capacity need them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodShape {
    /// `head` or the worker group's name.
    pub role: String,
    /// How many there are.
    pub count: usize,
    /// GPUs of each that Ray is told of.
    pub gpus: u32,
    /// Its labels, as far as they are the same for all groups: by them other pods are kept off it, and it off them.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Of the pod spec what capacity needs, and the claims of its volumes.
    pub spec: Arc<Value>,
}

impl GroupShape {
    /// Whether a group of the one fits wherever a group of the other does: pods of the same number, requests and rules. Their revision,
    /// image and commands have no part in it.
    pub fn needs_the_same_room(&self, other: &Self) -> bool {
        let needs = |pod: &PodShape| {
            let mut labels = (*pod.labels).clone();
            labels.remove(names::LABEL_POD_REVISION);
            (pod.role.clone(), pod.count, pod.gpus, labels, pod.spec.clone())
        };
        self.roles.iter().map(needs).eq(other.roles.iter().map(needs))
    }

    /// GPUs of the whole group.
    pub fn gpus(&self) -> u32 {
        let of = |role: &PodShape| role.gpus.saturating_mul(u32::try_from(role.count).unwrap_or(u32::MAX));
        self.roles.iter().map(of).fold(0, u32::saturating_add)
    }

    /// Pods of the whole group.
    pub fn size(&self) -> usize {
        self.roles.iter().map(|role| role.count).sum()
    }

    /// Each pod: the head, then the workers by group.
    pub fn pods(&self) -> impl Iterator<Item = &PodShape> {
        self.roles.iter().flat_map(|role| std::iter::repeat_n(role, role.count))
    }
}

/// The shape of the groups of a fleet of this name, at this pod revision.
pub(super) fn group_shape(
    of: (&str, &PodRevision),
    spec: &Value,
    problems: &mut Vec<FieldError>,
) -> GroupShape {
    let size = kuberay::pods(spec).unwrap_or(1);
    if size > MAX_PODS {
        problems.push(invalid(
            "spec.template.spec.workerGroupSpecs",
            format!(
                "{size} pods in a group, the head included; at most {MAX_PODS} are allowed: lower replicas or numOfHosts, \
                 and raise spec.replicas where more groups were meant"
            ),
        ));
        return GroupShape::default();
    }
    let mut roles = Vec::new();
    for (index, (field, group)) in groups(spec).enumerate() {
        let workers = group["groupName"].as_str().unwrap_or_default();
        let count = usize::try_from(WorkerSize::of(group).pods()).unwrap_or(usize::MAX);
        let (role, count) = if index == 0 { ("head", 1) } else { (workers, count) };
        let shape = pod_shape(of, group, role, count, &field, problems);
        roles.extend(shape.filter(|shape| shape.count > 0));
    }
    GroupShape { roles }
}

/// Labels of a group's pods: the template's, under those that Rayfleet and KubeRay write on every pod.
fn labels((fleet, revision): (&str, &PodRevision), group: &Value, role: &str) -> BTreeMap<String, String> {
    let kind = if role == "head" { "head" } else { "worker" };
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    let mut labels: BTreeMap<String, String> = [
        ("ray.io/is-ray-node", "yes"),
        ("app.kubernetes.io/name", "kuberay"),
        ("app.kubernetes.io/created-by", "kuberay-operator"),
        ("ray.io/group", if role == "head" { "headgroup" } else { role }),
    ]
    .map(text)
    .into();
    for source in [&group["template"]["metadata"]["labels"], &group["labels"]] {
        let given = source.as_object().into_iter().flatten();
        labels.extend(given.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
    }
    labels.insert(names::RAY_LABEL_NODE_TYPE.to_owned(), kind.to_owned());
    labels.insert(names::LABEL_FLEET.to_owned(), fleet.to_owned());
    labels.insert(names::LABEL_POD_REVISION.to_owned(), revision.to_string());
    labels
}

fn pod_shape(
    of: (&str, &PodRevision),
    group: &Value,
    role: &str,
    count: usize,
    field: &str,
    problems: &mut Vec<FieldError>,
) -> Option<PodShape> {
    let spec = &group["template"]["spec"];
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        problems.push(invalid(&format!("{field}.template.spec.containers"), "at least one is required"));
        return None;
    }
    let gpus = kuberay::gpus(group).unwrap_or_default();
    let labels = Arc::new(labels(of, group, role));
    let mut rules = scheduling::rules(spec);
    let claimed = spec["volumes"].as_array().into_iter().flatten().filter_map(|volume| {
        let claim = volume.pointer("/persistentVolumeClaim/claimName")?;
        Some(json!({"persistentVolumeClaim": {"claimName": claim}}))
    });
    rules["volumes"] = claimed.collect();
    Some(PodShape { role: role.to_owned(), count, gpus, labels, spec: Arc::new(rules) })
}

/// Whether the GPUs of the template are as many as the ranks of the engine, and stages as whole.
pub(super) fn check_gpus(model: &Model, shape: &GroupShape, spec: &Value, problems: &mut Vec<FieldError>) {
    let tensor = model.parallelism.tensor;
    let over_nodes = model.placement.as_ref().is_some_and(|placement| placement.tensor_domain.is_some());
    let ranks = model.parallelism.ranks();
    let unreadable = problems.len();
    for (field, group) in groups(spec) {
        if let Err(problem) = kuberay::gpus(group) {
            problems.push(invalid(&field, problem));
        }
    }
    if problems.len() > unreadable {
        return;
    }
    if ranks != u64::from(shape.gpus()) {
        let other = groups(spec).find_map(|(field, group)| Some((field, kuberay::uncounted(group)?)));
        problems.push(other.map_or_else(
            || invalid("spec.model.parallelism", unequal(model.parallelism, shape)),
            |(field, other)| invalid(&field, other),
        ));
    } else if let Some(pod) = shape.roles.iter().find(|pod| pod.gpus % tensor.max(1) != 0 && !over_nodes) {
        problems.push(invalid(
            "spec.model.parallelism.tensor",
            format!(
                "a tensor group of {tensor} ranks never leaves a node, but pod `{}` has {} GPUs: \
                 make them a multiple of {tensor}, or name a fabric of several nodes in \
                 spec.model.placement.tensorDomain",
                pod.role, pod.gpus
            ),
        ));
    }
}

/// The head and worker groups, with their fields.
pub(super) fn groups(spec: &Value) -> impl Iterator<Item = (String, &Value)> {
    let workers = spec["workerGroupSpecs"].as_array().into_iter().flatten().enumerate();
    let workers =
        workers.map(|(index, group)| (format!("spec.template.spec.workerGroupSpecs[{index}]"), group));
    std::iter::once(("spec.template.spec.headGroupSpec".to_owned(), &spec["headGroupSpec"])).chain(workers)
}

fn unequal(parallelism: Parallelism, shape: &GroupShape) -> String {
    format!(
        "{}, but the template has {} GPUs in {} pods: \
         change parallelism, the GPU limits or workerGroupSpecs[].replicas",
        parallelism.in_words(),
        shape.gpus(),
        shape.size()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(limits: &Value) -> Value {
        let env: Vec<Value> = (0..70).map(|n| json!({"name": format!("E{n}"), "value": "v"})).collect();
        json!({"spec": {"containers": [{"name": "ray", "env": env, "resources": {"limits": limits}}]}})
    }

    #[test]
    fn pods_have_the_labels_of_the_template_and_those_that_every_group_gives() {
        let pod = json!({"metadata": {"labels": {"app": "x", "ray.io/node-type": "mine"}}, "spec": {"containers": [{}]}});
        let (shape, problems) = shaped(&json!({
            "headGroupSpec": {"template": pod},
            "workerGroupSpecs": [{"groupName": "w", "replicas": 1, "maxReplicas": 1, "template": pod}]
        }));
        assert_eq!((shape.roles.len(), problems.len()), (2, 0), "{problems:?}");
        let of = |role: usize, key: &str| shape.roles[role].labels.get(key).map(String::as_str);
        for (key, head, worker) in [
            ("app", "x", "x"),
            ("ray.io/node-type", "head", "worker"),
            ("ray.io/group", "headgroup", "w"),
            (names::LABEL_FLEET, "f", "f"),
            (names::LABEL_POD_REVISION, "r", "r"),
        ] {
            assert_eq!((of(0, key), of(1, key)), (Some(head), Some(worker)), "{key}");
        }
        assert_eq!(of(0, names::LABEL_GROUP), None, "which group it will be is not known");
    }

    fn shaped(spec: &Value) -> (GroupShape, Vec<String>) {
        let mut problems = Vec::new();
        let shape = group_shape(("f", &"r".into()), spec, &mut problems);
        (shape, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn another_image_needs_the_same_room_and_another_request_does_not() {
        let shaped = |revision: &str, image: &str, gpus: u32| {
            let container =
                json!({"name": "ray", "image": image, "resources": {"limits": {"nvidia.com/gpu": gpus}}});
            let spec = json!({"headGroupSpec": {"template": {"spec": {"containers": [container]}}}});
            group_shape(("f", &revision.into()), &spec, &mut Vec::new())
        };
        let before = shaped("pods1", "ray:1", 8);
        assert_ne!(before, shaped("pods2", "ray:2", 8));
        assert!(before.needs_the_same_room(&shaped("pods2", "ray:2", 8)));
        assert!(!before.needs_the_same_room(&shaped("pods2", "ray:2", 4)));
    }

    #[test]
    fn pods_that_are_alike_share_one_spec() {
        let spec = json!({
            "headGroupSpec": {"template": pod(&json!({}))},
            "workerGroupSpecs": [
                {"groupName": "w", "replicas": 2047, "template": pod(&json!({"nvidia.com/gpu": 1}))},
                {"groupName": "none", "replicas": 0, "template": pod(&json!({}))},
            ],
        });
        let (shape, problems) = shaped(&spec);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((shape.roles.len(), shape.size(), shape.gpus()), (2, 2048, 2047));
        let workers: Vec<_> = shape.pods().skip(1).collect();
        assert!(workers.iter().all(|pod| Arc::ptr_eq(&pod.spec, &workers[0].spec)));
        assert_eq!(Arc::strong_count(&workers[0].spec), 1, "2047 pods are one number");
    }

    #[test]
    fn a_group_that_is_far_too_large_is_refused_without_making_it() {
        let workers = json!({"groupName": "w", "replicas": 10_000, "template": pod(&json!({}))});
        let spec =
            json!({"headGroupSpec": {"template": pod(&json!({}))}, "workerGroupSpecs": vec![workers; 16]});
        let (shape, problems) = shaped(&spec);
        assert_eq!(shape, GroupShape::default());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with(
            "spec.template.spec.workerGroupSpecs: 160001 pods in a group, the head included; at most 2048"
        ));
        let endless =
            json!({"groupName": "w", "replicas": i64::MAX, "maxReplicas": i64::MAX, "numOfHosts": i64::MAX});
        let (_, problems) = shaped(&json!({"headGroupSpec": {}, "workerGroupSpecs": [endless]}));
        assert!(problems[0].contains("pods in a group"), "{problems:?}");
    }

    fn refusals(limits: &Value, ranks: u32) -> Vec<String> {
        let spec = json!({"headGroupSpec": {"template": pod(limits)}});
        let model = json!({"name": "m", "source": "/m", "parallelism": {"pipeline": ranks}});
        let model: Model = serde_json::from_value(model).unwrap();
        let mut problems = Vec::new();
        let shape = group_shape(("f", &"r".into()), &spec, &mut problems);
        check_gpus(&model, &shape, &spec, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_spelling_and_make_of_a_gpu_is_one() {
        for limits in [
            json!({"nvidia.com/gpu": "8000m"}),
            json!({"nvidia.com/gpu": "8e0"}),
            json!({"amd.com/gpu": 8}),
            json!({"nvidia.com/mig-1g.10gb": "8"}),
        ] {
            assert_eq!(refusals(&limits, 8), Vec::<String>::new(), "{limits}");
        }
    }

    #[test]
    fn an_accelerator_that_is_no_gpu_of_ray_is_refused_by_name_and_never_for_a_number() {
        for limits in [
            json!({"google.com/tpu": 8}),
            json!({"habana.ai/gaudi": 8}),
            json!({"aws.amazon.com/neuroncore": 8}),
            json!({"gpu.intel.com/xe": 8}),
        ] {
            let reported = refusals(&limits, 8);
            let name = limits.as_object().and_then(|limits| limits.keys().next()).unwrap();
            assert!(reported.len() == 1 && reported[0].contains(name.as_str()), "{reported:?}");
            assert!(
                reported[0].starts_with("spec.template.spec.headGroupSpec: ")
                    && !reported[0].contains("ranks,"),
                "{reported:?}"
            );
        }
        assert!(
            refusals(&json!({"nvidia.com/gpu": 7}), 8)[0]
                .contains("8 ranks, but the template has 7 GPUs in 1 pods")
        );
        assert!(
            refusals(&json!({"nvidia.com/gpu": "all"}), 8)[0]
                .contains("limits[nvidia.com/gpu]: \"all\" is not")
        );
    }
}
