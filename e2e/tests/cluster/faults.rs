//! Every fault of a group, on real pods: whether the cause is reported correctly, how soon traffic stops,
//! how soon the recovery starts, and whether the group is complete afterwards with nothing left over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_e2e::cluster::diagnosis::{Cause, Diagnosis, Said};
use rayfleet_e2e::cluster::endpoint::Endpoint;
use rayfleet_e2e::cluster::fleet::Fleet;
use rayfleet_e2e::cluster::leader;
use rayfleet_e2e::cluster::manifest::Manifest;
use rayfleet_e2e::cluster::pods::{FleetPod, pods};
use rayfleet_e2e::cluster::processes::{self, Process, cluster_tool, the_one};
use rayfleet_e2e::cluster::ray::last_submitted;
use rayfleet_e2e::cluster::ready::groups;
use rayfleet_e2e::cluster::{call, until};
use rayfleet_e2e::demo::places;
use rayfleet_e2e::{clock, load};
use serde_json::json;
use tokio::task::JoinSet;

use crate::light;
use crate::suite::Suite;

const HUNG_AFTER: f64 = 5.0;
/// Interval at which a fault is observed: its times have this precision.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for anything; [`FAULTS`] has the limits of each fault.
const PATIENCE: Duration = Duration::from_mins(3);
/// Longest time until a fault that lasts is named.
const DIAGNOSED: Duration = Duration::from_mins(1);
const PROMPT: &str = "Hi";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    RankKilled,
    CoreKilled,
    ApiServerKilled,
    RankStopped,
    DashboardStopped,
    PathCut,
    RayletKilled,
    HeadKilled,
    NodeLost,
}

/// Limits in seconds: until traffic has stopped, and until the recovery has started.
type Limits = (f64, f64);

/// A fault, words of the cause that the fleet must report (of several, parted by `|`, one), and within how many seconds its
/// traffic must stop and the recovery from it must have started: `None` where the engine serves all the same, so that nothing
/// may stop. The aims are 2 s and 3 s for what is dead, and `hungAfter` more for what hangs; some is granted to traffic that
/// a busy machine sees late. Whether a container or a machine comes back is not known at once.
type Case = (Fault, &'static str, &'static str, Option<Limits>);

/// What `kubectl rayfleet diagnose` must say of a fault, and what it may say before: what ended a container or a machine is known
/// later than that Ray or the engine is gone.
struct Diagnosed {
    cause: Cause,
    before: Cause,
}

fn diagnosis(fault: Fault) -> Diagnosed {
    let at_once = |cause| Diagnosed { cause, before: &[] };
    match fault {
        Fault::RankKilled => at_once(&[("Engine", "RankDied")]),
        Fault::CoreKilled | Fault::ApiServerKilled => at_once(&[("Engine", "EngineDied")]),
        Fault::RankStopped => at_once(&[("Engine", "Hung")]),
        Fault::DashboardStopped | Fault::PathCut => at_once(&[("Placement", "dashboard does not answer")]),
        // The group may be re-created before the container's end is seen: its reason has that then.
        Fault::RayletKilled | Fault::HeadKilled => Diagnosed {
            cause: &[("Pods", "with exit code"), ("Engine", "with exit code")],
            before: &[
                ("Pods", "pods have not all been ready"),
                ("Ray", "lost Ray"),
                ("Engine", "EngineDied"),
                ("Engine", "HeadLost"),
                ("Engine", "NodeLost"),
            ],
        },
        Fault::NodeLost => Diagnosed {
            cause: &[
                ("Nodes", "is lost"),
                ("Nodes", "is not ready"),
                ("Engine", "NodeLost"),
                ("Engine", "no sign of life"),
            ],
            before: &[],
        },
    }
}

