//! What a pod template says that bites in any group: hooks, variables, shared memory, what is installed at a start.

use serde_json::Value;

use crate::finding::Findings;
use crate::launch;
use crate::rule::Rule;
use crate::workload::{Role, Workload};

/// Programs that install packages, and the word by which they do.
const INSTALLERS: [(&str, &str); 9] = [
    ("pip", "install"),
    ("pip3", "install"),
    ("uv", "install"),
    ("conda", "install"),
    ("apt", "install"),
    ("apt-get", "install"),
    ("yum", "install"),
    ("dnf", "install"),
    ("apk", "add"),
];
/// How names of variables with secrets end.
const SECRETS: [&str; 7] =
    ["TOKEN", "PASSWORD", "SECRET", "API_KEY", "ACCESS_KEY", "SECRET_KEY", "ACCESS_KEY_ID"];

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    for role in &workload.roles {
        for (field, container) in role.containers() {
            hook(workload, &field, container, findings);
            variables(workload, &field, container, findings);
            installs(workload, &field, container, findings);
            mounts(workload, role, (&field, container), findings);
        }
        shared_memory(workload, role, findings);
        host_network(workload, role, findings);
    }
    let env = &workload.object.value["spec"]["model"]["engine"]["env"];
    for (index, variable) in env.as_array().into_iter().flatten().enumerate() {
        if variable["name"].as_str().is_some_and(is_secret) {
            let what = "a secret in spec.model is shown in clear by Ray's dashboard";
            let cure = "put it into the env of the pod templates' containers, by valueFrom.secretKeyRef";
            let field = format!("spec.model.engine.env[{index}]");
            findings.push(Rule::SecretInClear, (workload.object, &field), what, cure);
        }
    }
    let Some(head) = workload.head() else { return };
    let grace = &head.template["spec"]["terminationGracePeriodSeconds"];
    if !workload.lws && workload.serves() && grace.is_null() && head.template["spec"].is_object() {
        let what = "an eviction or the end of its machine gives requests 30 seconds: there is no terminationGracePeriodSeconds";
        let cure = "write the longest time that a request may take, and a preStop hook that keeps the containers for it";
        findings.push(Rule::NoGracePeriod, (workload.object, &format!("{}.spec", head.field)), what, cure);
    }
}

fn hook(workload: &Workload<'_>, field: &str, container: &Value, findings: &mut Findings) {
    let words = container["lifecycle"]["preStop"]["exec"]["command"].as_array();
    let line: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
    if line.join(" ").contains("ray stop") {
        let what = "the preStop hook ends Ray at once, and with it every request of the group that is still answered";
        let cure = "take the hook out: Rayfleet drains a group before it deletes it; for evictions let the hook wait, as sleep 120";
        let field = format!("{field}.lifecycle.preStop");
        findings.push(Rule::RayStopInPreStop, (workload.object, &field), what, cure);
    }
}

fn variables(workload: &Workload<'_>, field: &str, container: &Value, findings: &mut Findings) {
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        let Some(value) = variable["value"].as_str().filter(|value| !value.is_empty()) else { continue };
        let field = format!("{field}.env[{index}].value");
        // With such a name too, the file is a template of another tool.
        if has_shell_variable(value) && name.contains('$') {
            continue;
        }
        if has_shell_variable(value) {
            let what = format!("{name} is the text `{value}` unless the file goes through envsubst");
            let cure =
                "write $(NAME) for another variable of the container, or valueFrom.secretKeyRef for a secret";
            findings.push(Rule::ShellVariableInEnv, (workload.object, &field), what, cure);
        } else if is_secret(name) && !is_placeholder(value) {
            let what = format!("{name} is written in clear");
            let cure = "put it into a Secret and write valueFrom.secretKeyRef";
            findings.push(Rule::SecretInClear, (workload.object, &field), what, cure);
        }
    }
}

/// Whether a variable holds a secret, by its name.
pub(crate) fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRETS.iter().any(|end| upper.ends_with(end))
}

