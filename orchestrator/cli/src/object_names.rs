//! Names of objects: what is no name of Kubernetes is refused before it becomes part of a path. On the command line what `-o name`
//! prints is taken as well as the bare name. Parsing only.

use rayfleet_api::names::{GROUP, KIND};

/// Longest name of an object, in bytes.
const LONGEST: usize = 253;
/// Longest namespace, in bytes.
const LONGEST_LABEL: usize = 63;
/// Kubectl's short name of fleets.
const SHORT: &str = "rcf";

/// A fleet, as `llama`, `rcf/llama` or `rayclusterfleet.orchestration.aibrix.ai/llama`.
pub(crate) fn fleet(text: &str) -> Result<String, String> {
    let kind = KIND.to_lowercase();
    let name = match text.split_once('/') {
        None => text,
        Some((of, name)) => {
            let of = of.to_lowercase();
            let known = of == SHORT
                || [format!("{kind}s"), kind]
                    .iter()
                    .any(|kind| of == *kind || of == format!("{kind}.{GROUP}"));
            if !known {
                return Err(format!("{text:?} is no fleet: write its name, or {SHORT}/NAME"));
            }
            name
        }
    };
    is_name(name).then(|| name.to_owned()).ok_or_else(|| no_name(name))
}

/// A namespace.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let odd =
        || format!("{text:?} is no namespace: lower-case letters, digits and '-', up to {LONGEST_LABEL}");
    is_namespace(text).then(|| text.to_owned()).ok_or_else(odd)
}

/// A name of an object: a DNS subdomain.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= LONGEST && text.split('.').all(is_label)
}

/// A namespace: a DNS label.
pub(crate) fn is_namespace(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_label(text)
}

fn is_label(text: &str) -> bool {
    let inside = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inside)
}

fn no_name(text: &str) -> String {
    format!("{text:?} is no name: lower-case letters, digits, '-' and '.', up to {LONGEST}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_name_prints_is_taken() {
        for text in [
            "llama",
            "rcf/llama",
            "rayclusterfleet/llama",
            "rayclusterfleets/llama",
            "RayClusterFleet/llama",
            "rayclusterfleet.orchestration.aibrix.ai/llama",
            "rayclusterfleets.orchestration.aibrix.ai/llama",
        ] {
            assert_eq!(fleet(text).as_deref(), Ok("llama"), "{text}");
        }
        assert!(fleet("pod/llama").unwrap_err().contains("rcf/NAME"));
    }

    #[test]
    fn what_is_no_name_never_becomes_a_path() {
        for text in
            ["", "rcf/", "a/../b?x=1", "../b", "rcf/../b", "a?b", "A", "-a", "a..b", "ü", &"a".repeat(254)]
        {
            assert!(fleet(text).is_err(), "{text}");
        }
        for text in ["a/b?x", "", ".", "a.b", "A"] {
            assert!(namespace(text).is_err(), "{text}");
        }
        assert_eq!(fleet("llama-3.1").as_deref(), Ok("llama-3.1"));
    }
}
