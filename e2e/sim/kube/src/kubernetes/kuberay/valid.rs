//! Validation by KubeRay of clusters that the API server accepted. It reports a refusal in one event and
//! nowhere else.

use serde_json::Value;

use super::super::object::{items, name, namespace};

/// Reason and message of the event, if the cluster is refused.
pub(super) fn violation(cluster: &Value) -> Option<(&'static str, String)> {
    let place = format!("{}/{}", namespace(cluster), name(cluster));
    if let Some(cause) = bad_name(name(cluster)) {
        return Some((
            "InvalidRayClusterMetadata",
            format!("The RayCluster metadata is invalid {place}: {cause}"),
        ));
    }
    let cause = bad_spec(&cluster["spec"])?;
    Some(("InvalidRayClusterSpec", format!("The RayCluster spec is invalid {place}: {cause}")))
}

fn bad_name(name: &str) -> Option<String> {
    if name.len() > 53 {
        return Some("RayCluster name should be no more than 53 characters".to_owned());
    }
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(inside);
    (!label).then(|| {
        "RayCluster name should be a valid DNS1035 label: [a DNS-1035 label must consist of lower case \
         alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character]"
            .to_owned()
    })
}

fn bad_spec(spec: &Value) -> Option<String> {
    let head = &spec["headGroupSpec"];
    if items(&head["template"]["spec"]["containers"]).is_empty() {
        return Some("headGroupSpec should have at least one container".to_owned());
    }
    bad_resources("Head", head)
        .or_else(|| items(&spec["workerGroupSpecs"]).iter().find_map(bad_group))
        .or_else(|| bad_env(&head["template"]["spec"]["containers"][0]))
        .or_else(|| bad_auth(spec))
}

fn bad_resources(name: &str, group: &Value) -> Option<String> {
    let params = &group["rayStartParams"];
    let set = ["num-cpus", "num-gpus", "memory", "resources"].iter().any(|key| params[*key].is_string());
    if set && group["resources"].as_object().is_some_and(|given| !given.is_empty()) {
        return Some(format!(
            "resource fields should not be set in both rayStartParams and Resources for {name} group; please use \
             only one"
        ));
    }
    params["labels"].is_string().then(|| {
        format!(
            "rayStartParams['labels'] is not supported for {name} group; please use the top-level Labels field instead"
        )
    })
}

fn bad_group(group: &Value) -> Option<String> {
    let name = group["groupName"].as_str().unwrap_or_default();
    if items(&group["template"]["spec"]["containers"]).is_empty() {
        return Some("workerGroupSpec should have at least one container".to_owned());
    }
    let (least, most) = (group["minReplicas"].as_i64(), group["maxReplicas"].as_i64());
    let (Some(least), Some(most)) = (least, most) else {
        return Some(format!(
            "worker group {name} must set both minReplicas and maxReplicas when autoscaling is disabled"
        ));
    };
    if least < 0 {
        return Some(format!("worker group {name} has negative minReplicas {least}"));
    }
    if most < 0 {
        return Some(format!("worker group {name} has negative maxReplicas {most}"));
    }
    if least > most {
        return Some(format!("worker group {name} has minReplicas {least} greater than maxReplicas {most}"));
    }
    bad_resources(name, group)
}

fn bad_env(head: &Value) -> Option<String> {
    let has = |name: &str| items(&head["env"]).iter().any(|variable| variable["name"] == name);
    if has("RAY_REDIS_ADDRESS") {
        return Some(
            "RAY_REDIS_ADDRESS is set which implicitly enables GCS fault tolerance, but GcsFaultToleranceOptions is \
             not set. Please set GcsFaultToleranceOptions to enable GCS fault tolerance"
                .to_owned(),
        );
    }
    has("REDIS_USERNAME").then(|| {
        "cannot set redis username in rayStartParams or environment variables - use \
         GcsFaultToleranceOptions.RedisUsername instead"
            .to_owned()
    })
}

fn bad_auth(spec: &Value) -> Option<String> {
    if spec["authOptions"]["mode"] != "token" {
        return None;
    }
    let Some(version) = spec["rayVersion"].as_str().filter(|version| !version.is_empty()) else {
        return Some(
            "authOptions.mode is 'token' but RayVersion was not specified. Ray version 2.52.0 or later is required"
                .to_owned(),
        );
    };
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Some(format!(
            "authOptions.mode is 'token' but RayVersion format is invalid: {version}, could not parse \"{version}\" \
             as version"
        ));
    };
    ((major, minor) < (2, 52))
        .then(|| format!("authOptions.mode is 'token' but minimum Ray version is 2.52.0, got {version}"))
}
