//! Images of containers: which of them is another one tomorrow, and whether those of a Ray cluster are one.

use serde_json::Value;

use crate::finding::Findings;
use crate::rule::Rule;
use crate::workload::Workload;

pub(super) fn check(workload: &Workload<'_>, findings: &mut Findings) {
    for role in &workload.roles {
        for (field, container) in role.containers() {
            floating(workload, &field, container, findings);
        }
    }
    differing(workload, findings);
}

/// The image of a container, unless a tool is still to put in a part of it. A name has no capital letters: those stand for such a part.
fn image(container: &Value) -> Option<&str> {
    let image = container["image"].as_str().filter(|image| !image.contains(['$', '{', '<']))?;
    let name = last(image).split([':', '@']).next().unwrap_or_default();
    (!name.contains(|c: char| c.is_ascii_uppercase())).then_some(image)
}

/// An image's name without its registry, with tag and digest.
fn last(image: &str) -> &str {
    image.rsplit('/').next().unwrap_or_default()
}

fn floating(workload: &Workload<'_>, field: &str, container: &Value, findings: &mut Findings) {
    let Some(image) = image(container).filter(|image| !image.contains('@')) else { return };
    if last(image).split_once(':').is_none_or(|(_, tag)| tag == "latest") {
        let what = format!("image `{image}` is another one tomorrow");
        let field = format!("{field}.image");
        findings.push(Rule::FloatingImage, (workload.object, &field), what, "name a version, or a digest");
    }
}

/// Workers in whose first container, Ray's, another image runs than in the head's.
fn differing(workload: &Workload<'_>, findings: &mut Findings) {
    let on_ray = !workload.lws || workload.launch.as_ref().is_some_and(|launch| launch.ray_start().is_some());
    let Some(of_head) = workload.head().and_then(|head| image(head.container())).filter(|_| on_ray) else {
        return;
    };
    for role in workload.roles.iter().filter(|role| !role.head && role.pods > 0) {
        if let Some(other) = image(role.container()).filter(|other| *other != of_head) {
            let what = format!("image `{other}` of workers is not the head's, `{of_head}`");
            let cure = "write one image for head and workers, or see that both have the same versions of Ray and Python";
            let field = format!("{}.image", role.container_field());
            findings.push(Rule::ImagesDiffer, (workload.object, &field), what, cure);
        }
    }
}
