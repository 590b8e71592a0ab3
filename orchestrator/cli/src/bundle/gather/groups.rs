//! What pods say: their logs, and what Ray's dashboards and the engines answer through the API server's proxy, by the paths that `logs`
//! and `top` ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use rayfleet_api::LaunchId;
use rayfleet_api::names::LABEL_FLEET;
use serde_json::Value;
use tokio::time::Instant;

use super::calls::Calls;
use super::objects::Objects;
use crate::bundle::manifest::{Entry, Fault, What};
use crate::bundle::select::Query;
use crate::bundle::tail::{Tail, tail};
use crate::fleets::Fleets;
use crate::logs::dashboard::{self, Dashboard, NoAnswer};
use crate::logs::facts::{Pod, World};
use crate::top::target::{RayPod, Target, ray_pods};
use crate::view::Fleet;

/// Ranks' own files of one group: the engine's log has their lines, too.
const RANKS: usize = 64;
/// Longest list of Ray, in bytes.
const LONGEST_LIST: usize = 8 << 20;
/// Longest text of metrics, in bytes; `top` reads no longer one.
const LONGEST_METRICS: usize = 2 << 20;
/// Lists of a dashboard that no command reads, for people.
const LISTS: [(&str, &str); 4] = [
    ("version", "api/version"),
    ("jobs", "api/jobs/"),
    ("nodes", "api/v0/nodes?detail=1&limit=10000"),
    ("placement-groups", "api/v0/placement_groups?detail=1&limit=10000"),
];

/// Something that was asked of a pod.
pub(in crate::bundle) struct Said {
    pub(in crate::bundle) entry: Entry,
    /// Its name in the bundle.
    pub(in crate::bundle) name: String,
    pub(in crate::bundle) answer: Result<Tail, Fault>,
}

/// A fleet, as its logs are found.
pub(super) struct OfFleet {
    fleets: Fleets,
    world: Arc<World>,
    targets: Vec<Target>,
    pods: Vec<RayPod>,
}

/// The fleets of these objects.
pub(super) fn of_fleets(objects: &Objects<'_>, fleets: &Fleets) -> Vec<OfFleet> {
    let of = |object: &Value| {
        let object: DynamicObject = serde_json::from_value(object.clone()).ok()?;
        let fleet = Fleet::read(&object);
        let pods: Vec<&Value> = objects
            .of("pods")
            .filter(|pod| pod["metadata"]["namespace"] == *fleet.namespace)
            .filter(|pod| pod["metadata"]["labels"][LABEL_FLEET] == *fleet.name)
            .collect();
        let named = pods
            .iter()
            .filter_map(|pod| Some((pod["metadata"]["name"].as_str()?.to_owned(), Pod::read(pod)?)));
        let world = World { groups: World::groups(&fleet), pods: named.collect() };
        let pods = pods.iter().filter_map(|pod| ray_pods(&pod.to_string())).flatten().collect();
        Some(OfFleet {
            fleets: Fleets { namespace: fleet.namespace.clone(), ..fleets.clone() },
            world: Arc::new(world),
            targets: Target::all(&object),
            pods,
        })
    };
    objects.of("rayclusterfleets").filter_map(of).collect()
}

/// How much is read of a log.
#[derive(Clone, Copy, Debug)]
pub(in crate::bundle) struct Bounds {
    pub(in crate::bundle) bytes: usize,
    pub(in crate::bundle) lines: u64,
    pub(in crate::bundle) since_seconds: Option<u64>,
}

/// The time of answers: that of the bundle, and what has passed since.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) began: Timestamp,
    pub(super) start: Instant,
}

impl Clock {
    fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or_default();
        self.began.checked_add(passed).unwrap_or(self.began)
    }
}

/// The metrics of engines, once.
pub(super) async fn engines(of: &[OfFleet], clock: Clock, at_once: usize) -> Vec<Said> {
    let asks = of.iter().flat_map(|fleet| {
        fleet.targets.iter().filter_map(|target| {
            let (pod, port) = target.engine().ok()?;
            Some(metrics(fleet, clock, pod, port))
        })
    });
    futures::stream::iter(asks.collect::<Vec<_>>()).buffered(at_once).collect().await
}

