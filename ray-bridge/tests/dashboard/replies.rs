//! How recorded replies are read.

use std::time::Duration;

use crate::common::{Fake, bridge, changed, closed_port, id, limits, recorded, silent, target};
use ray_bridge::dashboard::{Dashboard, Filter, JobRequest, JobStatus, Package};
use ray_bridge::placement::{GroupState, Life};
use ray_bridge::{Bridge, CallError, CallErrorKind, Limits, NodeId};
use serde_json::json;

const ACTORS: &str = "GET /api/v0/actors";
const GROUPS: &str = "GET /api/v0/placement_groups";

pub(crate) async fn start() -> (Fake, Dashboard) {
    let fake = Fake::start().await;
    let dashboard = bridge().dashboard(&target(&fake.url, None));
    (fake, dashboard)
}

pub(crate) fn with_limits(url: &url::Url, limits: Limits) -> Dashboard {
    Bridge::new(limits).unwrap().dashboard(&target(url, None))
}

pub(crate) fn request(name: &str) -> JobRequest {
    JobRequest {
        submission_id: id(name),
        entrypoint: "true".to_owned(),
        working_dir: None,
        env_vars: [].into(),
        node: None,
        metadata: [].into(),
    }
}

pub(crate) fn fault<T: std::fmt::Debug>(got: Result<T, CallError>) -> CallErrorKind {
    got.unwrap_err().kind
}

#[tokio::test]
async fn a_job_that_succeeded_has_ended() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/job-hello", [recorded("job_get_succeeded")]);
    let job = dashboard.job(&id("job-hello")).await.unwrap();
    assert_eq!(
        (job.status, job.status.has_ended(), job.driver_exit_code),
        (JobStatus::Succeeded, true, Some(0))
    );
    assert_eq!(job.started.unwrap().as_millisecond(), 1_795_337_323_066);
    assert!(job.metadata.is_empty(), "metadata of others is ignored");
}

#[tokio::test]
async fn jobs_whose_ids_are_not_safe_in_a_url_are_left_out_of_the_list() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/", [recorded("jobs_list")]);
    let jobs = dashboard.jobs().await.unwrap();
    let (hello, job) = jobs.iter().find(|(id, _)| id.as_str() == "job-hello").unwrap();
    assert_eq!((hello.as_str(), job.status), ("job-hello", JobStatus::Succeeded));
    assert!(jobs.iter().all(|(id, _)| !id.as_str().contains('/')), "{jobs:?}");
    let recorded: serde_json::Value = serde_json::from_slice(&recorded("jobs_list").1).unwrap();
    assert!(jobs.len() < recorded.as_array().unwrap().len());
}

#[tokio::test]
async fn a_pending_job_has_no_end_and_null_fields() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/j", [recorded("job_get_pending_infeasible")]);
    let job = dashboard.job(&id("j")).await.unwrap();
    assert_eq!((job.status, job.ended, job.driver_exit_code), (JobStatus::Pending, None, None));
    assert!(job.metadata.is_empty());
}

#[tokio::test]
async fn a_state_of_a_newer_ray_is_unknown_not_an_error() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/j", [changed("job_get_succeeded", |j| j["status"] = json!("HIBERNATING"))]);
    assert_eq!(dashboard.job(&id("j")).await.unwrap().status, JobStatus::Unknown);
}

#[tokio::test]
async fn an_unknown_job_is_not_found_with_the_message_of_ray() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/nope", [recorded("job_get_unknown")]);
    let error = dashboard.job(&id("nope")).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::NotFound { message: "Job nope does not exist".to_owned() });
    assert_eq!(
        error.to_string(),
        "prod/chat-0: dashboard GET /api/jobs/nope: 404 not found: Job nope does not exist"
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_duplicate_submission_id_is_a_conflict_although_ray_answers_500() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [recorded("job_submit_dup")]);
    assert_eq!(fault(dashboard.submit(&request("job-hello")).await), CallErrorKind::Conflict);
}

