//! Resource amounts, as scheduler and quotas count them. Deliberately independent of the product's own
//! arithmetic: the two have to agree by Kubernetes' rules, not by sharing a mistake.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::{entries, items};

/// Amounts by resource name, in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

/// A quantity in thousandths. An invalid one counts as 0: the API server would not have accepted it.
fn thousandths(quantity: &Value) -> i128 {
    let text = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let Some((number, suffix)) = text.split_at_checked(end) else { return 0 };
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return 0,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap_or_default();
    let divisor = u32::try_from(fraction.len()).ok().and_then(|places| 10_i128.checked_pow(places));
    let product = digits.checked_mul(factor).unwrap_or_default();
    divisor.map_or(0, |divisor| (product + divisor - 1) / divisor)
}

/// Amounts in a resource list.
pub(super) fn amounts(list: &Value) -> Amounts {
    entries(list).map(|(name, quantity)| (name.clone(), thousandths(quantity))).collect()
}

/// Adds `more` to `sum`.
pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += amount;
    }
}

/// What a pod requests of its node: the sum of its containers, or the largest init container if that is
/// more. A limit stands in for a missing request.
pub(super) fn requests(spec: &Value) -> Amounts {
    of_pod(spec, |resources| {
        let mut asked = amounts(&resources["limits"]);
        asked.extend(amounts(&resources["requests"]));
        asked
    })
}

/// Limits of a pod, summed like requests.
pub(super) fn limits(spec: &Value) -> Amounts {
    of_pod(spec, |resources| amounts(&resources["limits"]))
}

fn of_pod(spec: &Value, of: impl Fn(&Value) -> Amounts) -> Amounts {
    let mut sum = Amounts::new();
    for container in items(&spec["containers"]) {
        add(&mut sum, &of(&container["resources"]));
    }
    let mut peak = Amounts::new();
    for container in items(&spec["initContainers"]) {
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &of(&container["resources"]));
        } else {
            raise(&mut peak, &of(&container["resources"]));
        }
    }
    raise(&mut sum, &peak);
    sum
}

fn raise(sum: &mut Amounts, floor: &Amounts) {
    for (name, amount) in floor {
        let entry = sum.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// An amount as Kubernetes prints it.
pub(super) fn printed(thousandths: i128) -> String {
    if thousandths % 1_000 == 0 { (thousandths / 1_000).to_string() } else { format!("{thousandths}m") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_parsed_like_kubernetes_ones() {
        for (quantity, expected) in [
            (json!("250m"), 250),
            (json!("1.5"), 1_500),
            (json!(2), 2_000),
            (json!("512Mi"), (512 << 20) * 1_000),
            (json!("3Gi"), (3 << 30) * 1_000),
            (json!("many"), 0),
        ] {
            assert_eq!(thousandths(&quantity), expected, "{quantity}");
        }
    }

    #[test]
    fn kuberays_init_container_counts_where_it_is_larger() {
        let spec = json!({
            "initContainers": [{"resources": {"requests": {"cpu": "200m", "memory": "256Mi"}}}],
            "containers": [
                {"resources": {"requests": {"cpu": "150m"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}}},
            ]
        });
        let asked = requests(&spec);
        assert_eq!((asked["cpu"], asked["memory"]), (200, (1 << 30) * 1_000));
        assert_eq!(asked["nvidia.com/gpu"], 1_000);
    }
}
