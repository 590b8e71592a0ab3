//! Whether a site's profile could be used: each key with what is wrong with it. Reading it is `profile`'s.

use super::grammar::{
    is_extended_resource, is_image, is_interface, is_label, is_mount, is_name, is_variable, is_version,
};
use super::site::{Site, Toleration};
use super::{bandwidth, resources};

/// What is wrong with a site, the key first.
pub(super) fn check(site: &Site) -> Result<(), String> {
    if site.image.is_some() && site.registry.is_some() {
        return Err("image and registry: name one of them; image is whole".to_owned());
    }
    texts(site)?;
    rdma(site)?;
    resources::check(site)?;
    if let Some(name) = site.env.keys().find(|name| !is_variable(name)) {
        return Err(format!(
            "env: `{name}` is no name of a variable: letters, digits and '_', no digit first"
        ));
    }
    if let Some(text) = &site.storage_bandwidth {
        bandwidth::parse(text).map_err(|problem| format!("storageBandwidth: {problem}"))?;
    }
    for (field, map) in [("labels", &site.labels), ("nodeSelector", &site.node_selector)] {
        for (key, value) in map {
            if !is_label(key, value) {
                return Err(format!("{field}: `{key}: {value}` is no label of Kubernetes"));
            }
        }
    }
    if site.labels.contains_key("app") {
        return Err("labels: `app` is the fleet's name, by which its groups are found".to_owned());
    }
    for (index, found) in site.tolerations.iter().enumerate() {
        toleration(found).map_err(|problem| format!("tolerations[{index}]: {problem}"))?;
    }
    Ok(())
}

type Holds = fn(&str) -> bool;

/// Keys with one text.
fn texts(site: &Site) -> Result<(), String> {
    const NAME: &str = "is no name of Kubernetes: lower-case letters, digits, '-' and '.'";
    let key: Holds = |text| is_label(text, "");
    let texts: [(&str, &Option<String>, Holds, &str); 9] = [
        ("image", &site.image, is_image, "is no image: write it as registry.example.com/vllm:1"),
        ("registry", &site.registry, is_image, "is no registry: write it as registry.example.com"),
        ("rayVersion", &site.ray_version, is_version, "is no version of Ray: write it as 2.60.0"),
        (
            "modelPath",
            &site.model_path,
            is_mount,
            "must be a folder of its own in the containers, as /models",
        ),
        ("networkInterface", &site.network_interface, is_interface, "is no interface: write it as eth0"),
        ("topologyKey", &site.topology_key, key, "is no label of Kubernetes"),
        ("claim", &site.claim, is_name, NAME),
        ("storageClass", &site.storage_class, is_name, NAME),
        ("serviceAccount", &site.service_account, is_name, NAME),
    ];
    let named =
        texts.into_iter().filter_map(|(field, text, holds, why)| Some((field, text.as_ref()?, holds, why)));
    let secrets =
        site.image_pull_secrets.iter().map(|name| ("imagePullSecrets", name, is_name as Holds, NAME));
    match named.chain(secrets).find(|(_, text, holds, _)| !holds(text)) {
        Some((field, text, _, why)) => Err(format!("{field}: `{text}` {why}")),
        None => Ok(()),
    }
}

fn rdma(site: &Site) -> Result<(), String> {
    match (&site.rdma_resource, site.rdma_count) {
        (None, Some(_)) => Err("rdmaCount: of what? Name the rdmaResource".to_owned()),
        (_, Some(0)) => Err("rdmaCount: must be above 0".to_owned()),
        (Some(name), _) if ["nvidia.com/gpu", "amd.com/gpu"].contains(&name.as_str()) => {
            Err(format!("rdmaResource: `{name}` are the GPUs"))
        }
        (Some(name), _) if !is_extended_resource(name) => {
            Err(format!("rdmaResource: `{name}` is no extended resource: write it as rdma/ib"))
        }
        _ => Ok(()),
    }
}

/// By the rules of Kubernetes (`validateTolerations` in pkg/apis/core/validation).
fn toleration(found: &Toleration) -> Result<(), String> {
    let value = found.value.as_deref().unwrap_or_default();
    let exists = match found.operator.as_deref() {
        None | Some("Equal") => false,
        Some("Exists") => true,
        Some(other) => return Err(format!("operator `{other}` is neither Exists nor Equal")),
    };
    if exists && !value.is_empty() {
        return Err(format!("value `{value}`: with Exists there is none"));
    }
    match found.key.as_deref().filter(|key| !key.is_empty()) {
        None if !exists => return Err("without a key the operator must be Exists".to_owned()),
        Some(key) if !is_label(key, value) => {
            return Err(format!("`{key}: {value}` is no taint of Kubernetes"));
        }
        _ => {}
    }
    match found.effect.as_deref() {
        None | Some("NoSchedule" | "PreferNoSchedule" | "NoExecute") => {}
        Some(other) => {
            return Err(format!("effect `{other}` is none of NoSchedule, PreferNoSchedule and NoExecute"));
        }
    }
    if found.seconds.is_some() && found.effect.as_deref() != Some("NoExecute") {
        return Err("tolerationSeconds: only with the effect NoExecute".to_owned());
    }
    Ok(())
}
