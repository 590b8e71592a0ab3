//! How values are written that Kubernetes, a container or the engine takes: whether they could be used at all. Nothing of
//! what they name, and no errors.

pub(super) use crate::object_names::{is_name, is_namespace};

/// What a container has of its own; a mount there hides it, `/dev/shm` of the manifest included.
const OF_THE_SYSTEM: [&str; 3] = ["dev", "proc", "sys"];

/// A host of a route: no address, and a star only in place of its first part.
pub(super) fn is_host(text: &str) -> bool {
    is_name(text.strip_prefix("*.").unwrap_or(text)) && text.parse::<std::net::Ipv4Addr>().is_err()
}

/// A key and a value of a label.
pub(super) fn is_label(key: &str, value: &str) -> bool {
    let word = |text: &str| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        text.len() <= 63
            && text.starts_with(edge)
            && text.ends_with(edge)
            && text.chars().all(|c| edge(c) || "-_.".contains(c))
    };
    let key = match key.split_once('/') {
        Some((prefix, name)) => is_name(prefix) && word(name),
        None => word(key),
    };
    key && (value.is_empty() || word(value))
}

/// An extended resource, as `rdma/ib`: a qualified name outside of what is Kubernetes' own.
pub(super) fn is_extended_resource(text: &str) -> bool {
    let own = |domain: &str| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    is_label(text, "")
        && text.split_once('/').is_some_and(|(domain, _)| !own(domain) && !domain.starts_with("requests."))
}

/// An image, or what stands before its name: letters and digits at both ends, no white space.
pub(super) fn is_image(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 1024
        && text.starts_with(edge)
        && text.ends_with(edge)
        && !text.contains("//")
        && text.chars().all(|c| edge(c) || "-_./:@".contains(c))
}

/// A version of Ray, as `2.60.0` or `3.0.0.dev0`.
pub(super) fn is_version(text: &str) -> bool {
    let mut parts = text.split('.');
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 63
        && parts.next().is_some_and(number)
        && parts.next().is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()))
        && parts.all(|part| !part.is_empty())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
}

/// Interfaces as NCCL takes them: names or beginnings of them with commas between, `=` or `^` before them.
pub(super) fn is_interface(text: &str) -> bool {
    let names = text.trim_start_matches(['^', '=']);
    let name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@".contains(c))
    };
    text.len() <= 255 && text.len() - names.len() <= 2 && names.split(',').all(name)
}

/// A name of an environment variable, as shells take it.
pub(super) fn is_variable(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A folder for a mount: absolute, below the root, and not of the system.
pub(super) fn is_mount(text: &str) -> bool {
    let Some(path) = text.strip_prefix('/') else { return false };
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    text.len() <= 1024
        && parts.iter().all(|part| !["", ".", ".."].contains(part))
        && parts.first().is_some_and(|first| !OF_THE_SYSTEM.contains(first))
        && !text.contains(|c: char| c == ':' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_kubernetes() {
        assert!(is_name("a-1.b") && !is_name("") && !is_name("a..b") && !is_name("-a") && !is_name("A"));
        assert!(
            is_label("app", "") && is_label("a.b/C_d", "x.Y-z") && !is_label("", "a") && !is_label("/a", "b")
        );
        assert!(!is_label("a/b/c", "d") && !is_label("a", "-") && !is_label("a", &"b".repeat(64)));
        assert!(is_namespace("a-1") && !is_namespace("a.b") && !is_namespace(&"a".repeat(64)));
    }

    #[test]
    fn each_kind_of_value_has_its_grammar() {
        let held = |holds: fn(&str) -> bool, good: &[&str], bad: &[&str]| {
            for text in good {
                assert!(holds(text), "{text:?}");
            }
            for text in bad {
                assert!(!holds(text), "{text:?}");
            }
        };
        held(is_host, &["llm.example.com", "*.a.b"], &["", "*", "*.", "*.*.x", "a.*.b", "10.0.0.1", "A.b"]);
        held(
            is_extended_resource,
            &["rdma/ib", "nvidia.com/hostdev"],
            &["", "r", "a/b/c{,}", "/a", "a/", "kubernetes.io/x", "a.kubernetes.io/x", "requests.a/b"],
        );
        held(
            is_image,
            &["vllm", "localhost:5000/a-b_c:1.2", "r.io/a/b@sha256:ab"],
            &["", " ", "a b", "a\n", "a:", "/a", "a//b", "-a", "é"],
        );
        held(
            is_version,
            &["2.60", "2.60.0", "2.60.0rc1", "3.0.0.dev0"],
            &["", "abc", "2", "2.", "v2.60", "2.60 ", "2..1", "2.a"],
        );
        held(is_interface, &["eth0", "=ib0,ib1", "^lo,docker", "eth0.100"], &["", "=", "a,", "a b", "^=^a"]);
        held(
            is_mount,
            &["/m", "/models/", "/a/b", "/device"],
            &[
                "",
                "/",
                "//",
                "m",
                "/dev",
                "/dev/shm",
                "/dev/shm/models",
                "/a/../dev/shm",
                "/./dev",
                "//dev",
                "/a//b",
                "/proc/x",
                "/sys",
                "/a:b",
                "/a\nb",
            ],
        );
    }
}
