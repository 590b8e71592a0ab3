//! What the API server, a policy, a quota or the rules refuse holds the change and costs a condition; what is there is looked after.

use super::*;

const QUOTA: &str =
    "rayclusters.ray.io is forbidden: exceeded quota: q, requested: count/rayclusters.ray.io=1";

#[tokio::test(start_paused = true)]
async fn a_running_template_is_not_tried_again_despite_the_quota() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let fleet = with_groups(raw_fleet(), &revision);
    let bench = bench_of(fleet.clone(), |call| {
        (call.method == Method::POST && call.path.contains("rayclusters"))
            .then(|| refusal(403, "Forbidden", QUOTA))
    });
    bench.controller.index.reset(clusters(&fleet));
    let sent = bench.sent().await;
    assert!(!sent.iter().any(|call| call.contains("POST rayclusters")), "{sent:#?}");
    assert_ne!(bench.status().rollout.unwrap().step, RolloutStep::InvalidTemplate);
}

#[tokio::test(start_paused = true)]
async fn a_quota_costs_the_group_and_is_named_and_tried_again() {
    let bench = bench_of(raw_fleet(), |call| {
        (call.method == Method::POST && call.path.contains("rayclusters"))
            .then(|| refusal(403, "Forbidden", QUOTA))
    });
    let made = |calls: &[String]| calls.iter().filter(|call| *call == "POST rayclusters").count();
    assert_eq!(made(&bench.sent().await), 2);
    let wake = bench.pass().await.unwrap();
    assert!(wake.is_some_and(|wake| wake <= rayfleet_api::valid::after(clock::now(), TRY_AGAIN)), "{wake:?}");
    assert_eq!(bench.condition("ReplicaFailure").as_deref(), Some("True/CreateRefused"));
    let message = bench.status().groups[0].message.clone().unwrap();
    assert!(message.contains("exceeded quota: q") && message.contains("raise the quota"), "{message}");
    assert_eq!(made(&bench.sent().await), 0, "not at every look");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(made(&bench.sent().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_refuses_a_template_holds_the_change_and_is_asked_again_with_growing_waits() {
    let denied = "rayclusters.ray.io is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: label";
    let bench = bench_of(raw_fleet(), move |call| {
        call.path.contains("dryRun").then(|| refusal(422, "Invalid", denied))
    });
    let asked = |calls: &[String]| calls.iter().filter(|call| call.ends_with("as a trial")).count();
    assert_eq!(asked(&bench.sent().await), 1);
    assert_eq!(bench.status().rollout.unwrap().step, RolloutStep::CreateRefused);
    assert_eq!(bench.condition("ReplicaFailure").as_deref(), Some("True/CreateRefused"));
    assert_eq!(bench.condition("Stalled").as_deref(), Some("False/NotStalled"));
    for wait in [1, 2, 4, 8] {
        assert_eq!(asked(&bench.sent().await), 0);
        tokio::time::advance(Duration::from_secs(wait)).await;
        assert_eq!(asked(&bench.sent().await), 1, "after {wait} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_made_costs_a_condition_and_nothing_else() {
    let bench = bench_of(raw_fleet(), |call| {
        (call.method == Method::POST && call.path.contains("/services")).then(|| {
            refusal(403, "Forbidden", "services \"f\" is forbidden: exceeded quota: q, requested: services=1")
        })
    });
    let sent = bench.sent().await;
    assert_eq!(sent.iter().filter(|call| *call == "POST rayclusters").count(), 2, "{sent:#?}");
    bench.pass().await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    bench.pass().await.unwrap();
    assert_eq!(bench.condition("ServiceFailed").as_deref(), Some("True/QuotaExceeded"));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_made_holds_up_only_groups_of_its_revision() {
    let bench = bench_of(raw_fleet(), |call| {
        (call.method == Method::POST && call.path.contains("/controllerrevisions"))
            .then(|| refusal(500, "InternalError", "etcd is full"))
    });
    let sent = bench.sent().await;
    assert!(sent.contains(&"POST services".to_owned()), "{sent:#?}");
    assert!(!sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    bench.pass().await.unwrap();
    assert_eq!(bench.condition("HistoryFailed").as_deref(), Some("True/WriteFailed"));
    let status = bench.status();
    assert_eq!((status.groups.len(), status.rollout.unwrap().step.as_str()), (0, "CreateRefused"));
}

/// `--port=9000` was taken by the API server, under an older CRD, and is refused by the orchestrator.
fn with_owned_argument(mut fleet: RayClusterFleet) -> RayClusterFleet {
    let model = fleet.spec.model.as_mut().unwrap();
    model.engine.get_or_insert_default().args = vec!["--port=9000".into()];
    fleet.metadata.generation = Some(4);
    fleet
}

#[tokio::test(start_paused = true)]
async fn a_refused_spec_is_stood_in_for_by_the_revision_that_groups_run() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let fleet = with_groups(with_owned_argument(raw_fleet()), &revision);
    let bench = bench_of(fleet.clone(), |_| None);
    bench.controller.index.reset(clusters(&fleet)[..1].to_vec());
    bench.controller.index.reset(vec![record_of(&raw_fleet())]);
    // One RayCluster is gone: it is made again of the old revision, and nothing of the refused one is on record.
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    assert!(
        !sent.iter().any(|call| call.contains("controllerrevisions") || call.contains("trial")),
        "{sent:#?}"
    );
    let status = bench.status();
    assert_eq!((status.observed_generation, status.updated_replicas), (Some(4), 0));
    assert_eq!(bench.condition("Progressing").as_deref(), Some("False/InvalidSpec"));
    assert!(status.groups.iter().all(|group| group.revision == revision.pod), "{status:#?}");
    assert!(status.groups.iter().all(|group| group.engine_revision == revision.engine), "{status:#?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_record_a_refused_fleet_is_looked_after_and_nothing_is_made() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let fleet = with_groups(with_owned_argument(raw_fleet()), &revision);
    let bench = bench_of(fleet.clone(), |_| None);
    bench.controller.index.reset(clusters(&fleet)[..1].to_vec());
    let mut sent = bench.sent().await;
    sent.extend(bench.sent().await);
    assert!(!sent.contains(&"POST rayclusters".to_owned()), "{sent:#?}");
    // That a RayCluster is gone is observed all the same.
    let status = bench.status();
    assert_eq!((status.groups.len(), status.replicas), (1, 1), "{status:#?}");
}

#[tokio::test(start_paused = true)]
async fn while_kuberay_is_missing_from_the_start_no_group_is_taken_for_gone() {
    let revision = ValidFleet::new(&raw_fleet()).unwrap().revision;
    let fleet = with_groups(raw_fleet(), &revision);
    let bench = bench_of(fleet.clone(), |_| None);
    let index = Arc::new(Index::default());
    list_all_but_clusters(&index, fleet);
    let bench = Bench::of(bench.server, index);
    bench.no_kuberay();
    bench.pass().await.unwrap();
    let status = bench.status();
    assert_eq!(status.rollout.unwrap().step, RolloutStep::KubeRayMissing);
    assert!(status.groups.iter().all(|group| group.goal == rayfleet_api::status::Goal::Serve));
}
