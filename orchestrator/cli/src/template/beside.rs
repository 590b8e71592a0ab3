//! What stands beside a fleet, if it is asked for: a claim, a route, a kustomization. Text only.

use super::render::metadata;
use super::values::{Gateway, Values};
use super::yaml::{map, scalar};

/// The claim with the weights, of the site's storage class. A fifth more than the checkpoint, in whole ten GiB.
pub(super) fn claim(values: &Values) -> Option<String> {
    let class = values.site.storage_class.as_ref()?;
    let gib = (values.bytes.saturating_add(values.bytes / 5) >> 30) / 10 * 10 + 10;
    let mut lines = vec![
        format!(
            "# All pods of all groups mount it. Fill it once, with the folder {}, from a pod that mounts it for writing.",
            folder(values)
        ),
        "apiVersion: v1".to_owned(),
        "kind: PersistentVolumeClaim".to_owned(),
        "metadata:".to_owned(),
        format!("  name: {}", scalar(&values.claim)),
    ];
    lines.extend(values.namespace.as_ref().map(|namespace| format!("  namespace: {}", scalar(namespace))));
    lines.extend([
        "spec:".to_owned(),
        "  accessModes: [ReadWriteMany]".to_owned(),
        format!("  storageClassName: {}", scalar(class)),
        format!("  resources: {{requests: {{storage: {gib}Gi}}}}"),
    ]);
    Some(lines.join("\n") + "\n")
}

/// A comment holds no line break.
fn folder(values: &Values) -> String {
    rayfleet_cli_kit::table::one_line(&values.folder)
}

/// A route of the Gateway API to the fleet's Service, which Rayfleet makes.
pub(super) fn route(values: &Values) -> Option<String> {
    let Gateway { namespace, name, hostname } = values.gateway.as_ref()?;
    let mut parent = vec![("name", name.as_str())];
    parent.extend(namespace.as_deref().map(|namespace| ("namespace", namespace)));
    let mut lines = vec![
        "# The Service has the fleet's name; Rayfleet makes it.".to_owned(),
        "apiVersion: gateway.networking.k8s.io/v1".to_owned(),
        "kind: HTTPRoute".to_owned(),
    ];
    lines.extend(metadata(values));
    lines.extend(["spec:".to_owned(), format!("  parentRefs: [{}]", map(parent))]);
    lines.extend(hostname.as_ref().map(|host| format!("  hostnames: [{}]", scalar(host))));
    lines.extend([
        "  rules:".to_owned(),
        format!("  - backendRefs: [{{name: {}, port: 8000}}]", scalar(&values.name)),
        "    timeouts: {request: 0s}       # none: a long answer is not cut off".to_owned(),
    ]);
    Some(lines.join("\n") + "\n")
}

/// A base of kustomize over these files.
pub(super) fn kustomization<'a>(files: impl IntoIterator<Item = &'a str>) -> String {
    let files: Vec<String> = files.into_iter().map(scalar).collect();
    format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{}]\n",
        files.join(", ")
    )
}
