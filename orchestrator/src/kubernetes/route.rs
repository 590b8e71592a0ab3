//! Where the fleet's Service leads. A Service has one target for all of its pods; as groups of two revisions may listen on
//! different ports, that target is a number while all listen on the same one, and the name that their containers have
//! in common for it otherwise. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rayfleet_api::names;
use serde_json::{Value, json};

/// Name of the engine's port in the containers of heads, where nothing else has named it.
pub(crate) const PORT_NAME: &str = "rayfleet-http";

/// Name of the Service's first port.
const FIRST: &str = "http";

/// Ports that KubeRay gives the head's Service when the Ray container names none; with one named it no longer does.
const KUBERAY_PORTS: [(&str, u16); 4] =
    [("gcs-server", 6379), ("dashboard", 8265), ("client", 10001), ("serve", 8000)];

/// Ports of Ray itself: no engine can listen there, and KubeRay's Service must not have them twice.
const RAY_PORTS: [u16; 4] = [6379, 8080, 8265, 10001];

/// A head, and where its engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Port of its engine.
    pub(crate) port: u16,
    /// What its containers call that port.
    pub(crate) names: BTreeSet<String>,
}

impl Listener {
    /// A head whose engine listens on a port, with all ports of its containers that have a name.
    pub(crate) fn new(ports: &[(String, i64)], port: u16) -> Self {
        let named = ports.iter().filter(|(_, number)| *number == i64::from(port));
        Self { port, names: named.map(|(name, _)| name.clone()).collect() }
    }
}

/// Ports of the Service: the one that is wanted and those that groups still listen on, each leading to all groups. What a client
/// asks for keeps its name, so that no proxy lets go of it for a moment.
pub(crate) fn ports(wanted: u16, heads: &[Listener], there: Option<&Service>) -> Vec<ServicePort> {
    let there = there.and_then(|there| there.spec.as_ref()?.ports.as_deref()).unwrap_or_default();
    let target = target(wanted, heads, there);
    let numbers: BTreeSet<u16> = heads.iter().map(|head| head.port).chain([wanted]).collect();
    let known: BTreeMap<i32, &str> =
        there.iter().filter_map(|port| Some((port.port, port.name.as_deref()?))).collect();
    let kept: BTreeSet<&str> =
        numbers.iter().filter_map(|number| known.get(&i32::from(*number)).copied()).collect();
    let mut first = !kept.contains(FIRST);
    let port = |number: u16| {
        let number = i32::from(number);
        let name = match known.get(&number) {
            Some(name) => (*name).to_owned(),
            None if std::mem::take(&mut first) => FIRST.to_owned(),
            None => format!("{FIRST}-{number}"),
        };
        ServicePort {
            name: Some(name),
            port: number,
            target_port: Some(target.clone()),
            ..ServicePort::default()
        }
    };
    // The wanted one comes first.
    let others = numbers.iter().copied().filter(|number| *number != wanted);
    [wanted].into_iter().chain(others).map(port).collect()
}

fn target(wanted: u16, heads: &[Listener], there: &[ServicePort]) -> IntOrString {
    let listened: BTreeSet<u16> = heads.iter().map(|head| head.port).collect();
    let before = there.first().and_then(|port| port.target_port.clone());
    match (listened.first(), listened.len()) {
        (None, _) => IntOrString::Int(i32::from(wanted)),
        (Some(port), 1) => IntOrString::Int(i32::from(*port)),
        (Some(port), _) => match common_name(heads, before.as_ref()) {
            Some(name) => IntOrString::String(name),
            None => before.unwrap_or(IntOrString::Int(i32::from(*port))),
        },
    }
}

/// The name that all heads have for the port of their engine: the one that is used, else ours, else any.
fn common_name(heads: &[Listener], used: Option<&IntOrString>) -> Option<String> {
    let (first, others) = heads.split_first()?;
    let common = first.names.iter().filter(|name| others.iter().all(|head| head.names.contains(*name)));
    common.cloned().min_by_key(|name| {
        (used != Some(&IntOrString::String(name.clone())), name != PORT_NAME, name.clone())
    })
}

/// The name that a new group has to give to its port so that the Service leads to it and to the groups that there are; `None` where that
/// does not matter.
pub(crate) fn name_to_share(port: u16, heads: &[Listener], there: Option<&Service>) -> Option<String> {
    if heads.iter().all(|head| head.port == port) {
        return None;
    }
    let used = there.and_then(|there| there.spec.as_ref()?.ports.as_ref()?.first()?.target_port.as_ref());
    common_name(heads, used)
}

/// Names the engine's port in the Ray container of a head group, as `shared` where that is given.
pub(crate) fn name_port(head: &mut Value, port: u16, shared: Option<&str>) {
    let Some(container) = head.pointer_mut("/template/spec/containers/0").and_then(Value::as_object_mut)
    else {
        return;
    };
    if RAY_PORTS.contains(&port) {
        return;
    }
    let ports = container.entry("ports").or_insert_with(|| json!([]));
    let Some(ports) = ports.as_array_mut() else { return };
    if ports.is_empty() {
        let defaults = KUBERAY_PORTS.iter().filter(|(_, number)| *number != port);
        ports.extend(defaults.map(|(name, number)| json!({"name": name, "containerPort": number})));
    }
    let is_it = |entry: &Value| {
        entry["containerPort"] == port && entry["protocol"].as_str().is_none_or(|protocol| protocol == "TCP")
    };
    if let Some(shared) = shared {
        // KubeRay's Service refuses a port that is there twice.
        ports.retain(|entry| entry["name"] == shared || !is_it(entry));
        match ports.iter_mut().find(|entry| entry["name"] == shared) {
            Some(entry) => entry["containerPort"] = json!(port),
            None => ports.push(json!({"name": shared, "containerPort": port})),
        }
        return;
    }
    match ports.iter_mut().find(|entry| is_it(entry)) {
        Some(entry) if entry["name"].is_string() => {}
        Some(entry) => entry["name"] = json!(PORT_NAME),
        None => ports.push(json!({"name": PORT_NAME, "containerPort": port})),
    }
}

