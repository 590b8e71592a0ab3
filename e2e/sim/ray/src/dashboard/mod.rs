//! A head's dashboard: who may ask, and which call is which. The replies are those of Ray 2.60.

mod entries;
mod jobs;
mod state;
mod status;

use serde_json::json;

use super::message::{Call, Reply};
use super::world::World;

/// Paths that are open to everybody.
const OPEN: [&str; 2] = ["/api/gcs_healthz", "/api/authentication_mode"];
/// How long a package is kept that was just read.
const PINNED: std::time::Duration = std::time::Duration::from_mins(10);

/// The reply to a call; `None` if the head is gone.
pub(super) fn answer(world: &mut World, cluster: &str, call: &Call) -> Option<Reply> {
    let now = world.now;
    let gcs = world.heads.get_mut(cluster)?;
    if let Some(token) = gcs.token.as_ref().filter(|_| !OPEN.contains(&call.path.as_str())) {
        let wanted = format!("Bearer {token}");
        match &call.authorization {
            None => return Some(Reply::text(401, "Unauthorized: Missing authentication token")),
            Some(given) if *given != wanted => {
                return Some(Reply::text(403, "Forbidden: Invalid authentication token"));
            }
            Some(_) => {}
        }
    }
    let path = call.path.as_str();
    Some(match (call.method.as_str(), path) {
        ("GET", "/api/version") => Reply::json(
            200,
            &json!({
                "version": "4", "ray_version": "2.60.0", "ray_commit": "b7f4259e944bf6959f721b106adc366ddfa0c356",
                "session_name": gcs.session,
            }),
        ),
        ("GET", "/api/authentication_mode") => {
            let mode = if gcs.token.is_some() { "token" } else { "disabled" };
            Reply::json(200, &json!({ "authentication_mode": mode }))
        }
        ("GET", "/api/gcs_healthz") => {
            Reply { kind: "application/text; charset=utf-8", ..Reply::text(200, "success") }
        }
        ("GET", "/api/cluster_status") => Reply::json(200, &status::of(gcs, now)),
        ("GET", "/api/v0/nodes") => state::nodes(gcs, call),
        ("GET", "/api/v0/actors") => state::actors(gcs, call),
        ("GET", "/api/v0/placement_groups") => state::groups(gcs, call),
        ("GET", "/api/v0/logs/file") => jobs::log_file(gcs, call),
        (method, _) => match path.strip_prefix("/api/packages/gcs/") {
            Some(name) => package(gcs, method, name, now),
            None => match path.strip_prefix("/api/jobs/") {
                Some(rest) => jobs::answer(world, cluster, call, rest),
                None => Reply::text(404, "404: Not Found"),
            },
        },
    })
}

fn package(gcs: &mut super::gcs::Gcs, method: &str, name: &str, now: std::time::Duration) -> Reply {
    use super::gcs::Package;
    match (method, gcs.packages.get_mut(name)) {
        ("PUT", found) => {
            if found.is_none() {
                gcs.packages.insert(name.to_owned(), Package { pinned: now, used: false });
            }
            Reply::text(200, "")
        }
        ("GET", Some(package)) => {
            package.pinned = now + PINNED;
            Reply::text(200, "")
        }
        ("GET", None) => Reply::text(404, format!("Package gcs://{name} does not exist")),
        _ => Reply::text(405, "405: Method Not Allowed"),
    }
}
