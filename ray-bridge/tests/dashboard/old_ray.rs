//! Ray 2.46, with its recorded replies: what it lacks, and the fallbacks.

use std::collections::BTreeMap;

use ray_bridge::dashboard::{Authentication, JobRequest, JobStatus};
use ray_bridge::{CallErrorKind, NodeId};
use serde_json::{Value, json};

use crate::common::{changed, id, recorded};
use crate::replies::{fault, request, start};

const NODE: &str = "c42bfb4baa3a5293b1e920d651e87298957056c419c47dbe13827776";

fn pinned(name: &str) -> JobRequest {
    JobRequest { node: Some(NodeId::from(NODE)), ..request(name) }
}

#[tokio::test]
async fn a_ray_without_label_selectors_pins_the_job_by_address() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [recorded("ray-2.46/job_submit_label"), (200, b"{}".to_vec())]);
    fake.on("GET /api/v0/nodes", [recorded("ray-2.46/v0_nodes_detail")]);
    dashboard.submit(&pinned("j")).await.unwrap();
    assert_eq!(fake.calls(), ["GET /api/v0/nodes", "POST /api/jobs/", "POST /api/jobs/"]);
    let sent: Value = serde_json::from_slice(&fake.asked()[2].body).unwrap();
    assert_eq!(sent["entrypoint_resources"], json!({"node:127.0.0.1": 0.001}));
    assert_eq!((sent.get("entrypoint_label_selector"), &sent["submission_id"]), (None, &json!("j")));
}

#[tokio::test]
async fn a_job_for_an_unknown_node_is_not_submitted_to_an_older_ray() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [recorded("ray-2.46/job_submit_label")]);
    fake.on("GET /api/v0/nodes", [recorded("ray-2.46/v0_nodes_detail")]);
    let elsewhere = JobRequest { node: Some(NodeId::from("ab12")), ..request("j") };
    let error = dashboard.submit(&elsewhere).await.unwrap_err();
    assert!(
        error.to_string().contains("node ab12, on which the job must run, is not in the cluster"),
        "{error}"
    );
    assert_eq!(fake.calls(), ["GET /api/v0/nodes", "POST /api/jobs/"]);
}

#[tokio::test]
async fn other_refusals_are_not_mistaken_for_an_older_ray() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [recorded("job_submit_badtype")]);
    assert!(matches!(
        fault(dashboard.submit(&pinned("j")).await),
        CallErrorKind::Rejected { status: 400, .. }
    ));
    fake.on("POST /api/jobs/", [recorded("ray-2.46/job_submit_dup")]);
    assert_eq!(fault(dashboard.submit(&pinned("j")).await), CallErrorKind::Conflict);
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn without_a_list_of_metrics_targets_they_are_derived_from_the_nodes() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/prometheus/sd", [recorded("ray-2.46/prometheus_sd")]);
    fake.on("GET /nodes", [recorded("ray-2.46/nodes_summary")]);
    let found = dashboard.metrics_targets().await.unwrap();
    assert_eq!(found[0].targets, ["127.0.0.1:50416"]);
    assert_eq!(found[0].labels, BTreeMap::from([("job".to_owned(), "ray".to_owned())]));
}

#[tokio::test]
async fn a_ray_without_authentication_is_open() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/authentication_mode", [recorded("ray-2.46/auth_mode")]);
    assert_eq!(dashboard.authentication().await, Ok(Authentication::Open));
}

#[tokio::test]
async fn agents_of_an_older_ray_use_the_default_port() {
    let (fake, dashboard) = start().await;
    fake.on("GET /nodes", [recorded("ray-2.46/nodes_summary")]);
    let node = dashboard.node_summaries().await.unwrap().remove(0);
    assert_eq!((node.agent_port, node.hostname.as_str()), (Some(52365), "head-0"));
}

#[tokio::test]
async fn an_empty_log_of_an_older_ray_is_empty() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/long", [recorded("ray-2.46/job_get_running")]);
    // Its call for the end of a file fails if there is nothing to send.
    fake.on(
        "GET /api/v0/logs/file",
        [(500, b"500 Internal Server Error\n\nServer got itself in trouble".to_vec())],
    );
    fake.on("GET /api/jobs/long/logs", [changed("ray-2.46/job_logs", |l| l["logs"] = json!(""))]);
    assert_eq!(dashboard.log_tail(&id("long")).await.as_deref(), Ok(""));
}

#[tokio::test]
async fn every_request_has_a_user_agent() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/version", [recorded("ray-2.46/version")]);
    dashboard.version().await.unwrap();
    dashboard.log_stream(&id("long"), 0).await.unwrap_err();
    let senders: Vec<String> =
        fake.asked().into_iter().map(|asked| asked.user_agent.unwrap_or_default()).collect();
    assert!(senders.iter().all(|sender| sender.starts_with("ray-bridge/")), "{senders:?}");
}

#[tokio::test]
async fn nodes_jobs_and_logs_of_an_older_ray_are_read_like_those_of_a_newer_one() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/version", [recorded("ray-2.46/version")]);
    fake.on("GET /api/v0/nodes", [recorded("ray-2.46/v0_nodes_detail")]);
    fake.on("GET /api/cluster_status", [recorded("ray-2.46/cluster_status")]);
    fake.on("GET /api/jobs/", [recorded("ray-2.46/jobs_list")]);
    fake.on("GET /api/jobs/long", [recorded("ray-2.46/job_get_running")]);
    fake.on("GET /api/jobs/long2", [recorded("ray-2.46/job_get_failed")]);
    fake.on("GET /api/v0/actors", [recorded("ray-2.46/v0_actors_supervisor")]);
    fake.on("GET /api/v0/logs/file", [recorded("ray-2.46/v0_logs_file")]);
    fake.on("DELETE /api/jobs/long", [recorded("ray-2.46/job_delete_running")]);

    assert_eq!(dashboard.version().await.unwrap().ray_version, "2.46.0");
    let gpu_use = dashboard.gpu_use().await.unwrap();
    let node = dashboard.nodes().await.unwrap().remove(0).into_ray_node(&gpu_use);
    assert_eq!((node.gpus_total, node.gpus_free, node.is_head, node.ip.as_str()), (2, 2, true, "127.0.0.1"));
    let job = dashboard.job(&id("long")).await.unwrap();
    assert_eq!((job.status, job.driver_node_id.as_ref()), (JobStatus::Running, Some(&NodeId::from(NODE))));
    assert_eq!(dashboard.job(&id("long2")).await.unwrap().driver_exit_code, Some(7));
    assert_eq!(dashboard.jobs().await.unwrap().len(), 1);
    let supervisor = dashboard.actors(&[]).await.unwrap().remove(0);
    assert_eq!(
        (supervisor.state.as_str(), supervisor.name.as_str()),
        ("ALIVE", "_ray_internal_job_actor_long")
    );
    assert!(dashboard.log_tail(&id("long")).await.unwrap().ends_with("line 1\nline 2\n"));
    let refused = dashboard.delete(&id("long")).await.unwrap_err();
    assert!(refused.to_string().ends_with("it is in a non-terminal state RUNNING."), "{refused}");
}
