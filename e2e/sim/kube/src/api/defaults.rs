//! Defaults that a real server fills in, limited to the fields that are read here.

use serde_json::{Value, json};

use super::fields::{default, list, members, section, text};
use super::{Kind, schema};

/// Fills in missing fields. `fresh`: the object is being created.
pub(super) fn apply(kind: &Kind, object: &mut Value, fresh: bool) {
    match *kind {
        Kind::POD => pod(object, fresh),
        Kind::SERVICE => service(object),
        Kind::SECRET => default(members(object), "type", "Opaque"),
        Kind::NAMESPACE if fresh => {
            default(section(object, "spec"), "finalizers", json!(["kubernetes"]));
            default(section(object, "status"), "phase", "Active");
            let name = super::fields::name(object).to_owned();
            let labels = section(object, "metadata").entry("labels").or_insert(Value::Null);
            members(labels).insert("kubernetes.io/metadata.name".to_owned(), json!(name));
        }
        Kind::NODE if fresh => {
            section(object, "spec");
            section(object, "status");
        }
        Kind::FLEET => schema::fleet().fill(object),
        Kind::RAY_CLUSTER => ray_cluster(object),
        _ => {}
    }
}

fn pod(object: &mut Value, fresh: bool) {
    let spec = section(object, "spec");
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    default(spec, "enableServiceLinks", true);
    for containers in ["containers", "initContainers"] {
        let each = spec.get_mut(containers).and_then(Value::as_array_mut);
        for container in each.into_iter().flatten() {
            let container = members(container);
            default(container, "resources", json!({}));
            requests_of_limits(container.get_mut("resources"));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(members(port), "protocol", "TCP");
            }
        }
    }
    if fresh {
        default(spec, "priority", 0);
        default(spec, "preemptionPolicy", "PreemptLowerPriority");
        default(spec, "serviceAccountName", "default");
        default(section(object, "status"), "phase", "Pending");
    }
}

/// A limit without a request becomes the request.
fn requests_of_limits(resources: Option<&mut Value>) {
    let Some(resources) = resources else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = section(resources, "requests");
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

fn service(object: &mut Value) {
    let spec = section(object, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let port = members(port);
        default(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            default(port, "targetPort", number);
        }
    }
    default(section(object, "status"), "loadBalancer", json!({}));
}

/// Assigns a cluster IP to a Service that needs one.
pub(super) fn service_address(object: &mut Value, number: u64) {
    let headless = text(object, "/spec/clusterIP") == "None";
    let external = text(object, "/spec/type") == "ExternalName";
    let spec = section(object, "spec");
    if external {
        return;
    }
    default(spec, "clusterIP", format!("10.96.{}.{}", (number >> 8) & 0xff, number & 0xff));
    let address = spec.get("clusterIP").cloned().unwrap_or_default();
    if !headless || !spec.contains_key("clusterIPs") {
        default(spec, "clusterIPs", json!([address]));
    }
}

/// Defaults of KubeRay's CRD.
fn ray_cluster(object: &mut Value) {
    if list(object, "/spec/workerGroupSpecs").is_empty() {
        return;
    }
    let groups = section(object, "spec").get_mut("workerGroupSpecs").and_then(Value::as_array_mut);
    for group in groups.into_iter().flatten() {
        let group = members(group);
        default(group, "replicas", 0);
        default(group, "minReplicas", 0);
        default(group, "maxReplicas", 2_147_483_647);
        default(group, "numOfHosts", 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_its_grace_period_and_requests() {
        let mut pod = json!({"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}});
        apply(&Kind::POD, &mut pod, true);
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"], "1");
        assert_eq!(pod["status"]["phase"], "Pending");
    }

    #[test]
    fn a_service_s_target_port_defaults_to_its_port() {
        let mut service = json!({"spec": {"ports": [{"port": 80}]}});
        apply(&Kind::SERVICE, &mut service, true);
        service_address(&mut service, 258);
        assert_eq!(service["spec"]["ports"], json!([{"port": 80, "targetPort": 80, "protocol": "TCP"}]));
        assert_eq!(service["spec"]["clusterIP"], "10.96.1.2");
    }
}
