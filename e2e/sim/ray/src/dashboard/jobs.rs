//! The calls about jobs and their logs.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::clock::millis;
use super::super::gcs::{Gcs, Job};
use super::super::message::{Call, Reply};
use super::super::world::World;

/// `rest` is the path behind `/api/jobs/`.
pub(super) fn answer(world: &mut World, cluster: &str, call: &Call, rest: &str) -> Reply {
    let method = call.method.as_str();
    if rest.is_empty() {
        return match method {
            "GET" => {
                let head = world.heads.get(cluster);
                let jobs: Vec<_> =
                    head.into_iter().flat_map(|gcs| gcs.jobs.iter().map(|job| of(gcs, job))).collect();
                Reply::json(200, &jobs)
            }
            "POST" => submit(world, cluster, call),
            _ => Reply::text(405, "405: Method Not Allowed"),
        };
    }
    let (id, what) = rest.split_once('/').unwrap_or((rest, ""));
    let unknown = || Reply::text(404, format!("Job {id} does not exist"));
    let found = world.heads.get(cluster).and_then(|gcs| Some((gcs, gcs.job(id)?)));
    match (method, what, found) {
        (_, "" | "logs" | "stop", None) => unknown(),
        ("GET", "", Some((gcs, job))) => Reply::json(200, &of(gcs, job)),
        ("GET", "logs", Some((gcs, job))) => Reply::json(200, &json!({ "logs": whole_log(gcs, job) })),
        ("POST", "stop", Some(_)) => match world.stop_job(cluster, id) {
            Some(stopped) => Reply::json(200, &json!({ "stopped": stopped })),
            None => unknown(),
        },
        ("DELETE", "", Some(_)) => match world.delete_job(cluster, id) {
            Ok(()) => Reply::json(200, &json!({ "deleted": true })),
            Err((status, text)) => Reply::text(status, text),
        },
        _ => Reply::text(404, "404: Not Found"),
    }
}

fn submit(world: &mut World, cluster: &str, call: &Call) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else {
        return Reply::text(500, "500 Internal Server Error\n\nServer got itself in trouble");
    };
    match world.submit(cluster, &body) {
        Ok(reply) => Reply::json(200, &reply),
        Err((status, text)) => Reply::text(status, text),
    }
}

/// A job, as Ray shows it.
#[derive(Serialize)]
struct Shown<'g> {
    driver_agent_http_address: Option<String>,
    driver_exit_code: Option<i32>,
    driver_info: (),
    driver_node_id: Option<&'g str>,
    end_time: Option<i64>,
    entrypoint: &'g str,
    error_type: Option<&'static str>,
    job_id: (),
    message: &'g str,
    metadata: &'g Value,
    runtime_env: &'g Value,
    start_time: Option<i64>,
    status: &'static str,
    submission_id: &'g str,
    r#type: &'static str,
}

fn of<'g>(gcs: &Gcs, job: &'g Job) -> Shown<'g> {
    let agent = job.node.as_deref().map(|node| format!("http://{}:52365", gcs.ip_of(Some(node))));
    Shown {
        driver_agent_http_address: agent,
        driver_exit_code: job.exit_code,
        driver_info: (),
        driver_node_id: job.node.as_deref(),
        end_time: job.ended.map(millis),
        entrypoint: &job.entrypoint,
        error_type: job.error_type,
        job_id: (),
        message: &job.message,
        metadata: &job.metadata,
        runtime_env: &job.runtime_env,
        start_time: job.began.map(millis),
        status: job.status.word(),
        submission_id: &job.id,
        r#type: "SUBMISSION",
    }
}

/// Empty if its node is dead.
fn whole_log(gcs: &Gcs, job: &Job) -> String {
    let file = job.node.as_ref().filter(|node| gcs.answers(node)).map(|node| (node.clone(), job.id.clone()));
    file.and_then(|file| gcs.logs.get(&file).cloned()).unwrap_or_default()
}

/// The end of a file in a node's logs.
pub(super) fn log_file(gcs: &Gcs, call: &Call) -> Reply {
    let get = |key: &str| call.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
    let (Some(node), Some(file)) = (get("node_id"), get("filename")) else {
        return Reply::text(500, "500 Internal Server Error\n\nServer got itself in trouble");
    };
    if !gcs.answers(node) {
        return Reply::text(500, format!("Agent for node id: {node} doesn't exist."));
    }
    let job = file.strip_prefix("job-driver-").and_then(|rest| rest.strip_suffix(".log")).unwrap_or_default();
    let Some(log) = gcs.logs.get(&(node.to_owned(), job.to_owned())) else {
        return Reply::text(404, format!("Could not find log file: {file}"));
    };
    let wanted = get("lines").and_then(|lines| lines.parse().ok()).unwrap_or(1000_usize);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let end = lines.get(lines.len().saturating_sub(wanted)..).unwrap_or_default();
    Reply { kind: "text/plain", ..Reply::text(200, end.concat()) }
}