const FAULTS: [Case; 7] = [
    (Fault::RankKilled, "SIGKILL of a rank", "died", Some((3.0, 3.0))),
    (Fault::CoreKilled, "SIGKILL of the engine core", "engine", Some((3.0, 3.0))),
    (
        Fault::RankStopped,
        "SIGSTOP of a rank, under a request",
        "the engine hangs",
        Some((HUNG_AFTER + 3.0, HUNG_AFTER + 3.0)),
    ),
    (Fault::PathCut, "network cut to the dashboard", "cannot be read", None),
    (Fault::RayletKilled, "SIGKILL of a raylet", "pods are ready|lost|died", Some((6.0, HUNG_AFTER + 6.0))),
    (Fault::HeadKilled, "SIGKILL of the head", "pods are ready|head is", Some((6.0, HUNG_AFTER + 6.0))),
    // Its group may be re-created before Kubernetes notices the lost node, possibly elsewhere.
    (Fault::NodeLost, "power loss of a node", "is lost|no sign of life", Some((15.0, 45.0))),
];

/// To the fleet each of these is what one of [`FAULTS`] is: an engine that has died, a dashboard that does not answer. That
/// `ray-bridge` reports both as that is tested on Ray alone, so here they are tried only when named.
const ALIKE: [Case; 2] = [
    (Fault::ApiServerKilled, "SIGKILL of the API server", "engine", Some((3.0, 3.0))),
    (Fault::DashboardStopped, "SIGSTOP of the dashboard", "cannot be read", None),
];

pub(crate) async fn all(suite: &Suite) -> anyhow::Result<()> {
    let fleet = each(suite, &FAULTS).await?;
    let blamed = fleet.get().await?.status.unwrap_or_default().node_failures;
    for entry in &blamed {
        suite
            .console
            .say(format_args!("node {}: {} failures, the last: {}", entry.node, entry.failures, entry.cause));
    }
    ensure!(!blamed.is_empty(), "no node was named for a rank that died on it");
    fleet.delete(Duration::from_mins(1)).await
}

pub(crate) async fn alike(suite: &Suite) -> anyhow::Result<()> {
    let fleet = each(suite, &ALIKE).await?;
    fleet.delete(Duration::from_mins(1)).await
}

/// Does one after the other to a fleet, which it leaves behind.
async fn each(suite: &Suite, faults: &[Case]) -> anyhow::Result<Fleet> {
    ensure!(processes::is_local(), "faults need the local cluster: hack/e2e faults");
    let manifest = manifest()?;
    let (fleet, _) = light::ensure_fleet(suite, &manifest).await?;
    let mut late = Vec::new();
    let mut rows = Vec::new();
    for &(fault, name, cause, limit) in faults {
        let row = one(suite, &fleet, fault, cause, limit).await.with_context(|| name.to_owned())?;
        let line = format!("{name}: {}", row.words());
        suite.console.say(&line);
        match row.named {
            Ok(said) => suite.console.say(said.row(name)),
            Err(error) => late.push(format!("{name}: {error:#}")),
        }
        if let Some((closed_by, started_by)) = limit {
            for (what, after, limit) in
                [("traffic stopped", row.closed, closed_by), ("recovery started", row.started, started_by)]
            {
                let after = after.unwrap_or(f64::INFINITY);
                if after > limit {
                    late.push(format!("{name}: {what} after {after:.1} s, {limit} s allowed"));
                }
            }
        }
        rows.push(line);
    }
    ensure!(late.is_empty(), "{}", late.join("; "));
    suite
        .console
        .say(format_args!("all {} faults were reported, recovered from and left nothing", rows.len()));
    Ok(fleet)
}

fn manifest() -> anyhow::Result<Manifest> {
    light::manifest()?.with("/metadata/name", json!("faults"))?.with("/spec/replicas", json!(1))?.with(
        "/spec/failurePolicy",
        json!({
            "engineRestarts": 50, "backoff": {"initial": "1s", "max": "1s"},
            "hungAfter": format!("{HUNG_AFTER}s"), "avoidNodeAfter": 0
        }),
    )
}

