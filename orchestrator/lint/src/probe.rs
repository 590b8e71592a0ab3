//! What the probes of a container ask. No rule lives here.

use serde_json::Value;

/// The probes of a container.
pub(crate) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

/// Whether a probe of a container asks a port of its pod, by its number or its name, or runs a command with `:` and that number.
pub(crate) fn asks(container: &Value, probe: &str, port: u16) -> bool {
    let words = container[probe]["exec"]["command"].as_array().into_iter().flatten();
    let mut words = words.filter_map(Value::as_str);
    words.any(|word| has_port(word, port)) || by_port(container, probe, port)
}

fn has_port(word: &str, port: u16) -> bool {
    let colon = format!(":{port}");
    let mut after = word.split(&colon).skip(1);
    after.any(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
}

fn by_port(container: &Value, probe: &str, port: u16) -> bool {
    ["httpGet", "tcpSocket", "grpc"].iter().any(|kind| {
        let asked = &container[probe][kind]["port"];
        let named = |of: &Value| of["name"] == *asked && of["containerPort"] == port;
        let by_name = asked.is_string() && container["ports"].as_array().into_iter().flatten().any(named);
        *asked == port || by_name || asked.as_str().is_some_and(|text| text.parse() == Ok(port))
    })
}
