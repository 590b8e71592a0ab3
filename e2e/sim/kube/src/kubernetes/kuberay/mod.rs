//! KubeRay's operator, as version 1.6.2 behaves: when it reconciles a RayCluster, and in which order. Ray's
//! autoscaler itself and GCS fault tolerance are not simulated: Rayfleet's groups use neither.

mod build;
mod event;
mod pods;
mod status;
mod valid;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rayfleet_api::valid::after;
use serde_json::{Value, json};

use self::build::Builder;
use self::pods::Failure;
use super::drive::{Simulator, earlier};
use super::object::{Key, controlled_by, is_deleting, items, key, name, namespace, uid};
use super::options::Options;
use super::switches::Switches;
use crate::api::{ApiServer, Kind, Refusal};

/// How long a restarted operator waits: until the lease of its predecessor has expired.
pub(super) const RESTART: Duration = Duration::from_secs(17);
/// It reconciles again this long after a status that it wrote.
const AGAIN: Duration = Duration::from_secs(2);
/// Interval at which it reconciles everything.
const RESYNC: Duration = Duration::from_mins(5);
/// Back-off after failures: the first, doubled each time, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1_000));

/// What is remembered of a RayCluster between two reconciliations.
#[derive(Default)]
struct Known {
    saw: u64,
    due: Option<Timestamp>,
    resync: Option<Timestamp>,
    failures: u32,
}

pub(super) struct Operator {
    lag: Duration,
    head_cluster_ip: bool,
    switches: Switches,
    builder: Builder,
    starts: u64,
    known: BTreeMap<Key, Known>,
}

impl Operator {
    pub(super) fn new(options: &Options, switches: Switches, seed: u64) -> Self {
        let builder = Builder::new(Rng::with_seed(seed), options.grace_period);
        let (lag, head_cluster_ip) = (options.kuberay_lag, options.head_cluster_ip);
        Self { lag, head_cluster_ip, switches, builder, starts: 0, known: BTreeMap::new() }
    }
}

impl Simulator for Operator {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::RAY_CLUSTER, Kind::POD, Kind::SERVICE, Kind::SECRET]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let (starts, up_at) = self.switches.kuberay();
        if starts != self.starts {
            self.starts = starts;
            self.known.clear();
        }
        if let Some(up_at) = up_at.filter(|up_at| now < *up_at) {
            return Some(up_at);
        }
        let clusters = api.list(&Kind::RAY_CLUSTER);
        let owned = Owned::read(api);
        self.known.retain(|known, _| clusters.iter().any(|cluster| key(cluster) == *known));
        let mut wake = None;
        for cluster in &clusters {
            let known = self.known.entry(key(cluster)).or_default();
            let sees = owned.picture(cluster);
            if known.saw != sees {
                known.saw = sees;
                known.due = earlier(known.due, Some(after(now, self.lag)));
            }
            let due = earlier(known.due, known.resync);
            if due.is_some_and(|due| due <= now) {
                known.due = None;
                known.resync = None;
                look(api, &mut self.builder, self.head_cluster_ip, cluster, known, now);
            }
            wake = earlier(wake, earlier(known.due, known.resync));
        }
        wake
    }
}

/// One reconciliation. Returns when the next is due if nothing changes.
fn look(
    api: &ApiServer,
    builder: &mut Builder,
    head_cluster_ip: bool,
    cluster: &Value,
    known: &mut Known,
    now: Timestamp,
) {
    if let Some((reason, message)) = valid::violation(cluster) {
        // An invalid cluster gets no status, no condition and no requeue: only this event.
        event::warn(api, cluster, reason, &message, now);
        return;
    }
    let foreign = |manager: &Value| manager.is_string() && *manager != "ray.io/kuberay-operator";
    if is_deleting(cluster) || foreign(&cluster["spec"]["managedBy"]) {
        return;
    }
    let outcome = reconcile(api, builder, head_cluster_ip, cluster, now);
    let wrote = status::write(api, cluster, outcome.as_ref().err(), now);
    if outcome.is_err() {
        let wait = RETRY.0.saturating_mul(2_u32.saturating_pow(known.failures)).min(RETRY.1);
        known.failures = known.failures.saturating_add(1);
        known.due = earlier(known.due, Some(after(now, wait)));
    } else {
        known.failures = 0;
        known.resync = Some(after(now, if wrote { AGAIN } else { RESYNC }));
    }
}