/// What is not the secret itself: `$(NAME)`, and `<your-token>` for a person to fill in.
fn is_placeholder(value: &str) -> bool {
    value.contains("$(") || (value.starts_with('<') && value.ends_with('>'))
}

/// `$NAME` or `${NAME}`, but no `$(NAME)` and no `$$`.
fn has_shell_variable(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('$') {
        if after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{') {
            return true;
        }
        rest = after.strip_prefix('$').unwrap_or(after);
    }
    false
}

fn installs(workload: &Workload<'_>, field: &str, container: &Value, findings: &mut Findings) {
    let Some(launch) = launch::of(container) else { return };
    let found = launch.commands.iter().find_map(|command| {
        let words: Vec<&str> = command.words.iter().map(|word| word.text.as_str()).collect();
        let installs = |(program, verb): &(&str, &str)| words.contains(program) && words.contains(verb);
        INSTALLERS.iter().any(installs).then(|| words.join(" "))
    });
    if let Some(line) = found {
        let what = format!("every start runs `{}`", rayfleet_text::cut(&line, 80));
        let cure = "build an image that has the packages";
        let field = format!("{field}.{}", launch.field);
        findings.push(Rule::InstallsAtStart, (workload.object, &field), what, cure);
    }
}

/// Pods on the node's network ask the node's DNS, unless they say otherwise.
fn host_network(workload: &Workload<'_>, role: &Role<'_>, findings: &mut Findings) {
    let pod = &role.template["spec"];
    let policy = pod["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
    if pod["hostNetwork"] == true && policy == "ClusterFirst" {
        let what = "a pod with hostNetwork and no dnsPolicy does not resolve the names of Services, as that of the head";
        let field = format!("{}.spec.hostNetwork", role.field);
        let cure = "write dnsPolicy: ClusterFirstWithHostNet beside it";
        findings.push(Rule::HostNetworkDns, (workload.object, &field), what, cure);
    }
}

/// Volumes that KubeRay adds by itself.
const OF_KUBERAY: [&str; 2] = ["shared-mem", "ray-logs"];

/// What a container mounts, and its pod does not have.
fn mounts(
    workload: &Workload<'_>,
    role: &Role<'_>,
    (field, container): (&str, &Value),
    findings: &mut Findings,
) {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let claims = &workload.object.value["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"];
    let claims: Vec<Value> = if workload.lws { list(claims) } else { Vec::new() };
    let volumes = list(&role.template["spec"]["volumes"]);
    for (index, mount) in list(&container["volumeMounts"]).iter().enumerate() {
        let Some(name) = mount["name"].as_str() else { continue };
        let there = volumes.iter().any(|volume| volume["name"] == name)
            || claims.iter().any(|claim| claim["metadata"]["name"] == name)
            || (!workload.lws && OF_KUBERAY.contains(&name));
        if !there {
            let what = format!("mounts the volume {name}, which its pod does not have");
            let field = format!("{field}.volumeMounts[{index}].name");
            let cure =
                format!("write the volume {name} into {}.spec.volumes, or take the mount out", role.field);
            findings.push(Rule::MountWithoutVolume, (workload.object, &field), what, cure);
        }
    }
}

fn shared_memory(workload: &Workload<'_>, role: &Role<'_>, findings: &mut Findings) {
    let mounts = role.container()["volumeMounts"].as_array().into_iter().flatten();
    let mounted = mounts.into_iter().any(|mount| mount["mountPath"] == "/dev/shm");
    if workload.lws && !mounted && role.gpus.is_some_and(|gpus| gpus > 1) {
        let what = "nothing is mounted at /dev/shm: the ranks of a pod share 64 MiB";
        let cure = "mount an emptyDir with medium: Memory there";
        findings.push(Rule::NoSharedMemory, (workload.object, &role.container_field()), what, cure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_expand_is_one() {
        for (value, is) in [
            ("$HF_TOKEN", true),
            ("a${B}", true),
            ("$(A)", false),
            ("$$A", false),
            ("5$", false),
            ("$$$A", true),
        ] {
            assert_eq!(has_shell_variable(value), is, "{value}");
        }
    }
}
