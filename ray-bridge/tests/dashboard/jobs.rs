//! Jobs: requests, and pitfalls of their life cycle.

use std::time::Duration;

use proptest::prelude::*;
use ray_bridge::observe::ObserveOptions;
use ray_bridge::{CallErrorKind, SubmissionId};
use serde_json::json;

use crate::common::{bridge, changed, id, recorded, target};
use crate::replies::{fault, request, start};

#[tokio::test]
async fn the_list_of_jobs_is_requested_with_a_trailing_slash() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/", [(200, b"[]".to_vec())]);
    fake.on("GET /api/jobs", [recorded("root404")]);
    assert_eq!(dashboard.jobs().await, Ok(vec![]));
}

proptest! {
    /// Ray accepts any text as an id; ids that would need escaping in a URL are refused here.
    #[test]
    fn ids_that_ray_cannot_find_again_are_refused(text in prop_oneof!["\\PC{0,140}", "[A-Za-z0-9._-]{1,130}", "[a-z./%? #]{1,12}"]) {
        if let Ok(id) = SubmissionId::new(text.clone()) {
            prop_assert_eq!(id.as_str(), text.as_str());
            let url = url::Url::parse(&format!("http://h/api/jobs/{id}/stop")).unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments, ["api", "jobs", text.as_str(), "stop"]);
        } else {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
            prop_assert!(!begins || text.len() > 128 || !text.chars().all(plain), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_job_that_waits_for_a_label_has_that_message() {
    let (fake, dashboard) = start().await;
    fake.on("GET /api/jobs/j", [recorded("job_get_pending_nolabel")]);
    let job = dashboard.job(&id("j")).await.unwrap();
    assert!(!job.status.has_ended());
    assert!(job.message.unwrap().contains("has not started yet"));
}

#[tokio::test]
async fn the_environment_of_a_job_is_not_kept() {
    let (fake, dashboard) = start().await;
    let secret =
        changed("job_get_running", |j| j["runtime_env"] = json!({"env_vars": {"HF_TOKEN": "s3cr3t"}}));
    fake.on("GET /api/jobs/j", [secret]);
    let job = dashboard.job(&id("j")).await.unwrap();
    assert!(!format!("{job:?}").contains("s3cr3t"));
}

#[tokio::test]
async fn deleting_a_running_job_is_refused_with_the_reason() {
    let (fake, dashboard) = start().await;
    fake.on("DELETE /api/jobs/j", [recorded("job_delete_running")]);
    let error = dashboard.delete(&id("j")).await.unwrap_err();
    assert!(error.to_string().ends_with("it is in a non-terminal state RUNNING."), "{error}");
    let gone = dashboard.delete_until_gone(&id("j"), Duration::ZERO, Duration::from_secs(5)).await;
    assert!(matches!(fault(gone), CallErrorKind::Rejected { status: 500, .. }));
}

#[tokio::test]
async fn a_deleted_job_that_comes_back_is_deleted_again() {
    let (fake, dashboard) = start().await;
    let (deleted, unknown) = (recorded("job_delete_stopped"), recorded("job_delete_unknown"));
    // As observed: deleted, gone, and back as FAILED shortly after.
    fake.on("DELETE /api/jobs/j", [deleted.clone(), unknown.clone(), unknown.clone(), deleted, unknown]);
    let settled = Duration::from_millis(50);
    assert_eq!(dashboard.delete_until_gone(&id("j"), settled, Duration::from_secs(20)).await, Ok(2));
    assert_eq!(fake.asked().len(), 4 + 5, "after the deletion it was polled for the whole settling time");
}

#[tokio::test]
async fn deleting_a_job_that_always_comes_back_ends_with_the_time_limit() {
    let (fake, dashboard) = start().await;
    fake.on("DELETE /api/jobs/j", [recorded("job_delete_stopped")]);
    let gone =
        dashboard.delete_until_gone(&id("j"), Duration::from_millis(5), Duration::from_millis(200)).await;
    assert_eq!(fault(gone), CallErrorKind::TimedOut { after_ms: 200 });
}

#[tokio::test]
async fn an_endless_error_is_read_in_part() {
    let (fake, dashboard) = start().await;
    fake.on("POST /api/jobs/", [(400, b"no\n".repeat(1_000_000))]);
    assert_eq!(
        fault(dashboard.submit(&request("j")).await),
        CallErrorKind::Rejected { status: 400, message: "no; no; no".to_owned() }
    );
}

#[tokio::test]
async fn a_restarted_head_has_another_session() {
    let (fake, _) = start().await;
    let again = changed("version", |v| v["session_name"] = json!("session_2027"));
    fake.on("GET /api/version", [recorded("version"), again]);
    fake.on("GET /api/v0/nodes", [recorded("v0_nodes_detail")]);
    fake.on("GET /api/cluster_status", [recorded("cluster_status")]);
    let (bridge, target) = (bridge(), target(&fake.url, None));
    let session = async || {
        bridge.observe(&target, None, ObserveOptions::default()).await.unwrap().cluster.unwrap().session
    };
    assert_ne!(session().await, session().await);
}
