//! The command on the simulated API server.

use rayfleet_cli_kit::Format;
use rayfleet_cli_kit::testing::Kept;
use rayfleet_sim_kube::api::Kind;
use serde_json::{Value, json};

use super::*;
use crate::sample;
use crate::simulated::Simulated;

fn args() -> ApplyArgs {
    ApplyArgs { file: "-".into(), wait: false, timeout: Duration::ZERO, plan: false, force_conflicts: false }
}

fn manifest(edit: impl FnOnce(&mut Value)) -> Vec<Wanted> {
    let mut object = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": {"name": "llama"},
        "spec": sample::spec("ray:2", &[])
    });
    edit(&mut object);
    manifest::fleets(&object.to_string(), "-", "serving").unwrap()
}

async fn applied(
    args: &ApplyArgs,
    wanted: &[Wanted],
    server: &Simulated,
) -> (Result<(), CliError>, String, String) {
    let kept = Kept::default();
    let outcome = apply(args, wanted, &server.fleets(), &kept.terminal(Format::Text)).await;
    (outcome, kept.out(), kept.progress())
}

#[tokio::test(start_paused = true)]
async fn a_fleet_is_planned_and_then_applied() {
    let server = Simulated::with([]);
    let (outcome, text, progress) =
        applied(&ApplyArgs { plan: true, ..args() }, &manifest(|_| {}), &server).await;
    outcome.unwrap();
    insta::assert_snapshot!(text + &progress);
    assert_eq!(server.llama().data["spec"]["replicas"], 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_if_one_fleet_is_refused() {
    let server = Simulated::with([]);
    let mut wanted = manifest(|_| {});
    wanted.extend(manifest(|fleet| {
        fleet["metadata"]["name"] = json!("other");
        fleet["spec"]["replicas"] = json!("two");
    }));
    let (outcome, text, _) = applied(&args(), &wanted, &server).await;
    assert_eq!((outcome.unwrap_err().code(), text.as_str()), (1, ""));
    assert!(server.0.list(&Kind::FLEET).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_as_rollout_status_does() {
    let server = Simulated::with([sample::upgrading()]);
    let timeout = Duration::from_secs(90);
    let (outcome, text, _) =
        applied(&ApplyArgs { wait: true, timeout, ..args() }, &manifest(|_| {}), &server).await;
    let fault = outcome.unwrap_err();
    assert_eq!(fault.code(), 1);
    assert!(fault.to_string().starts_with("error: timed out after 90s: Waiting for"), "{fault}");
    assert!(
        text.starts_with("rayclusterfleet.orchestration.aibrix.ai/llama serverside-applied\n["),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_kubectl_applied_is_taken_over() {
    let mut fleet = sample::upgrading();
    fleet.metadata.annotations = Some([(managers::LAST_APPLIED.to_owned(), "{}".to_owned())].into());
    let entry = json!({
        "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:paused": {}}}
    });
    fleet.metadata.managed_fields = Some(vec![serde_json::from_value(entry).unwrap()]);
    let server = Simulated::with([fleet]);
    let wanted = manifest(|_| {});
    applied(&args(), &wanted, &server).await.0.unwrap();
    let live = server.llama();
    let last = &live.metadata.annotations.as_ref().unwrap()[managers::LAST_APPLIED];
    assert_eq!(serde_json::from_str::<Value>(last).unwrap(), wanted[0].object);
    let owners: Vec<_> =
        live.metadata.managed_fields.iter().flatten().map(|it| it.manager.as_deref()).collect();
    assert_eq!(owners, [Some("kubectl")]);
    // Tried, applied, the last manifest, the managers, and applied again.
    assert_eq!(server.patches().len(), 5);
}