#[tokio::test]
async fn a_refused_job_gives_the_last_line_of_the_traceback() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [recorded("job_submit_badtype")]);
    let message = "TypeError: entrypoint_num_gpus must be a number, got <class 'str'>".to_owned();
    assert_eq!(
        fault(dashboard.submit(&request("j")).await),
        CallErrorKind::Rejected { status: 400, message }
    );
}

#[tokio::test]
async fn submits_are_never_retried() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [(503, b"busy".to_vec())]);
    let error = dashboard.submit(&request("j")).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn reads_are_retried() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/version", [(503, vec![]), (502, vec![]), recorded("version")]);
    assert_eq!(dashboard.version().await.unwrap().ray_version, "2.60.0");
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test]
async fn stopping_an_ended_job_returns_false() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/a/stop", [recorded("job_stop_running")]);
    fake.on("POST /api/jobs/b/stop", [recorded("job_stop_terminal")]);
    fake.on("POST /api/jobs/c/stop", [recorded("job_stop_unknown")]);
    assert_eq!(dashboard.stop(&id("a")).await, Ok(true));
    assert_eq!(dashboard.stop(&id("b")).await, Ok(false));
    assert!(matches!(fault(dashboard.stop(&id("c")).await), CallErrorKind::NotFound { .. }));
    let target = target(&fake.url, None);
    assert_eq!(bridge().stop(&target, &id("c")).await, Ok(false), "stopping an unknown job succeeds");
}

#[tokio::test]
async fn a_package_that_ray_dropped_is_uploaded_again_and_pinned() {
    let (fake, dashboard) = start().await;
    let package = Package::of(&[("a.py", b"print(1)")]).unwrap();
    let path = package.uri().replace("gcs://", "/api/packages/gcs/");
    fake.on(&format!("GET {path}"), [recorded("package_get_after_gc"), (200, vec![])]);
    fake.on(&format!("PUT {path}"), [(200, vec![])]);
    dashboard.ensure_package(&package).await.unwrap();
    let methods: Vec<String> = fake.asked().into_iter().map(|a| a.method).collect();
    assert_eq!(methods, ["GET", "PUT", "GET"]);
    assert!(fake.asked()[1].body.starts_with(b"PK"));

    dashboard.ensure_package(&package).await.unwrap();
    assert_eq!(fake.asked().len(), 4, "an existing package is only read");
}

#[tokio::test]
async fn a_reply_over_the_limit_is_too_large() {
    let fake = Fake::start().await;
    let dashboard = with_limits(&fake.url, Limits { reply_bytes: 1000, ..limits() });
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_detail")]);
    assert_eq!(fault(dashboard.nodes().await), CallErrorKind::TooLarge { limit: 1000 });
}

#[tokio::test]
async fn html_instead_of_json_is_malformed_and_reported_as_a_page() {
    let (fake, dashboard) = start().await;
    let page = b"<html><head><title>Sign in</title></head></html>".to_vec();
    fake.on("GET /api/version", [(200, page.clone()), (500, page)]);
    let error = dashboard.version().await.unwrap_err();
    assert!(error.to_string().contains("an HTML page instead of Ray's reply: Sign in"), "{error}");
    assert!(matches!(error.kind, CallErrorKind::Malformed { .. }));
    assert!(matches!(fault(dashboard.version().await), CallErrorKind::Rejected { status: 500, .. }));
}

#[tokio::test]
async fn a_dashboard_that_accepts_and_never_answers_times_out() {
    let limits = Limits { call: Duration::from_millis(150), ..limits() };
    let dashboard = with_limits(&silent().await, limits);
    let error = dashboard.version().await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::TimedOut { after_ms: 150 });
    assert!(error.retryable() && error.to_string().ends_with("no answer within 0.150 s"), "{error}");
}

