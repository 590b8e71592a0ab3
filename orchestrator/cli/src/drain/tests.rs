//! The command on the simulated API server.

use std::fmt::Write;
use std::time::Duration;

use rayfleet_api::names::{LABEL_FLEET, RAY_LABEL_CLUSTER};
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{CliError, Format};
use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::json;

use super::args::DrainArgs;
use super::run;
use crate::fleets::Fleets;
use crate::sample;
use crate::simulated::Simulated;

const GROUP: &str = "llama-bcdfgh-0";

/// A fleet that is complete, the RayCluster of its first group, a pod of it on node-a, and a RayCluster of nobody.
fn server() -> Simulated {
    let mut fleet = sample::upgrading();
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        fleet.data["status"][field] = json!(2);
    }
    let server = Simulated::with([fleet]);
    for (name, labels) in [(GROUP, json!({LABEL_FLEET: "llama"})), ("someones-own", json!({}))] {
        let cluster = json!({"metadata": {"name": name, "namespace": "serving", "labels": labels}, "spec": {"headGroupSpec": {"template": sample::template("ray:1")["spec"]["headGroupSpec"]["template"]}}});
        server.0.create(&Kind::RAY_CLUSTER, cluster).unwrap();
        let pod = json!({
            "metadata": {"name": format!("{name}-head"), "namespace": "serving", "labels": {RAY_LABEL_CLUSTER: name}},
            "spec": {"nodeName": "node-a", "containers": [{"name": "ray", "image": "ray:1"}]}
        });
        server.0.create(&Kind::POD, pod).unwrap();
    }
    server.0.create(&Kind::NODE, json!({"metadata": {"name": "node-a"}, "spec": {}})).unwrap();
    server
}

async fn drained(name: &str, seconds: u64, fleets: &Fleets, kept: &Kept) -> Result<(), CliError> {
    let args = DrainArgs { name: name.to_owned(), timeout: Duration::from_secs(seconds) };
    run(&args, fleets, &kept.terminal(Format::Text)).await
}

async fn later() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_asked_for_another_one_and_followed() {
    let (server, kept) = (server(), Kept::default());
    let replaced = async {
        later().await;
        let groups = server.llama().data["status"]["groups"].as_array().unwrap()[1..].to_vec();
        let status = json!({"status": {"groups": groups}});
        server.0.merge_patch_status(&Kind::FLEET, "serving", "llama", &status).unwrap();
    };
    let fleets = server.fleets();
    let (outcome, ()) = futures::future::join(drained(GROUP, 60, &fleets, &kept), replaced).await;
    outcome.unwrap();
    assert_eq!(server.patches(), [json!({"metadata": {"annotations": {"rayfleet.io/replace": "true"}}})]);
    let text = kept.out();
    assert!(text.starts_with(&format!("group {GROUP} of fleet llama is to be replaced\n")), "{text}");
    assert!(text.contains(&format!("\ngroup {GROUP} was replaced: 2 of 2 groups available (")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn time_that_is_up_says_how_to_take_it_back() {
    for name in [GROUP, "node-a"] {
        let fault = drained(name, 90, &server().fleets(), &Kept::default()).await.unwrap_err();
        assert_eq!(fault.code(), 1);
        let back = if name == GROUP {
            "kubectl annotate raycluster llama-bcdfgh-0 rayfleet.io/replace- -n serving"
        } else {
            "kubectl uncordon node-a"
        };
        let text = fault.to_string();
        assert!(text.starts_with("error: timed out after 90s: ") && text.contains(back), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_cordoned_and_followed_until_no_group_is_there() {
    let (server, kept) = (server(), Kept::default());
    let moved = async {
        later().await;
        server.0.remove(&Kind::POD, "serving", &format!("{GROUP}-head")).unwrap();
    };
    let fleets = server.fleets();
    let (outcome, ()) = futures::future::join(drained("node-a", 600, &fleets, &kept), moved).await;
    outcome.unwrap();
    assert_eq!(server.0.get(&Kind::NODE, "", "node-a").unwrap()["spec"]["unschedulable"], true);
    let text = kept.out();
    assert!(text.starts_with("node/node-a cordoned\n"), "{text}");
    assert!(
        text.contains("Waiting for 1 group to leave node/node-a:\n  serving/llama-bcdfgh-0 is Ready"),
        "{text}"
    );
    assert!(text.contains("node/node-a has no pod of a group; empty it: kubectl drain node-a"), "{text}");
    // Whether or not there is such a thing as a RayCluster.
    server.0.uninstall(&Kind::RAY_CLUSTER);
    assert!(drained("node-a", 600, &fleets, &kept).await.is_ok());
    assert_eq!(server.patches().len(), 1, "it was cordoned already");
}

/// Reads no node.
struct Tenant;

impl Interceptor for Tenant {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == Kind::NODE {
            Verdict::Refuse { code: 403, reason: "Forbidden" }
        } else {
            Verdict::Pass
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_stands_for_nothing_or_for_two_things_is_refused() {
    let server = server();
    server.0.create(&Kind::NODE, json!({"metadata": {"name": GROUP}, "spec": {}})).unwrap();
    let mut faults = String::new();
    for name in [GROUP, "nobody", "pod/x", "someones-own", "node/nobody"] {
        let fault = drained(name, 1, &server.fleets(), &Kept::default()).await.unwrap_err();
        writeln!(faults, "{}: {fault}\n", fault.code()).unwrap();
    }
    insta::assert_snapshot!(faults);
    assert!(server.patches().is_empty());
    // Without the right to read nodes a group is still a group.
    let fault = drained(GROUP, 1, &server.fleets_with(Tenant), &Kept::default()).await.unwrap_err();
    assert!(fault.to_string().contains("timed out"), "{fault}");
}
