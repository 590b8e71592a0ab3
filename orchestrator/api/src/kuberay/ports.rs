//! Ports that Ray itself takes on a head: those that KubeRay 1.6 and 1.7 pass to `ray start`, and Ray's defaults.

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
/// Ports of workers unless the parameters say otherwise.
const WORKERS: (u16, u16) = (10_002, 19_999);

/// Who of Ray listens on a port of the head: its name and its parameter, for people.
pub fn taken(head: &Value, port: u16) -> Option<String> {
    let fixed = FIXED.iter().find(|(name, default, _)| number(head, name).unwrap_or(*default) == port);
    if let Some((name, _, who)) = fixed {
        return Some(format!("Ray's {who} listens there (rayStartParams.{name})"));
    }
    if let Some(name) = CHOSEN.iter().find(|name| number(head, name) == Some(port)) {
        return Some(format!("Ray listens there (rayStartParams.{name})"));
    }
    if let Some(list) = parameter(head, "worker-port-list") {
        let listed =
            list.split(',').any(|listed| listed.trim().parse::<u16>().is_ok_and(|listed| listed == port));
        return listed.then(|| "Ray's workers listen there (rayStartParams.worker-port-list)".to_owned());
    }
    let first = number(head, "min-worker-port").unwrap_or(WORKERS.0);
    let last = number(head, "max-worker-port").unwrap_or(WORKERS.1);
    // 0 lets Ray choose.
    let between = first > 0 && last > 0 && (first..=last).contains(&port);
    between.then(|| {
        format!("Ray's workers listen on {first} to {last} (rayStartParams.min-worker-port, max-worker-port)")
    })
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
            "metrics-export-port": "9090", "node-manager-port": "7000", "max-worker-port": "'10999'"
        }});
        let cases = [
            (6379, Some("GCS")),
            (8265, Some("rayStartParams.dashboard-port")),
            (10_001, Some("client server")),
            (52_365, Some("dashboard agent")),
            (9090, Some("metrics-export-port")),
            (8080, None),
            (7000, Some("node-manager-port")),
            (10_002, Some("10002 to 10999")),
            (11_000, None),
            (8000, None),
        ];
        for (port, words) in cases {
            let told = taken(&head, port);
            let right =
                words.map_or(told.is_none(), |words| told.as_ref().is_some_and(|told| told.contains(words)));
            assert!(right, "{port}: {told:?}");
        }
    }

    #[test]
    fn workers_have_a_range_or_a_list_or_what_ray_chooses() {
        assert!(taken(&Value::Null, 19_999).is_some_and(|told| told.contains("10002 to 19999")));
        let list = json!({"rayStartParams": {"worker-port-list": "12000, 12001"}});
        assert_eq!((taken(&list, 12_001).is_some(), taken(&list, 12_002)), (true, None));
        let free = json!({"rayStartParams": {"min-worker-port": "0", "max-worker-port": "0"}});
        assert_eq!(taken(&free, 12_000), None);
    }
}
