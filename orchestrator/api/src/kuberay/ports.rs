//! Ports that Ray itself listens on at a head from its start: those that KubeRay 1.6 and 1.7 pass to `ray start`, and Ray's defaults.
//! Those of workers, which may or may not collide, are a rule of the CRD alone: an engine that serves on one is let be.

use serde_json::Value;

/// Parameters with the ports that are always taken, their defaults, and who listens there.
pub(crate) const FIXED: [(&str, u16, &str); 5] = [
    ("port", 6379, "GCS"),
    ("dashboard-port", 8265, "dashboard"),
    ("ray-client-server-port", 10_001, "client server"),
    ("metrics-export-port", 8080, "metrics"),
    ("dashboard-agent-listen-port", 52_365, "dashboard agent"),
];
/// Parameters with ports that Ray chooses at random unless they are given.
const CHOSEN: [&str; 6] = [
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
    "dashboard-agent-grpc-port",
    "dashboard-grpc-port",
    "gcs-server-port",
];

/// Who of Ray listens on a port of the head: its name and its parameter, for people.
pub fn taken(head: &Value, port: u16) -> Option<String> {
    let fixed = FIXED.iter().find(|(name, default, _)| number(head, name).unwrap_or(*default) == port);
    if let Some((name, _, who)) = fixed {
        return Some(format!("Ray's {who} listens there (rayStartParams.{name})"));
    }
    let chosen = CHOSEN.iter().find(|name| number(head, name) == Some(port))?;
    Some(format!("Ray listens there (rayStartParams.{chosen})"))
}

/// A parameter of `ray start` as the shell leaves it.
pub(crate) fn parameter<'h>(head: &'h Value, name: &str) -> Option<&'h str> {
    let text = head["rayStartParams"][name].as_str()?;
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\'' || c == '"'))
}

fn number(head: &Value, name: &str) -> Option<u16> {
    parameter(head, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_of_ray_are_named_by_who_listens_and_by_the_parameter() {
        let head = json!({"rayStartParams": {
            "metrics-export-port": "9090", "node-manager-port": "'7000'"
        }});
        let cases = [
            (6379, Some("GCS")),
            (8265, Some("rayStartParams.dashboard-port")),
            (10_001, Some("client server")),
            (52_365, Some("dashboard agent")),
            (9090, Some("metrics-export-port")),
            (8080, None),
            (7000, Some("node-manager-port")),
            (10_002, None),
            (8000, None),
        ];
        for (port, words) in cases {
            let reported = taken(&head, port);
            let right = words.map_or(reported.is_none(), |words| {
                reported.as_ref().is_some_and(|reported| reported.contains(words))
            });
            assert!(right, "{port}: {reported:?}");
        }
    }
}
