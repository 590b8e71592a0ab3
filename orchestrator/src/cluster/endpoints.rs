//! Which pods the EndpointSlices list as ready. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Whether each pod of a slice is listed as ready, by pod name.
pub(crate) type Listed = BTreeMap<String, bool>;

/// What a slice says. KubeRay's own headless head service publishes addresses that are not ready, and its
/// endpoints carry that as `ready: true`; `serving` tells the truth there, so both must be true.
pub(crate) fn listed(slice: &EndpointSlice) -> Listed {
    let mut listed = Listed::new();
    for endpoint in slice.endpoints.iter().flatten() {
        let Some(pod) = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))
        else {
            continue;
        };
        let Some(name) = &pod.name else { continue };
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
        listed.insert(name.clone(), ready && serving);
    }
    listed
}
