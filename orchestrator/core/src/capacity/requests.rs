//! What a pod asks of its node, as the scheduler counts it.

use serde_json::Value;

use super::Resources;
use super::quantity;

/// Resources that a pod spec asks for: its containers together, or its largest init container if that
/// is more; sidecars count with both. A limit stands for a missing request. One `pods` is always asked for.
pub fn requests(spec: &Value) -> Resources {
    let mut asked = of_pod(spec, of_container);
    add(&mut asked, &amounts(&spec["overhead"]));
    asked.insert("pods".to_owned(), 1_000);
    asked
}

/// Limits of a pod spec, added up in the same way.
pub(super) fn limits(spec: &Value) -> Resources {
    of_pod(spec, |container| amounts(&container["resources"]["limits"]))
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
    let amount = |value: &Value| match value {
        Value::String(text) => quantity(text),
        other => quantity(&other.to_string()),
    };
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), amount(value)?))).collect()
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