/// Prefers other nodes than those with heads of the same fleet, where the template does not say what it prefers: a node
/// that is emptied then takes fewer groups along.
pub(crate) fn spread_heads(head: &mut Value, fleet: &str) {
    let Some(pod) = head.pointer_mut("/template/spec").and_then(Value::as_object_mut) else { return };
    let affinity = pod.entry("affinity").or_insert_with(|| json!({}));
    let Some(affinity) = affinity.as_object_mut() else { return };
    let apart = affinity.entry("podAntiAffinity").or_insert_with(|| json!({}));
    let Some(apart) = apart.as_object_mut() else { return };
    apart.entry("preferredDuringSchedulingIgnoredDuringExecution").or_insert_with(|| {
        json!([{
            "weight": 1,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {names::LABEL_FLEET: fleet, names::RAY_LABEL_NODE_TYPE: "head"}}
            }
        }])
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(port: u16, names: &[&str]) -> Listener {
        Listener { port, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn service(ports: Vec<ServicePort>) -> Service {
        let spec = k8s_openapi::api::core::v1::ServiceSpec { ports: Some(ports), ..Default::default() };
        Service { spec: Some(spec), ..Service::default() }
    }

    fn shown(ports: &[ServicePort]) -> Vec<(String, i32, String)> {
        let target = |port: &ServicePort| match &port.target_port {
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(name)) => name.clone(),
            None => String::new(),
        };
        ports.iter().map(|port| (port.name.clone().unwrap(), port.port, target(port))).collect()
    }

    fn row(name: &str, port: i32, target: &str) -> (String, i32, String) {
        (name.to_owned(), port, target.to_owned())
    }

    #[test]
    fn through_a_change_of_the_port_the_service_leads_to_every_group_under_both_numbers() {
        let old = || head(8000, &[PORT_NAME]);
        let new = || head(8001, &[PORT_NAME]);
        let at_rest = ports(8000, &[old(), old()], None);
        assert_eq!(shown(&at_rest), [row("http", 8000, "8000")]);
        let there = service(at_rest);
        // The spec asks for the other port; nothing has changed yet.
        let asked = ports(8001, &[old(), old()], Some(&there));
        assert_eq!(shown(&asked), [row("http-8001", 8001, "8000"), row("http", 8000, "8000")]);
        let there = service(asked);
        let mixed = ports(8001, &[old(), new()], Some(&there));
        assert_eq!(shown(&mixed), [row("http-8001", 8001, PORT_NAME), row("http", 8000, PORT_NAME)]);
        let there = service(mixed);
        assert_eq!(shown(&ports(8001, &[new(), new()], Some(&there))), [row("http-8001", 8001, "8001")]);
        // Taken back half way: as it was.
        assert_eq!(shown(&ports(8000, &[old(), old()], Some(&there))), [row("http", 8000, "8000")]);
    }

    #[test]
    fn a_new_group_takes_the_name_that_the_others_have_for_their_port() {
        let others = [head(8000, &["service"]), head(8000, &["service", "web"])];
        assert_eq!(name_to_share(8000, &others, None), None);
        assert_eq!(name_to_share(8001, &others, None).as_deref(), Some("service"));
        assert_eq!(name_to_share(8001, &[head(8000, &[])], None), None, "of before ports were named");
    }

    fn named(ports: &Value, port: u16, shared: Option<&str>) -> Value {
        let mut head = json!({"template": {"spec": {"containers": [{"name": "ray", "ports": ports}]}}});
        name_port(&mut head, port, shared);
        head["template"]["spec"]["containers"][0]["ports"].take()
    }

    #[test]
    fn the_engines_port_has_a_name_and_no_port_is_there_twice() {
        let named_by_template = json!([{"name": "service", "containerPort": 8000}]);
        assert_eq!(named(&named_by_template, 8000, None), named_by_template);
        let moved = json!([{"name": "service", "containerPort": 8001}]);
        assert_eq!(named(&named_by_template, 8001, Some("service")), moved);
        let renamed = json!([{"name": "web", "containerPort": 8000}]);
        assert_eq!(named(&named_by_template, 8000, Some("web")), renamed);
        assert_eq!(
            named(&json!([{"containerPort": 9000}]), 9000, None),
            json!([{"name": PORT_NAME, "containerPort": 9000}])
        );
        // KubeRay's own ports would be gone from the head's Service otherwise.
        let numbers: Vec<Value> = named(&json!([]), 8000, None)
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["containerPort"].clone())
            .collect();
        assert_eq!(numbers, [6379, 8265, 10001, 8000]);
    }

    #[test]
    fn heads_keep_apart_unless_the_template_prefers_something_else() {
        let mut head = json!({"template": {"spec": {}}});
        spread_heads(&mut head, "f");
        let path = "/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution";
        assert_eq!(
            head.pointer(path).unwrap()[0]["podAffinityTerm"]["topologyKey"],
            "kubernetes.io/hostname"
        );
        let own = json!({"template": {"spec": {"affinity": {"podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": []
        }}}}});
        let mut kept = own.clone();
        spread_heads(&mut kept, "f");
        assert_eq!(kept, own);
    }
}