/// Times of one fault, in seconds since its injection.
struct Row {
    reported: f64,
    /// What `kubectl rayfleet diagnose` said first, or why that was wrong.
    named: anyhow::Result<Said>,
    closed: Option<f64>,
    /// The ledger reports that the engine or the group has failed, and the next action. The stop of the
    /// rest of the engine is requested in the same step.
    started: Option<f64>,
    /// Ray has accepted the next engine, by its own clock. The end of the old one comes before, and a
    /// back-off, or new pods.
    launched: Option<f64>,
    ready: f64,
    cause: String,
}

impl Row {
    fn words(&self) -> String {
        let time = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.1} s"));
        format!(
            "reported {:.1} s, traffic stopped {}, recovery started {}, next launch {}, ready {:.1} s: {}",
            self.reported,
            time(self.closed),
            time(self.started),
            time(self.launched),
            self.ready,
            self.cause.chars().take(160).collect::<String>()
        )
    }
}

async fn one(
    suite: &Suite,
    fleet: &Fleet,
    fault: Fault,
    cause: &str,
    limit: Option<Limits>,
) -> anyhow::Result<Row> {
    light::settle(suite, fleet, PATIENCE).await?;
    // Reports about the previous fault must be gone, or they would be attributed to this one.
    let silent = |group: &GroupStatus| group.message.is_none() && group.goal_reason.is_none();
    let group = fleet
        .follow("have nothing to report", PATIENCE, |fleet| {
            groups(fleet?).first().filter(|group| silent(group)).cloned()
        })
        .await?;
    let all = pods(fleet).await?;
    let of_role = |head: bool| all.iter().find(|pod| pod.head == head).context("a pod is missing");
    let (head, worker) = (of_role(true)?.clone(), of_role(false)?.clone());
    if fault == Fault::NodeLost {
        // This fault does not measure how soon another replica takes over.
        let leads = leader::keep_off(&fleet.cluster, &worker.node).await?;
        suite.console.say(format_args!("{} on {} leads", leads.pod, leads.node));
    }

    let mut requests = JoinSet::new();
    if fault == Fault::RankStopped {
        let endpoint = Endpoint::of(&fleet.cluster, &fleet.name, &suite.tools).await?;
        // The request is cut off when the engine is stopped, as intended.
        requests.spawn(async move {
            load::complete(&endpoint.target, "light", PROMPT, 400, PATIENCE)
                .await
                .map(drop)
                .unwrap_or_default();
        });
        let busy = |group: &GroupStatus| group.in_flight.is_some_and(|number| number > 0);
        fleet
            .follow("have the request", PATIENCE, |fleet| groups(fleet?).iter().any(busy).then_some(()))
            .await?;
    }
    let watch = Watch::start(fleet, &group);
    let diagnosed = Diagnosis::begin(&suite.tools);
    let start = clock::instant();
    let stopped = inflict(fault, &head, &worker).await?;
    let (reported, said) = watch.reported(cause).await.with_context(|| format!("waiting for `{cause}`"))?;
    let reported_after = seconds(start, reported);
    let Diagnosed { cause, before } = diagnosis(fault);
    let named = diagnosed.named_after(&fleet.name, cause, DIAGNOSED).await;
    if limit.is_none() {
        end(fault, &stopped, &head).await?;
    } else {
        watch.started().await?;
    }
    if fault == Fault::NodeLost {
        // The fleet becomes ready without the node: this fault tests that.
        let after = light::settle(suite, fleet, PATIENCE).await?;
        places::check(fleet, &after).await?;
        cluster_tool(&["start-node", &worker.node]).await?;
    }
    let after = light::settle(suite, fleet, PATIENCE).await?;
    let ready = clock::seconds_since(start);
    places::check(fleet, &after).await?;
    let reports = watch.reports();
    let mut launched = None;
    if limit.is_none() {
        ensure!(reports.closed.is_none(), "an engine that serves lost its traffic");
        let launch = groups(&after).first().map(|group| (group.name.clone(), group.launch));
        ensure!(
            launch == Some((group.name.clone(), group.launch)),
            "an engine that serves was replaced: {launch:?}"
        );
    } else {
        ensure!(reports.closed.is_some(), "traffic never stopped");
        let now = groups(&after).first().context("the group is gone")?;
        let submitted = last_submitted(fleet, &now.name, &pods(fleet).await?).await?;
        launched = Some(clock::seconds_since(start) - clock::seconds_since_time(submitted));
        nothing_left(fleet, &group, &after.status.unwrap_or_default().groups).await?;
    }
    let named = named.and_then(|said| {
        // With a machine go others than the group, such as KubeRay's operator, and each is a cause of its own.
        if fault != Fault::NodeLost {
            diagnosed.only(&fleet.name, &[cause, before])?;
        }
        Ok(said)
    });
    let after_start = |moment: Option<Instant>| moment.map(|moment| seconds(start, moment));
    let (closed, started) = (after_start(reports.closed), after_start(reports.started));
    Ok(Row { reported: reported_after, named, closed, started, launched, ready, cause: said })
}