/// Ray's own metrics of pods.
pub(super) async fn gpus(of: &[OfFleet], clock: Clock, at_once: usize) -> Vec<Said> {
    let asks =
        of.iter().flat_map(|fleet| fleet.pods.iter().map(|pod| metrics(fleet, clock, &pod.name, pod.port)));
    futures::stream::iter(asks.collect::<Vec<_>>()).buffered(at_once).collect().await
}

async fn metrics(of: &OfFleet, clock: Clock, pod: &str, port: u16) -> Said {
    let namespace = &of.fleets.namespace;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics");
    let calls = Calls { fleets: &of.fleets };
    let answer = calls.tail(&path, LONGEST_METRICS).await;
    let answered = Some(clock.now());
    let name = format!("metrics/{namespace}/{pod}-{port}.txt");
    Said { entry: Entry { path, what: What::Answer, answered, ..Entry::default() }, name, answer }
}

/// What each group's dashboard says, with the logs that Ray keeps.
pub(super) async fn dashboards(of: &OfFleet, group: &str, bounds: Bounds, began: Timestamp) -> Vec<Said> {
    let Some((pod, head)) = of.world.head(group).filter(|(_, head)| !head.ip.is_empty()) else {
        return Vec::new();
    };
    let mut asking = Asking {
        dashboard: Dashboard { fleets: &of.fleets, pod, head },
        group,
        bounds,
        began,
        said: Vec::new(),
    };
    // One that says nothing is not asked for the rest: each would take as long.
    let launch = of.world.groups.get(group).and_then(|group| group.launch.clone());
    for (name, path) in LISTS {
        if asking.list(name, path).await.is_none() {
            return asking.said;
        }
    }
    let Some(launch) = launch else { return asking.said };
    let before = LaunchId { number: launch.number.saturating_sub(1), ..launch.clone() };
    for launch in [Some(launch), Some(before).filter(|before| before.number > 0)].into_iter().flatten() {
        let job = asking.list(&format!("job-{launch}"), &dashboard::job_path(&launch)).await;
        if let Some(node) = job.and_then(|job| dashboard::node_of(&job)) {
            asking.log(&format!("engine-{launch}"), &dashboard::job_file(&launch, &node)).await;
        }
    }
    let Some(actors) = asking.list("ranks", &dashboard::ranks_path()).await else { return asking.said };
    let shape = of.world.groups.get(group).and_then(|group| group.shape);
    for rank in dashboard::ranks(&actors, shape).into_iter().take(RANKS) {
        for error in [false, true] {
            let name = format!("rank-{}.{}", rank.number, if error { "err" } else { "out" });
            asking.log(&name, &dashboard::actor_file(&rank.actor, error)).await;
        }
    }
    asking.said
}

/// The groups of a fleet.
pub(super) fn groups(of: &OfFleet) -> Vec<String> {
    of.world.groups.keys().cloned().collect()
}

struct Asking<'a> {
    dashboard: Dashboard<'a>,
    group: &'a str,
    bounds: Bounds,
    began: Timestamp,
    said: Vec<Said>,
}

impl Asking<'_> {
    /// An answer as JSON; `None` if there is none.
    async fn list(&mut self, name: &str, path: &str) -> Option<Value> {
        let answer = self.answer(path, LONGEST_LIST).await;
        let value = answer.as_ref().ok().and_then(|tail| serde_json::from_slice(&tail.bytes).ok());
        self.put(&format!("{name}.json"), path, answer);
        value
    }

    /// The end of a log.
    async fn log(&mut self, name: &str, which: &str) {
        let limit = self.dashboard.fleets.timeout.as_secs().max(1);
        let path = format!("api/v0/logs/file?{which}&lines={}&timeout={limit}", self.bounds.lines);
        let mut answer = self.answer(&path, self.bounds.bytes).await;
        if let (Ok(tail), Some(seconds)) = (&mut answer, self.bounds.since_seconds) {
            since(tail, seconds, self.began);
        }
        self.put(&format!("{name}.log"), &path, answer);
    }

    async fn answer(&self, path: &str, most: usize) -> Result<Tail, Fault> {
        let calls = Calls { fleets: self.dashboard.fleets };
        match self.dashboard.get(path).await {
            Ok(stream) => Ok(tail(std::pin::pin!(stream), most, calls.patience()).await),
            Err(NoAnswer::Refused(fault)) => {
                Err(Fault { code: 403, reason: "Forbidden".to_owned(), message: fault.message })
            }
            Err(NoAnswer::Late(why)) => Err(Fault::late(why)),
            Err(NoAnswer::NotNow(why)) => Err(Fault::silent(why)),
        }
    }

    fn put(&mut self, name: &str, path: &str, answer: Result<Tail, Fault>) {
        let url = self.dashboard.url(path);
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let query = Query::parse(query).without(&crate::bundle::replay::BOUNDS);
        let entry = Entry { path: path.to_owned(), query, what: What::Answer, ..Entry::default() };
        let name = format!("ray/{}/{}/{name}", self.dashboard.fleets.namespace, self.group);
        self.said.push(Said { entry, name, answer });
    }
}

