//! The command on the simulated API server.

use std::time::Duration;

use rayfleet_api::names;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_cli_kit::{Format, clock};
use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::{Value, json};

use super::World;
use crate::diagnose::args::DiagnoseArgs;
use crate::diagnose::run;
use crate::fleets::Fleets;
use crate::simulated::Simulated;

/// A server with the objects of a world.
fn server(world: &World) -> Simulated {
    let fleet = serde_json::from_value(world.fleet.clone()).unwrap();
    let server = Simulated::with([fleet]);
    server.0.create(&Kind::NAMESPACE, json!({"metadata": {"name": "rayfleet-system"}})).unwrap();
    let generation = server.llama().metadata.generation;
    let observed = json!({"status": {"observedGeneration": generation}});
    server.0.merge_patch_status(&Kind::FLEET, "serving", "llama", &observed).unwrap();
    let mut lease = world.lease.clone();
    lease["metadata"] = json!({"name": "rayfleet-orchestrator", "namespace": "rayfleet-system"});
    // The server says no time of its own, so that this machine's counts.
    lease["spec"]["renewTime"] = json!(format!("{:.6}", clock::now()));
    server.0.create(&Kind::LEASE, lease).unwrap();
    for node in world.nodes.values() {
        server.0.create(&Kind::NODE, node.clone()).unwrap();
        let name = node["metadata"]["name"].as_str().unwrap();
        let status = json!({"status": node["status"]});
        server.0.merge_patch_status(&Kind::NODE, "", name, &status).unwrap();
    }
    let put = |kind: &Kind, objects: &[Value]| {
        for object in objects {
            let mut object = object.clone();
            object["metadata"]["labels"][names::LABEL_FLEET] = json!("llama");
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            server.0.create(kind, object.clone()).unwrap();
            let status = json!({"status": object["status"]});
            server.0.merge_patch_status(kind, "serving", &name, &status).unwrap();
        }
    };
    put(&Kind::RAY_CLUSTER, &world.clusters);
    put(&Kind::POD, &world.pods);
    let service =
        json!({"metadata": {"name": "llama", "namespace": "serving"}, "spec": {"ports": [{"port": 8000}]}});
    server.0.create(&Kind::SERVICE, service).unwrap();
    let endpoints = world
        .endpoints
        .iter()
        .map(|it| json!({"addresses": [it.address], "conditions": {"ready": it.ready}}));
    let slice = json!({
        "metadata": {
            "name": "llama-1", "namespace": "serving", "labels": {"kubernetes.io/service-name": "llama"}
        },
        "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<_>>()
    });
    server.0.create(&Kind::ENDPOINT_SLICE, slice).unwrap();
    server
}

/// The exit code, and what is printed.
async fn diagnosed(fleets: &Fleets, args: &DiagnoseArgs) -> (u8, String) {
    let kept = Kept::default();
    let done = run(args, fleets, &kept.terminal(Format::Text)).await;
    assert!(done.as_ref().err().is_none_or(|fault| fault.message.is_empty()), "{done:?}");
    (done.err().map_or(0, |fault| fault.code()), kept.out())
}

struct MayNot(Kind);

impl Interceptor for MayNot {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::Refuse { code: 403, reason: "Forbidden" } } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_followed_from_the_server_to_its_pods() {
    let mut world = World::new();
    let server = self::server(&world);
    for args in [
        DiagnoseArgs::default(),
        DiagnoseArgs { fleet: Some("llama".to_owned()), ..DiagnoseArgs::default() },
        DiagnoseArgs { all_namespaces: true, ..DiagnoseArgs::default() },
    ] {
        let (code, text) = diagnosed(&server.fleets(), &args).await;
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("all is well: 2 of 2 groups take traffic"), "{text}");
    }
    world.enter(1, &json!({"phase": "Provisioning", "phaseSince": "2026-03-01T12:06:00Z"}));
    world.container(
        1,
        "worker",
        &json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
        &Value::Null,
    );
    let (code, text) = diagnosed(&self::server(&world).fleets(), &DiagnoseArgs::default()).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("error: group llama-bcdfgh-1: image registry.example.com/vllm-ray:1 cannot"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_server_refuses_or_lacks_is_a_finding() {
    let server = server(&World::new());
    let all = DiagnoseArgs::default();
    let other = DiagnoseArgs { fleet: Some("other".to_owned()), ..DiagnoseArgs::default() };
    let (code, text) = diagnosed(&server.fleets(), &other).await;
    assert_eq!(code, 1);
    assert!(text.contains("error: rayclusterfleets.orchestration.aibrix.ai \"other\" not found"), "{text}");

    let (code, text) = diagnosed(&server.fleets_with(MayNot(Kind::FLEET)), &all).await;
    assert_eq!(code, 1);
    assert!(text.contains("error: you may not list rayclusterfleets"), "{text}");

    let (code, text) = diagnosed(&server.fleets_with(MayNot(Kind::POD)), &all).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("?     pods          you may not list pods in namespace serving"), "{text}");

    server.0.uninstall(&Kind::RAY_CLUSTER);
    let (code, text) = diagnosed(&server.fleets(), &all).await;
    assert_eq!(code, 1);
    assert!(text.contains("error: the API server knows no rayclusters.ray.io"), "{text}");

    server.0.uninstall(&Kind::FLEET);
    let (code, text) = diagnosed(&server.fleets(), &all).await;
    assert_eq!(code, 1);
    assert!(text.contains("Rayfleet is not installed\n"), "{text}");
}

struct Silent;

impl Interceptor for Silent {
    fn judge(&self, _: &Call) -> Verdict {
        Verdict::LoseBefore
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let server = server(&World::new());
    let (code, text) = diagnosed(&server.fleets_with(Silent), &DiagnoseArgs::default()).await;
    assert_eq!(code, 1);
    assert!(
        text.contains("error: no answer from the API server https://simulated within 10s\ncure:  "),
        "{text}"
    );
}

struct Loses(Kind);

impl Interceptor for Loses {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::LoseBefore } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_read_in_time_are_no_ok() {
    let server = server(&World::new());
    let (code, text) = diagnosed(&server.fleets_with(Loses(Kind::POD)), &DiagnoseArgs::default()).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("?     pods          pods: no answer from the API server"), "{text}");
    assert!(text.contains("\nnot everything was read: "), "{text}");
}

/// Its time is an hour old by the clock of whoever asks, and it is written again.
#[tokio::test(start_paused = true)]
async fn a_lease_of_an_odd_time_is_watched() {
    let server = server(&World::new());
    let set = |time: &str| {
        let renewed = json!({"spec": {"renewTime": time}});
        server.0.merge_patch(&Kind::LEASE, "rayfleet-system", "rayfleet-orchestrator", &renewed).unwrap();
    };
    set("2020-03-01T11:00:00.000000Z");
    let (code, text) = diagnosed(&server.fleets(), &DiagnoseArgs::default()).await;
    assert!(code == 1 && text.contains("error: no orchestrator leads: lease"), "{text}");
    let (fleets, args) = (server.fleets(), DiagnoseArgs::default());
    let renewal = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        set("2020-03-01T11:00:02.000000Z");
    };
    let ((code, text), ()) = futures::join!(diagnosed(&fleets, &args), renewal);
    assert!(code == 0 && text.contains("and renews its lease; its clock differs"), "{text}");
}