#[tokio::test]
async fn a_port_that_nothing_listens_on_is_refused() {
    let dashboard = with_limits(&closed_port().await, limits());
    let error = dashboard.version().await.unwrap_err();
    assert!(matches!(error.kind, CallErrorKind::Unreachable { refused: true, .. }), "{error}");
    assert!(error.retryable());
}

#[tokio::test]
async fn dead_nodes_are_listed_and_free_gpus_come_from_another_reply() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_one_dead")]);
    fake.on("GET /api/cluster_status", [recorded("cluster_status_pg_pending")]);
    let gpu_use = dashboard.gpu_use().await.unwrap();
    let mut used: Vec<f64> = gpu_use.values().map(|u| u.used).collect();
    used.sort_by(f64::total_cmp);
    assert_eq!(used, [2.0, 2.0, 4.0], "the head has no GPU and so no entry");

    let nodes: Vec<_> =
        dashboard.nodes().await.unwrap().into_iter().map(|n| n.into_ray_node(&gpu_use)).collect();
    assert_eq!(nodes.iter().filter(|n| n.alive).count(), 3);
    let dead = nodes.iter().find(|n| !n.alive).unwrap();
    assert!(dead.state_message.as_ref().unwrap().contains("health check failed"));
    assert_eq!(nodes.iter().filter(|n| n.is_head).count(), 1);
}

#[tokio::test]
async fn keys_mangled_to_camel_case_do_not_hide_gpus() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_detail")]);
    let busy = NodeId::from("a3c2c1c643f52f6b6decbc127a28aa3e1db3d182a3171bc0403c3a3d");
    let status = changed("cluster_status", |s| {
        let by_node = &mut s["data"]["clusterStatus"]["loadMetricsReport"]["usageByNode"];
        assert!(by_node[busy.as_str()].get("slotW2").is_some(), "slot_w2 is mangled in this reply");
        by_node[busy.as_str()]["GPU"] = json!([3.5, 8.0]);
    });
    fake.on("GET /api/cluster_status", [status]);
    let gpu_use = dashboard.gpu_use().await.unwrap();
    let nodes = dashboard.nodes().await.unwrap();
    let free = |id: &NodeId| {
        let node = nodes.iter().find(|n| &n.node_id == id).unwrap().clone();
        assert!(node.gpus >= 0.0 || node.node_id != busy);
        node.into_ray_node(&gpu_use).gpus_free
    };
    assert_eq!(free(&busy), 4, "half a GPU does not count");
    assert_eq!(free(&"5a9ca91d497e00cae82f7b09bdf73768dae2a1d3e0661845f7d5dcf9".into()), 8);
    assert_eq!(free(&"844171eb5cb461890bda181ad6ea5f9135e68655afc64096b9695c79".into()), 0);
}

#[tokio::test]
async fn all_gpus_are_free_before_the_first_status_report() {
    let (fake, dashboard) = start().await;
    fake.on(
        "GET /api/cluster_status",
        [changed("cluster_status", |s| s["data"]["clusterStatus"] = json!(null))],
    );
    let gpu_use = dashboard.gpu_use().await.unwrap();
    assert!(gpu_use.is_empty());
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_detail")]);
    let free: u32 =
        dashboard.nodes().await.unwrap().into_iter().map(|n| n.into_ray_node(&gpu_use).gpus_free).sum();
    assert_eq!(free, 24);
}

#[tokio::test]
async fn num_restarts_is_a_string() {
    let (fake, dashboard) = start().await;
    let restarted =
        changed("v0_actors_vllm_workers", |a| a["data"]["result"]["result"][0]["num_restarts"] = json!("3"));
    fake.on(ACTORS, [restarted]);
    let actors = dashboard.actors(&[]).await.unwrap();
    assert_eq!((actors[0].num_restarts, actors[1].num_restarts), (3, 0));
}

