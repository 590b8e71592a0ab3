//! `$(NAME)` in what a container runs, which Kubernetes puts in before the container starts, and what there is to put in.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::finding::Findings;
use crate::launch;
use crate::rule::Rule;
use crate::workload::Workload;

/// Beginnings of variables that KubeRay 1.7 gives to Ray's container (`ray-operator/controllers/ray/common/pod.go`: `setContainerEnvVars`,
/// and what the options of a RayCluster add).
const OF_KUBERAY: [&str; 4] = ["RAY_", "FQ_RAY_IP", "KUBERAY_", "REDIS_"];
/// The same of LWS 0.10 and every container (`pkg/utils/pod/pod_utils.go`, `pkg/utils/accelerators/tpu.go`).
const OF_LWS: [&str; 2] = ["LWS_", "TPU_"];
/// Most names that one finding has.
const MOST_NAMES: usize = 5;

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    for role in &workload.roles {
        for (field, container) in role.containers() {
            // What a whole ConfigMap or Secret brings is not in the manifest.
            if container["envFrom"].as_array().is_none_or(Vec::is_empty) {
                of_container(workload, &field, container, findings);
            }
        }
    }
}

fn of_container(workload: &Workload<'_>, field: &str, container: &Value, findings: &mut Findings) {
    let env = container["env"].as_array().into_iter().flatten();
    let defined: BTreeSet<&str> = env.filter_map(|variable| variable["name"].as_str()).collect();
    let by_controller: &[&str] = if workload.lws { &OF_LWS } else { &OF_KUBERAY };
    let given = |name: &str| by_controller.iter().any(|start| name.starts_with(start)) || is_of_service(name);
    let script = launch::of(container).filter(|launch| launch.script.is_some()).map(|launch| launch.field);
    for list in ["command", "args"] {
        for (index, word) in container[list].as_array().into_iter().flatten().enumerate() {
            let names: BTreeSet<&str> = references(word.as_str().unwrap_or_default())
                .filter(|name| is_variable(name) && !defined.contains(name) && !given(name))
                .collect();
            let names: Vec<String> = names.iter().take(MOST_NAMES).map(|name| format!("$({name})")).collect();
            if names.is_empty() {
                continue;
            }
            let place = format!("{list}[{index}]");
            let then = if script.as_ref() == Some(&place) {
                "a shell runs a command of that name"
            } else {
                "the program gets the text itself"
            };
            let what = format!("no env of the container defines {}: {then}", names.join(", "));
            let cure = "write it into the env of the container, or $$(NAME) if the text is meant";
            findings.push(
                Rule::UndefinedVariable,
                (workload.object, &format!("{field}.{place}")),
                what,
                cure,
            );
        }
    }
}

/// Variables by which Kubernetes tells of Services, its own and those of the namespace.
fn is_of_service(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP", "_UDP"].iter().any(|part| name.contains(part))
}

/// Whether a name looks like a variable's, and not like a command's that a shell is to run.
fn is_variable(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_') && name.chars().all(inner)
}

/// The names between `$(` and `)`, without those of `$$(NAME)`, which Kubernetes leaves as `$(NAME)`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('(') {
                // Without an end here there is none behind it either.
                let (name, after) = inner.split_once(')')?;
                rest = after;
                return Some(name);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_reads() {
        for (text, names) in [
            ("a $(B) $(C_1)d", vec!["B", "C_1"]),
            ("$$(A) $$$(B)", vec!["B"]),
            ("$(A", vec![]),
            ("$A ${B} $", vec![]),
            ("$()$( A)", vec!["", " A"]),
        ] {
            assert_eq!(references(text).collect::<Vec<_>>(), names, "{text}");
        }
        assert_eq!(references(&"$(".repeat(1_000_000)).count(), 0, "in one walk over the text");
        for (name, is) in
            [("A", true), ("_A1", true), ("hostname", false), ("A B", false), ("1", false), ("", false)]
        {
            assert_eq!(is_variable(name), is, "{name}");
        }
    }
}
