//! Images: which a node has to pull, which cannot be pulled, and how a kubelet reports that.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::super::object::items;

/// From the binding of a pod to its sandbox.
const SANDBOX: Duration = Duration::from_millis(300);

/// Images of a pod, those of init containers first.
pub(super) fn of(pod: &Value) -> impl Iterator<Item = &str> {
    let init = items(&pod["spec"]["initContainers"]).iter();
    init.chain(items(&pod["spec"]["containers"])).filter_map(|container| container["image"].as_str())
}

/// How long it takes until a pod's images are on a node, or are known not to exist.
pub(super) fn pull(pod: &Value, there: &BTreeSet<String>, duration: Duration) -> Duration {
    let missing: BTreeSet<&str> = of(pod).filter(|image| !there.contains(*image)).collect();
    let pulls = u32::try_from(missing.len()).unwrap_or(u32::MAX);
    SANDBOX.saturating_add(duration.saturating_mul(pulls))
}

/// Why an image cannot be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PullError {
    /// No registry has it.
    Absent,
    /// The reference is not a valid image name.
    BadName,
}

/// The first image of a pod that cannot be pulled, and why.
pub(super) fn pull_error<'p>(pod: &'p Value, bad: &[String]) -> Option<(&'p str, PullError)> {
    of(pod).find_map(|image| {
        if !is_reference(image) {
            Some((image, PullError::BadName))
        } else if bad.iter().any(|bad| bad == image) {
            Some((image, PullError::Absent))
        } else {
            None
        }
    })
}

/// Whether a text is a valid image reference: no blanks, and capitals only in its tag.
fn is_reference(image: &str) -> bool {
    let path = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(image, |(path, _)| path);
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    !image.is_empty()
        && !image.contains(char::is_whitespace)
        && !name.contains(|c: char| c.is_ascii_uppercase())
}

/// Reason and message just after a failed attempt (`backing_off` false), and while the next one is waited
/// for.
pub(super) fn words(image: &str, pull_error: PullError, backing_off: bool) -> (&'static str, String) {
    let error = format!(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
    );
    match (pull_error, backing_off) {
        (PullError::BadName, _) => (
            "InvalidImageName",
            format!(
                "Failed to apply default image tag \"{image}\": couldn't parse image name \"{image}\": invalid \
                 reference format"
            ),
        ),
        (PullError::Absent, false) => ("ErrImagePull", error),
        (PullError::Absent, true) => {
            ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_image_name_is_found_without_a_pull() {
        for (image, fine) in [
            ("rayfleet.local/ray:2.60.0", true),
            ("Registry.example.com:5000/team/ray:V2", true),
            ("ray@sha256:0123", true),
            ("Ray Image", false),
            ("team/Ray:1", false),
            ("", false),
        ] {
            assert_eq!(is_reference(image), fine, "{image}");
        }
    }
}
