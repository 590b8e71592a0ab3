//! The requests of a pod, as the scheduler counts them.

use std::collections::BTreeMap;

use rayfleet_api::quantity::quantity_of;
use serde_json::Value;

/// Amounts by resource name, in thousandths: `cpu: 500` is half a core, `nvidia.com/gpu: 2000` is two GPUs.
pub type Resources = BTreeMap<String, i128>;

/// The requests of a pod spec: the sum of its containers, or its largest init container if that is more;
/// sidecars are added to both. Pod-level requests replace the sum. A limit replaces a missing request. One
/// `pods` is always included.
pub fn requests(spec: &Value) -> Resources {
    let mut asked = of_pod(spec, of_container);
    let whole = &spec["resources"];
    for (name, limit) in of_pods(&whole["limits"]) {
        asked.entry(name).or_insert(limit);
    }
    asked.extend(of_pods(&whole["requests"]));
    add(&mut asked, &amounts(&spec["overhead"]));
    asked.insert("pods".to_owned(), 1_000);
    asked
}

/// The limits of a pod spec, added up in the same way.
pub(super) fn limits(spec: &Value) -> Resources {
    let mut limits = of_pod(spec, |container| amounts(&container["resources"]["limits"]));
    limits.extend(of_pods(&spec["resources"]["limits"]));
    limits
}

/// Pod-level amounts. Kubernetes accepts only these resources there (KEP-2837).
fn of_pods(map: &Value) -> impl Iterator<Item = (String, i128)> {
    let is_taken = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    amounts(map).into_iter().filter(move |(name, _)| is_taken(name))
}

fn of_pod(spec: &Value, of_container: impl Fn(&Value) -> Resources) -> Resources {
    let mut together = Resources::new();
    let mut starting = Resources::new();
    for init in spec["initContainers"].as_array().into_iter().flatten() {
        let asked = of_container(init);
        if init["restartPolicy"] == "Always" {
            add(&mut together, &asked);
        } else {
            let mut peak = together.clone();
            add(&mut peak, &asked);
            raise(&mut starting, &peak);
        }
    }
    for container in spec["containers"].as_array().into_iter().flatten() {
        add(&mut together, &of_container(container));
    }
    raise(&mut together, &starting);
    together
}

fn of_container(container: &Value) -> Resources {
    let mut asked = amounts(&container["resources"]["limits"]);
    asked.extend(amounts(&container["resources"]["requests"]));
    asked
}

fn amounts(map: &Value) -> Resources {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), quantity_of(value)?))).collect()
}

pub(super) fn add(sum: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

fn raise(sum: &mut Resources, floor: &Resources) {
    for (name, amount) in floor {
        let entry = sum.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// The part that only some nodes have: extended resources such as `nvidia.com/gpu`.
pub(crate) fn scarce(asked: &Resources) -> Resources {
    asked
        .iter()
        .filter(|(name, _)| name.contains('/'))
        .map(|(name, amount)| (name.clone(), *amount))
        .collect()
}

/// Amounts for people: `2 nvidia.com/gpu`, `0.5 cpu, 16Gi memory`.
pub(crate) fn in_words(asked: &Resources) -> String {
    let named = asked.iter().filter(|(name, amount)| *name != "pods" && **amount > 0);
    let words: Vec<_> =
        named.map(|(name, amount)| format!("{} {name}", amount_in_words(name, *amount))).collect();
    if words.is_empty() { "nothing in particular".to_owned() } else { words.join(", ") }
}

pub(super) fn amount_in_words(name: &str, thousandths: i128) -> String {
    const MEBI: i128 = 1_000 << 20;
    if name == "memory"
        || name.ends_with(".memory")
        || name.contains("storage")
        || name.starts_with("hugepages-")
    {
        return match thousandths {
            bytes if bytes % (MEBI << 10) == 0 => format!("{}Gi", bytes / (MEBI << 10)),
            bytes => format!("{}Mi", bytes / MEBI),
        };
    }
    if thousandths % 1_000 == 0 { format!("{}", thousandths / 1_000) } else { format!("{thousandths}m") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_counted_as_the_scheduler_does() {
        let spec = json!({
            "initContainers": [
                {"resources": {"requests": {"cpu": "100m"}}, "restartPolicy": "Always"},
                {"resources": {"requests": {"cpu": "3"}}},
            ],
            "containers": [
                {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "9", "nvidia.com/gpu": 2}}},
                {"resources": {"requests": {"cpu": 1}}},
            ],
            "overhead": {"cpu": "10m"},
        });
        let asked = requests(&spec);
        assert_eq!(asked["cpu"], 3_110, "an init container and the sidecar request most");
        assert_eq!(asked["nvidia.com/gpu"], 2_000);
        assert_eq!(asked["pods"], 1_000);
        assert_eq!(in_words(&asked), "3110m cpu, 1Gi memory, 2 nvidia.com/gpu");
    }

    #[test]
    fn amounts_are_formatted_for_people() {
        let words =
            |name: &str, thousandths: i128| in_words(&Resources::from([(name.to_owned(), thousandths)]));
        let gibi = (1_i128 << 30) * 1_000;
        for name in ["memory", "requests.memory", "ephemeral-storage", "hugepages-2Mi"] {
            assert_eq!(words(name, 3 * gibi), format!("3Gi {name}"));
            assert_eq!(words(name, gibi / 2), format!("512Mi {name}"));
        }
        assert_eq!((words("cpu", 2_000), words("cpu", 2_500)), ("2 cpu".into(), "2500m cpu".into()));
        assert_eq!(
            (words("cpu", 0), words("pods", 1_000)),
            (words("", 0), "nothing in particular".to_owned())
        );
    }

    #[test]
    fn pod_level_requests_replace_those_of_containers() {
        let spec = json!({
            "resources": {
                "requests": {"cpu": "8", "nvidia.com/gpu": "9"},
                "limits": {"cpu": "9", "memory": "4Gi", "hugepages-2Mi": "2Mi"},
            },
            "overhead": {"cpu": "1"},
            "containers": [{"resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}}],
        });
        let asked = requests(&spec);
        assert_eq!((asked["cpu"], asked["nvidia.com/gpu"]), (9_000, 1_000));
        assert_eq!(asked["memory"], 1_000 << 30, "a limit does not replace an existing request");
        assert_eq!(asked["hugepages-2Mi"], 2_000 << 20, "it replaces a missing one");
        assert_eq!(in_words(&limits(&spec)), "9 cpu, 2Mi hugepages-2Mi, 4Gi memory, 1 nvidia.com/gpu");
    }

    #[test]
    fn a_request_overrides_a_limit_and_the_largest_init_container_the_sum() {
        let spec = json!({
            "initContainers": [
                {"resources": {"requests": {"cpu": "2", "memory": "1Gi"}}},
                {"resources": {"requests": {"cpu": "4"}}},
            ],
            "containers": [{"resources": {"requests": {"cpu": "3", "memory": "2Gi"}, "limits": {"cpu": "9"}}}],
        });
        assert_eq!(in_words(&requests(&spec)), "4 cpu, 2Gi memory");
    }
}
