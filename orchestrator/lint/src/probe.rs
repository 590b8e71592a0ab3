//! What the probes of a container ask. No rule lives here.

use serde_json::Value;

/// The probes of a container.
pub(crate) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Whether a probe of a container asks a port of it, by its number or its name.
pub(crate) fn asks(container: &Value, probe: &str, port: u16) -> bool {
    ["httpGet", "tcpSocket", "grpc"].iter().any(|kind| {
        let asked = &container[probe][kind]["port"];
        let named = |of: &Value| of["name"] == *asked && of["containerPort"] == port;
        let by_name = asked.is_string() && container["ports"].as_array().into_iter().flatten().any(named);
        *asked == port || by_name || asked.as_str().is_some_and(|text| text.parse() == Ok(port))
    })
}