/// Reconciles Secret, Service and pods, in this order, until one fails.
fn reconcile(
    api: &ApiServer,
    builder: &mut Builder,
    head_cluster_ip: bool,
    cluster: &Value,
    now: Timestamp,
) -> Result<(), Failure> {
    token(api, builder, cluster).map_err(|_| Failure::Other)?;
    head_service(api, head_cluster_ip, cluster, now)?;
    pods::reconcile(api, builder, cluster, now)
}

/// Creates the Secret with the token. `authOptions` without a mode creates one too, and does not turn
/// authentication on.
fn token(api: &ApiServer, builder: &mut Builder, cluster: &Value) -> Result<(), Refusal> {
    let auth = &cluster["spec"]["authOptions"];
    let own = auth["secretName"].as_str().is_none_or(str::is_empty);
    if !auth.is_object() || auth["mode"] == "disabled" || !own {
        return Ok(());
    }
    let secret = build::secret_name(name(cluster));
    if api.get(&Kind::SECRET, namespace(cluster), &secret).is_some() {
        return Ok(());
    }
    // The token is the Base64 text of 32 random bytes, and Secret data is Base64 once more.
    let token = json!(ByteString(builder.random_bytes(32)));
    let data = json!(ByteString(token.as_str().unwrap_or_default().as_bytes().to_vec()));
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": secret, "namespace": namespace(cluster), "labels": {"ray.io/cluster": name(cluster)},
            "ownerReferences": controlled_by(cluster, "ray.io/v1", "RayCluster"),
        },
        "data": {"auth_token": data},
    });
    api.create(&Kind::SECRET, object).map(drop)
}

/// Creates the Service if there is none. An existing one is never updated.
fn head_service(api: &ApiServer, cluster_ip: bool, cluster: &Value, now: Timestamp) -> Result<(), Failure> {
    match status::head_services(api, cluster).len() {
        0 => {}
        1 => return Ok(()),
        _ => return Err(Failure::Other),
    }
    let made = api.create(&Kind::SERVICE, build::head_service(cluster, cluster_ip));
    made.map(drop).map_err(|refusal| {
        let (namespace, name) = (namespace(cluster), name(cluster));
        let message = format!("Failed creating service {namespace}/{name}-head-svc, {}", refusal.message);
        event::warn(api, cluster, "FailedToCreateService", &message, now);
        Failure::Other
    })
}

/// What may trigger a reconciliation, besides the RayClusters themselves.
struct Owned {
    objects: Vec<Arc<Value>>,
}

impl Owned {
    fn read(api: &ApiServer) -> Self {
        let kinds = [Kind::POD, Kind::SERVICE, Kind::SECRET];
        Self { objects: kinds.iter().flat_map(|kind| api.list(kind)).collect() }
    }

    /// Hash of the cluster without its status, and of what a cluster of its name owns, whichever UID that
    /// had.
    fn picture(&self, cluster: &Value) -> u64 {
        let mut hasher = DefaultHasher::new();
        let metadata = &cluster["metadata"];
        for field in ["uid", "generation", "labels", "annotations", "deletionTimestamp"] {
            metadata[field].hash(&mut hasher);
        }
        let is_owner = |owner: &Value| owner["kind"] == "RayCluster" && owner["name"] == name(cluster);
        for object in self.objects.iter().filter(|object| namespace(object) == namespace(cluster)) {
            if items(&object["metadata"]["ownerReferences"]).iter().any(is_owner) {
                uid(object).hash(&mut hasher);
                object["metadata"]["resourceVersion"].hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}
