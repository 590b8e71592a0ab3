//! Where KubeRay's operator is. Its pods are found by its label.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod as PodKind;
use kube::Resource;
use kube::api::ListParams;
use kube::core::Request;
use rayfleet_cli_kit::CliError;
use rayfleet_text::pieces::without_managed_fields;
use serde_json::Value;

use super::source::Source;
use crate::fleets::{Fleets, KUBERAY_OPERATOR as LABEL};

/// Where it is looked for if not everywhere may be looked, beside the fleet's own namespace: guesses, all of which an error names.
const USUAL: [&str; 4] = ["ray-system", "kuberay-operator", "kuberay-system", "default"];

/// The operator's containers. An error says where they were looked for.
pub(super) async fn find(fleets: &Fleets) -> Result<BTreeSet<Source>, CliError> {
    let everywhere = in_namespace(fleets, None).await;
    let fault = match everywhere {
        Ok(found) if found.is_empty() => {
            return Err(CliError::failed(
                format!("no pod with the label {LABEL} in any namespace: KubeRay's operator was not found"),
                "see where it runs: kubectl get deployments -A | grep -i kuberay; then kubectl logs deployment/NAME",
            ));
        }
        Ok(found) => return Ok(found),
        Err(fault) => fault,
    };
    let own = fleets.namespace.as_str();
    let namespaces: Vec<&str> = USUAL.into_iter().chain((!USUAL.contains(&own)).then_some(own)).collect();
    for namespace in &namespaces {
        if let Ok(found) = in_namespace(fleets, Some(namespace)).await
            && !found.is_empty()
        {
            return Ok(found);
        }
    }
    Err(CliError::failed(
        format!(
            "KubeRay's operator was not found: you may not look for its pods (label {LABEL}) in all namespaces, and there is none \
             that you may see in {}: {}",
            namespaces.join(", "),
            fault.message
        ),
        "ask for the right to list pods and get pods/log in the namespace of KubeRay's operator",
    ))
}

async fn in_namespace(fleets: &Fleets, namespace: Option<&str>) -> Result<BTreeSet<Source>, CliError> {
    let at = Request::new(PodKind::url_path(&(), namespace));
    let read = |text: &str| serde_json::from_str::<Value>(&without_managed_fields(text)?).ok();
    let pods = fleets.all(&at, ListParams::default().labels(LABEL), "pods", read).await?;
    Ok(pods.iter().flat_map(sources).collect())
}

fn sources(pod: &Value) -> Vec<Source> {
    let text = |field: &str| pod["metadata"][field].as_str().map(str::to_owned);
    let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else { return Vec::new() };
    let containers = pod["spec"]["containers"].as_array();
    let names = containers.into_iter().flatten().filter_map(|container| container["name"].as_str());
    names
        .map(|container| Source::Operator {
            namespace: namespace.clone(),
            pod: name.clone(),
            container: container.to_owned(),
        })
        .collect()
}