fn seconds(start: Instant, moment: Instant) -> f64 {
    moment.saturating_duration_since(start).as_secs_f64()
}

/// Injects the fault; returns the processes that must be resumed afterwards.
async fn inflict(fault: Fault, head: &FleetPod, worker: &FleetPod) -> anyhow::Result<Vec<Process>> {
    match fault {
        Fault::RankKilled => the_one(worker, "ray::RayWorkerProc")?.signal("KILL")?,
        Fault::CoreKilled => the_one(head, "light_engine.core")?.signal("KILL")?,
        Fault::ApiServerKilled => the_one(head, "ray::ApiServer")?.signal("KILL")?,
        Fault::RankStopped => the_one(worker, "ray::RayWorkerProc")?.signal("STOP")?,
        Fault::RayletKilled => the_one(worker, "raylet/raylet")?.signal("KILL")?,
        Fault::HeadKilled => {
            let all = processes::of_pod(head, "");
            ensure!(!all.is_empty(), "the head has no processes");
            for process in all {
                // A process may end with an earlier one of the list.
                drop(process.signal("KILL"));
            }
        }
        Fault::NodeLost => cluster_tool(&["kill-node", &worker.node]).await?,
        Fault::PathCut => path(head, "-I").await?,
        Fault::DashboardStopped => {
            let all = processes::of_pod(head, "dashboard/dashboard.py");
            ensure!(!all.is_empty(), "the head has no dashboard");
            for process in &all {
                process.signal("STOP")?;
            }
            return Ok(all);
        }
    }
    Ok(Vec::new())
}

async fn end(fault: Fault, stopped: &[Process], head: &FleetPod) -> anyhow::Result<()> {
    for process in stopped {
        process.signal("CONT")?;
    }
    if fault == Fault::PathCut {
        path(head, "-D").await?;
    }
    Ok(())
}

/// Adds (`-I`) or removes (`-D`) a rule that drops traffic to the head's dashboard.
async fn path(head: &FleetPod, verb: &str) -> anyhow::Result<()> {
    let rule = ["-p", "tcp", "-d", &head.ip, "--dport", "8265", "-j", "DROP"];
    let mut command = vec!["exec", &head.node, "iptables", verb, "FORWARD"];
    command.extend(rule);
    cluster_tool(&command).await
}