#[tokio::test]
async fn filters_are_escaped() {
    let (fake, dashboard) = start().await;
    fake.on(ACTORS, [recorded("v0_actors_vllm_workers")]);
    dashboard.actors(&[Filter { key: "name", value: "a&limit=1 ü" }]).await.unwrap();
    assert_eq!(
        fake.asked()[0].path,
        "/api/v0/actors?detail=1&limit=10000&filter_keys=name&filter_predicates=%3D&filter_values=a%26limit%3D1+%C3%BC"
    );
}

#[tokio::test]
async fn missing_and_null_fields_of_an_actor_are_accepted() {
    let (fake, dashboard) = start().await;
    let bare = changed("v0_actors_vllm_workers", |a| {
        a["data"]["result"]["result"] = json!([{"state": "PENDING_CREATION", "node_id": "", "name": null}]);
        a["data"]["result"]["num_filtered"] = json!(1);
    });
    fake.on(ACTORS, [bare]);
    let actors = dashboard.actors(&[]).await.unwrap();
    assert_eq!((actors[0].node_id.as_ref(), actors[0].name.as_str(), actors[0].rank()), (None, "", None));
}

#[tokio::test]
async fn dead_ranks_have_their_cause() {
    let (fake, dashboard) = start().await;
    let dead = changed("v0_actor_dead_sigkill", |a| a["data"]["result"]["num_filtered"] = json!(2));
    fake.on(ACTORS, [dead]);
    let rank = dashboard.actors(&[]).await.unwrap()[0].rank().unwrap();
    let cause = "The actor is dead because it was killed by `ray.kill`.".to_owned();
    assert_eq!((rank.name.tensor_rank, rank.name.stage, rank.life), (0, 1, Life::Dead(cause)));
}

#[tokio::test]
async fn a_list_that_ray_truncated_is_an_error() {
    let (fake, dashboard) = start().await;
    fake.on(ACTORS, [recorded("v0_actor_dead_sigkill")]);
    assert_eq!(
        fault(dashboard.actors(&[]).await),
        CallErrorKind::Malformed { what: "2 of 4 entries".to_owned() }
    );
}

#[tokio::test]
async fn a_refused_filter_gives_the_message_of_ray() {
    let (fake, dashboard) = start().await;
    fake.on(ACTORS, [recorded("v0_actors_filter_bad")]);
    let error = dashboard.actors(&[Filter { key: "nonsense", value: "x" }]).await.unwrap_err();
    assert!(error.to_string().contains("400: The given filter column nonsense is not supported"), "{error}");
}

#[tokio::test]
async fn placement_groups_are_read_in_every_recorded_state() {
    let (fake, dashboard) = start().await;
    let names = ["vllm", "pending", "rescheduling", "removed"];
    fake.on(GROUPS, names.map(|n| recorded(&format!("v0_placement_groups_{n}"))));
    let created = dashboard.placement_groups(&[]).await.unwrap();
    assert_eq!(created[0].state(), GroupState::Created);
    assert_eq!(created[0].reported().iter().map(|b| b.index).collect::<Vec<_>>(), [0, 1, 2, 3]);

    let pending = dashboard.placement_groups(&[]).await.unwrap();
    let waiting = pending.iter().find(|g| g.state() == GroupState::Pending("NO_RESOURCES".to_owned()));
    assert!(waiting.unwrap().reported().iter().all(|b| b.node_id.is_none()), "\"\" is no node");
    assert!(pending.iter().any(|g| g.state() == GroupState::Pending("INFEASIBLE".to_owned())));

    let rescheduling = dashboard.placement_groups(&[]).await.unwrap();
    assert_eq!(rescheduling[0].state(), GroupState::Rescheduling);
    assert_eq!(rescheduling[0].reported().iter().filter(|b| b.node_id.is_none()).count(), 1);

    let removed = dashboard.placement_groups(&[]).await.unwrap();
    assert!(removed.iter().any(|g| g.state() == GroupState::Removed));
}