/// Leaves out what was written before: up to the first line that says a later time.
fn since(tail: &mut Tail, seconds: u64, began: Timestamp) {
    let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let Ok(from) = began.checked_sub(span) else { return };
    let text = String::from_utf8_lossy(&tail.bytes).into_owned();
    let is_old = |line: &&str| {
        let plain = rayfleet_cli_kit::clean::line(line.trim_end());
        crate::logs::time(&plain, began).is_none_or(|time| time < from)
    };
    let old: usize = text.split_inclusive('\n').take_while(is_old).map(str::len).sum();
    tail.bytes = text.get(old..).unwrap_or_default().as_bytes().to_vec();
    tail.before = tail.before.saturating_add(u64::try_from(old).unwrap_or(u64::MAX));
}

/// A container of which a log is read.
#[derive(Clone, Debug)]
pub(super) struct Container {
    namespace: String,
    pod: String,
    name: String,
    previous: bool,
}

/// The containers of pods that have a log: of the fleets' and of the operators'.
pub(super) fn containers(objects: &Objects<'_>) -> Vec<Container> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let (ours, operators): (Vec<&Value>, Vec<&Value>) =
        objects.of("pods").partition(|pod| !pod["metadata"]["labels"][LABEL_FLEET].is_null());
    for pod in operators.into_iter().chain(ours) {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        if !seen.insert((namespace.clone(), name.clone())) {
            continue;
        }
        for (container, restarts) in started(pod) {
            for previous in [false, true].into_iter().take(if restarts > 0 { 2 } else { 1 }) {
                let (namespace, pod) = (namespace.clone(), name.clone());
                all.push(Container { namespace, pod, name: container.clone(), previous });
            }
        }
    }
    all
}

/// Containers of a pod that run or have run, and how often they began again.
fn started(pod: &Value) -> BTreeMap<String, i64> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let all = statuses.into_iter().flat_map(|field| pod["status"][field].as_array().into_iter().flatten());
    all.filter_map(|status| {
        let restarts = status["restartCount"].as_i64().unwrap_or_default();
        let state = &status["state"];
        let started = restarts > 0 || !state["running"].is_null() || !state["terminated"].is_null();
        Some((status["name"].as_str()?.to_owned(), restarts)).filter(|_| started)
    })
    .collect()
}

/// The log of a container, with the time of each line.
pub(super) async fn log(fleets: &Fleets, of: &Container, bounds: Bounds) -> Said {
    let Container { namespace, pod, name, previous } = of;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
    let escaped: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let query = format!("container={escaped}{}", if *previous { "&previous=true" } else { "" });
    let since =
        bounds.since_seconds.map(|seconds| format!("&sinceSeconds={}", seconds.max(1))).unwrap_or_default();
    let uri = format!("{path}?{query}&timestamps=true&tailLines={}{since}", bounds.lines);
    let answer = Calls { fleets }.tail(&uri, bounds.bytes).await;
    let end = if *previous { ".previous" } else { "" };
    Said {
        entry: Entry { path, query, what: What::Log, ..Entry::default() },
        name: format!("logs/{namespace}/{pod}/{name}{end}.log"),
        answer,
    }
}
