//! The command on the simulated API server.

use std::process::ExitCode;

use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::{Call, Interceptor, Kind, Verdict};
use serde_json::json;

use super::World;
use crate::diagnose::args::DiagnoseArgs;
use crate::diagnose::run;
use crate::fleets::Fleets;
use crate::simulated::Simulated;

/// A server with the objects of a world.
fn server(world: &World) -> Simulated {
    let fleet = serde_json::from_value(world.fleet.clone()).unwrap();
    let server = Simulated::with([fleet]);
    for namespace in ["rayfleet-system", "default"] {
        server.0.create(&Kind::NAMESPACE, json!({"metadata": {"name": namespace}})).unwrap();
    }
    let renewed = server.0.now().to_string();
    let mut lease = world.lease.clone();
    lease["metadata"] = json!({"name": "rayfleet-orchestrator", "namespace": "rayfleet-system"});
    lease["spec"]["renewTime"] = json!(renewed);
    server.0.create(&Kind::LEASE, lease).unwrap();
    server
}

async fn diagnosed(fleets: &Fleets, args: &DiagnoseArgs) -> (ExitCode, String) {
    let kept = Kept::default();
    let code = run(args, fleets, &kept.terminal(Format::Text)).await.unwrap();
    (code, kept.out())
}

struct MayNot(Kind);

impl Interceptor for MayNot {
    fn judge(&self, call: &Call) -> Verdict {
        if call.kind == self.0 { Verdict::Refuse { code: 403, reason: "Forbidden" } } else { Verdict::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn x() {
    let server = server(&World::new());
    let (code, text) = diagnosed(&server.fleets(), &DiagnoseArgs::default()).await;
    println!("{code:?}\n{text}");
    let (code, text) = diagnosed(&server.fleets_with(MayNot(Kind::FLEET)), &DiagnoseArgs::default()).await;
    println!("{code:?}\n{text}");
    server.0.uninstall(&Kind::RAY_CLUSTER);
    let (code, text) = diagnosed(&server.fleets(), &DiagnoseArgs::default()).await;
    println!("{code:?}\n{text}");
    server.0.uninstall(&Kind::FLEET);
    let (code, text) = diagnosed(&server.fleets(), &DiagnoseArgs::default()).await;
    println!("{code:?}\n{text}");
}
