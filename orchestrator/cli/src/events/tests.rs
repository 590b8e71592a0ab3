//! The command on the simulated API server.

use std::time::Duration;

use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::{Call, EventVerdict, Interceptor, Kind, Verdict};
use serde_json::{Value, json};

use super::args::{EventsArgs, Type};
use super::run;
use crate::fleets::Fleets;
use crate::global::WideOutput;
use crate::sample;
use crate::simulated::Simulated;

fn event(kind: &str, name: &str, reason: &str, warning: bool, time: &str) -> Value {
    let namespace = if kind == "Node" { "default" } else { "serving" };
    json!({
        "metadata": {"name": format!("{name}.{reason}").to_lowercase(), "namespace": namespace},
        "involvedObject": {"kind": kind, "name": name, "namespace": namespace}, "reason": reason,
        "message": format!("{reason} of {name}"), "type": if warning { "Warning" } else { "Normal" }, "count": 1,
        "firstTimestamp": time, "lastTimestamp": time, "source": {"component": "test"}
    })
}

fn server() -> Simulated {
    let server = Simulated::with([sample::upgrading()]);
    for event in [
        // Before there was the fleet, by the server's clock.
        event("Node", "node-a", "NodeReady", false, "2026-03-01T12:00:10Z"),
        event("Pod", "llama-bcdfgh-0-head-x2b4f", "Pulled", false, "2026-03-01T12:00:30Z"),
        event("Pod", "llama-bcdfgh-1-head-9wz8k", "BackOff", true, "2026-03-01T12:00:40Z"),
        event("Node", "node-b", "NodeNotReady", true, "2030-01-01T00:00:10Z"),
        event("Node", "node-z", "NodeNotReady", true, "2030-01-01T00:00:11Z"),
        event("Pod", "web-1", "Pulled", false, "2026-03-01T12:00:31Z"),
        event("RayClusterFleet", "llama", "GroupReady", false, "2026-03-01T12:05:00Z"),
    ] {
        server.0.create(&Kind::EVENT, event).unwrap();
    }
    server
}

async fn shown(args: &EventsArgs, fleets: &Fleets) -> Result<String, String> {
    let kept = Kept::default();
    let done = run(args, fleets, &kept.terminal(args.format())).await;
    done.map(|()| kept.out()).map_err(|fault| fault.to_string())
}

fn of_llama() -> EventsArgs {
    EventsArgs { fleet: Some("llama".to_owned()), timestamps: true, ..EventsArgs::default() }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_s_time_line_has_its_objects_and_its_nodes() {
    let text = shown(&of_llama(), &server().fleets()).await.unwrap();
    // The server's clock begins in 2030.
    let dated: Vec<&str> = text.lines().filter(|line| !line.starts_with("2030-01-01T00:00:00")).collect();
    insta::assert_snapshot!(dated.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_time_line_is_filtered() {
    let fleets = server().fleets();
    let group = EventsArgs { group: Some("llama-bcdfgh-0".to_owned()), ..of_llama() };
    let text = shown(&group, &fleets).await.unwrap();
    for (words, there) in
        [("Pulled of llama", true), ("node/node-b", true), ("BackOff", false), ("GroupReady", false)]
    {
        assert_eq!(text.contains(words), there, "{words}: {text}");
    }
    for warnings in
        [EventsArgs { warnings: true, ..of_llama() }, EventsArgs { types: vec![Type::Warning], ..of_llama() }]
    {
        let text = shown(&warnings, &fleets).await.unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    }
    let recent = EventsArgs { since: Some(Duration::from_secs(1)), ..of_llama() };
    let text = shown(&recent, &fleets).await.unwrap();
    assert!(!text.contains("Pulled"), "{text}");
    let all = EventsArgs { all_namespaces: true, output: Some(WideOutput::Json), ..EventsArgs::default() };
    let document: Value = serde_json::from_str(&shown(&all, &fleets).await.unwrap()).unwrap();
    let pulled =
        document["events"].as_array().unwrap().iter().find(|event| event["reason"] == "Pulled").unwrap();
    assert_eq!((&pulled["groups"], &pulled["type"]), (&json!(["llama-bcdfgh-0"]), &json!("Normal")));
}

#[tokio::test(start_paused = true)]
async fn a_missing_fleet_is_an_error() {
    let other = EventsArgs { fleet: Some("other".to_owned()), ..EventsArgs::default() };
    let fault = shown(&other, &server().fleets()).await.unwrap_err();
    assert!(fault.contains("\"other\" not found in namespace \"serving\""), "{fault}");
}

struct MayNot(Kind);

impl Interceptor for MayNot {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::Refuse { code: 403, reason: "Forbidden" } } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_left_out() {
    let server = server();
    for kind in [Kind::NODE, Kind::POD, Kind::RAY_CLUSTER, Kind::CONTROLLER_REVISION] {
        let text = shown(&of_llama(), &server.fleets_with(MayNot(kind))).await.unwrap();
        assert!(text.contains("GroupReady"), "{kind}: {text}");
    }
    assert!(shown(&of_llama(), &server.fleets_with(MayNot(Kind::FLEET))).await.is_err());
}

/// A connection that breaks, and whose versions expire.
struct Expires;

impl Interceptor for Expires {
    fn event(&self, call: &Call, _: &Value) -> EventVerdict {
        if call.kind == Kind::EVENT && call.number.is_multiple_of(2) {
            EventVerdict::Expire
        } else {
            EventVerdict::Deliver
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_prints_what_happens_once_though_its_version_expires() {
    let server = server();
    let args = EventsArgs { watch: true, ..of_llama() };
    let kept = Kept::default();
    let (fleets, terminal) = (server.fleets_with(Expires), kept.terminal(args.format()));
    let meanwhile = async {
        for number in 0..6 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let reason = format!("Odd{number}");
            let late = event("Pod", "llama-bcdfgh-0-head-x2b4f", &reason, false, "2030-01-01T00:00:09Z");
            server.0.create(&Kind::EVENT, late).unwrap();
        }
        let mut status = server.llama().data["status"].clone();
        status["groups"][1]["phase"] = json!("Failed");
        status["groups"][1]["phaseSince"] = json!("2030-01-01T00:00:30Z");
        server.0.merge_patch_status(&Kind::FLEET, "serving", "llama", &json!({"status": status})).unwrap();
    };
    let both = futures::future::join(run(&args, &fleets, &terminal), meanwhile);
    assert!(tokio::time::timeout(Duration::from_secs(400), both).await.is_err());
    let text = kept.out();
    for once in
        ["Odd0 of", "Odd1 of", "Odd5 of", "Pulled of llama", "GroupReady of", "Warning  Failed ", "LAST SEEN"]
    {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
}