/// The replaced engine has no process left in living pods, and a replaced group has no pod left.
async fn nothing_left(fleet: &Fleet, old: &GroupStatus, now: &[GroupStatus]) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = now.iter().map(|group| group.name.to_string()).collect();
    until("nothing of the broken engine to be left", Duration::from_mins(2), async || {
        let pods = pods(fleet).await?;
        let strangers = pods.iter().any(|pod| !wanted.contains(&pod.group));
        let ranks: usize = pods.iter().map(|pod| processes::of_pod(pod, "ray::RayWorkerProc").len()).sum();
        let servers: usize = pods.iter().map(|pod| processes::of_pod(pod, "ray::ApiServer").len()).sum();
        Ok((!strangers && ranks == 2 && servers == 1).then_some(()))
    })
    .await
    .with_context(|| format!("after group {} launch {}", old.name, old.launch))
}

/// Observations of a fault.
#[derive(Clone, Default)]
struct FaultReports {
    closed: Option<Instant>,
    started: Option<Instant>,
    causes: Vec<(Instant, String)>,
}

struct Watch {
    reports: Arc<Mutex<FaultReports>>,
    _looks: JoinSet<()>,
}

impl Watch {
    fn start(fleet: &Fleet, group: &GroupStatus) -> Self {
        let reports = Arc::new(Mutex::new(FaultReports::default()));
        let mut looks = JoinSet::new();
        looks.spawn(look_at_slices(fleet.clone(), Arc::clone(&reports)));
        looks.spawn(look_at_group(fleet.clone(), group.clone(), Arc::clone(&reports)));
        Self { reports, _looks: looks }
    }

    fn reports(&self) -> FaultReports {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the fleet first reported a cause with these words, and the report.
    async fn reported(&self, words: &str) -> anyhow::Result<(Instant, String)> {
        let says = |text: &str| words.split('|').any(|words| text.contains(words));
        let find = |reports: FaultReports| reports.causes.into_iter().find(|(_, text)| says(text));
        let found = until("the cause to be reported", PATIENCE, async || Ok(find(self.reports()))).await;
        found.or_else(|error| bail!("{error}; it reported {:?}", self.reports().causes))
    }

    async fn started(&self) -> anyhow::Result<()> {
        until("the recovery to begin", PATIENCE, async || Ok(self.reports().started.map(drop))).await
    }
}

fn note(reports: &Mutex<FaultReports>, change: impl FnOnce(&mut FaultReports)) {
    change(&mut reports.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Records when the Service had no ready address left.
async fn look_at_slices(fleet: Fleet, reports: Arc<Mutex<FaultReports>>) {
    let api: Api<EndpointSlice> = Api::namespaced(fleet.cluster.client.clone(), &fleet.cluster.namespace);
    let ours = ListParams::default().labels(&format!("kubernetes.io/service-name={}", fleet.name));
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        let Ok(slices) = call("list EndpointSlices", api.list(&ours)).await else { continue };
        let mut endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
        let open = endpoints.any(|endpoint| endpoint.conditions.and_then(|c| c.ready).unwrap_or(true));
        if !open {
            note(&reports, |reports| {
                reports.closed.get_or_insert_with(clock::instant);
            });
        }
    }
}

/// Records what the group reports, and when the ledger first showed a recovery: a failure with the next
/// action, or that action.
async fn look_at_group(fleet: Fleet, before: GroupStatus, reports: Arc<Mutex<FaultReports>>) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        let Ok(now) = fleet.get().await else { continue };
        for group in groups(&now) {
            let mut words =
                group.message.clone().filter(|_| group.phase != before.phase || group.phase == Phase::Ready);
            if let (Some(words), Some(reason)) = (&mut words, &group.goal_reason) {
                words.push_str("; ");
                words.push_str(reason);
            }
            note(&reports, |reports| {
                let moment = clock::instant();
                if let Some(words) = words {
                    let known = reports.causes.last().is_some_and(|(_, text)| *text == words);
                    if !known {
                        reports.causes.push((moment, words));
                    }
                }
                let failed = group.goal_reason.as_ref().is_some_and(|reason| reason.starts_with("failed: "));
                if failed || (&group.name, group.launch) != (&before.name, before.launch) {
                    reports.started.get_or_insert(moment);
                }
            });
        }
    }
}
