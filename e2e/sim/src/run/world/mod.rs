//! A world: API server, Kubernetes, Ray, replicas of the orchestrator and clients, on one thread in paused
//! time.

mod aibrix;
mod clients;
mod engines;
mod foreign;
mod foreign_changes;
mod orders;
mod partitioned_wire;
mod replicas;
mod sim_environment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayfleet_sim_kube::api::{ApiServer, Kind};
use rayfleet_sim_kube::kubernetes::{Kubernetes, NodeSpec, Options};
use rayfleet_sim_ray::RayWorld;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::clients::Clients;
use self::replicas::Replicas;
use self::sim_environment::SimEnvironment;
use super::environment::play;
use super::faults::{Plan, Shared};
use super::oracle::{self, Watch};
use super::panics;
use super::planned::{Planned, Planner};
use super::report::Report;
use super::rights::Install;
use super::scenario::Scenario;
use super::trace::Trace;

/// Namespace of everything.
const NAMESPACE: &str = "default";
/// Namespace of the orchestrator and its lease.
const SYSTEM: &str = "rayfleet-system";
/// Longest time from the last step to the expected final state.
const CONVERGES: Duration = Duration::from_mins(40);
/// An image that no registry has.
const ABSENT_IMAGE: &str = "rayfleet.local/absent:1";

/// How long a run rests at its end, and in which part of that nothing may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Half a minute, of which the second half must be quiet.
    Short,
    /// Twenty minutes: what follows ten minutes of serving happens, and then nothing for nine more.
    Long,
}

impl Rest {
    fn lengths(self) -> (Duration, Duration) {
        match self {
            Self::Short => (Duration::from_secs(30), Duration::from_secs(30)),
            Self::Long => (Duration::from_mins(11), Duration::from_mins(9)),
        }
    }
}

/// Plays a scenario under a plan of faults.
pub fn simulated(scenario: &Scenario, seed: u64, plan: &Plan) -> Report {
    run(scenario, seed, plan, Rest::Short)
}

/// As [`simulated`], with the orchestrator installed in the given way.
pub fn installed(scenario: &Scenario, seed: u64, plan: &Plan, install: Install) -> Report {
    on_a_thread(inside(scenario, seed, plan, Run { rest: Rest::Short, install, planner: None }))
}

/// As [`simulated`], with a rest at the end.
pub fn run(scenario: &Scenario, seed: u64, plan: &Plan, rest: Rest) -> Report {
    on_a_thread(inside(scenario, seed, plan, Run { rest, install: Install::Everywhere, planner: None }))
}

/// As [`simulated`], without faults, with a plan of each change that the scenario applies.
pub fn planned(scenario: &Scenario, seed: u64) -> (Report, Vec<Planned>) {
    on_a_thread(async {
        let planner = Arc::new(Mutex::new(Planner::default()));
        let run = Run { rest: Rest::Short, install: Install::Everywhere, planner: Some(planner.clone()) };
        let report = inside(scenario, seed, &Plan::default(), run).await;
        let planner = std::mem::take(&mut *planner.lock().unwrap_or_else(PoisonError::into_inner));
        (report, planner.end())
    })
}

fn on_a_thread<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    match runtime {
        Ok(runtime) => runtime.block_on(run),
        Err(error) => {
            unreachable!("a runtime without input and output needs nothing that could be missing: {error}")
        }
    }
}

/// How a run is made and what is made of it.
struct Run {
    rest: Rest,
    install: Install,
    planner: Option<Arc<Mutex<Planner>>>,
}

async fn inside(scenario: &Scenario, seed: u64, plan: &Plan, run: Run) -> Report {
    let Run { rest, install, planner } = run;
    panics::note();
    let scenario = &scenario.under(plan);
    let trace = Trace::begin();
    let api = ApiServer::new();
    rayfleet_orchestrator::clock::simulate(api.now());
    let ray = RayWorld::new(seed);
    ray.models(engines::behaviour);
    let kubernetes = Kubernetes::start(api.clone(), ray.clone(), options(scenario), seed);
    let mut failures = Vec::new();
    failures.extend(cordon(scenario, &api, &kubernetes).await.err());
    let (orders, inbox) = mpsc::unbounded_channel();
    let shared = Shared::new(seed, plan.clone(), trace.clone(), orders);
    shared.state().rights = Some(install.rights(NAMESPACE));
    // The namespace of the lease.
    let _ = api.create(&Kind::NAMESPACE, json!({"metadata": {"name": SYSTEM}}));
    let replicas = Replicas::new(api.clone(), ray.clone(), shared.clone(), install);
    replicas.start('a', false);
    if plan.needs_two() || scenario.standby {
        replicas.start('b', false);
    }
    let fleet = scenario.fleet["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let watch = Watch::new(NAMESPACE, &fleet, api.clone(), shared.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(orders::obey(inbox, replicas.clone(), api.clone(), ray.clone(), kubernetes.clone()));
    tasks.spawn(watch.clone().follow());
    let engines = ray.clone();
    let engines = move || engines.snapshot();
    tasks.spawn(oracle::serving::follow(api.clone(), engines, shared.clone(), fleet.clone()));
    let clients = Clients::start(&scenario.load, NAMESPACE, &fleet, &kubernetes, &ray, &trace);
    let mut environment = SimEnvironment {
        namespace: NAMESPACE,
        fleet: fleet.clone(),
        api: api.clone(),
        ray: ray.clone(),
        kubernetes,
        replicas,
        shared: shared.clone(),
        lost: None,
        announced: None,
        ends: JoinSet::new(),
        cordoned: Vec::new(),
        cut: Vec::new(),
        last: None,
        planner: planner.clone(),
    };
    if let Some(planner) = planner {
        tasks.spawn(states(planner, api.clone(), fleet.clone(), trace.clone()));
    }
    match play(scenario, &mut environment).await {
        Ok(()) => failures.extend(oracle::reached(scenario, &mut environment, CONVERGES).await.err()),
        Err(stuck) => failures.push(stuck.to_string()),
    }
    let took = trace.now();
    trace.add("run", "the end is reached: the load stops".to_owned());
    let tally = clients.stop().await;
    failures.extend(quiet(&shared, rest).await.err());
    failures.append(&mut shared.state().breaches);
    failures.append(&mut panics::noted());
    failures.extend(oracle::expected(scenario, watch.extremes(), tally, stage_status(&api, &fleet)));
    let end = oracle::picture(&api, &ray, NAMESPACE, &fleet);
    failures.extend(oracle::orphans(&end));
    let mut kept = shared.state();
    Report {
        scenario: scenario.name.clone(),
        seed,
        plan: plan.clone(),
        failures,
        writes: std::mem::take(&mut kept.writes),
        events: kept.events,
        calls: kept.calls,
        used: std::mem::take(&mut kept.used),
        tally,
        groups: watch.groups_made(),
        end,
        history: watch.history(),
        took,
        lines: trace.lines(),
    }
}

/// Shows each state of the fleet to the planner.
async fn states(planner: Arc<Mutex<Planner>>, api: ApiServer, fleet: String, trace: Trace) {
    let mut version = api.version();
    loop {
        version = api.changed_since(version).await;
        if let Some(now) = api.get(&Kind::FLEET, NAMESPACE, &fleet) {
            planner.lock().unwrap_or_else(PoisonError::into_inner).saw(&now, trace.now());
        }
    }
}

fn options(scenario: &Scenario) -> Options {
    let nodes = scenario.nodes.iter().flat_map(|nodes| {
        nodes.names().into_iter().map(|name| NodeSpec {
            name,
            gpus: nodes.gpus,
            cpus: 16,
            memory_gib: 64,
            labels: BTreeMap::new(),
        })
    });
    Options { nodes: nodes.collect(), bad_images: vec![ABSENT_IMAGE.to_owned()], ..Options::default() }
}

/// Waits for the nodes, and cordons those that are to be cordoned at the start.
async fn cordon(scenario: &Scenario, api: &ApiServer, kubernetes: &Kubernetes) -> Result<(), String> {
    let all = scenario.nodes.iter().map(|nodes| nodes.names().len()).sum::<usize>();
    while api.list(&Kind::NODE).len() < all {
        api.changed_since(api.version()).await;
    }
    for nodes in scenario.nodes.iter().filter(|nodes| nodes.cordoned) {
        for name in nodes.names() {
            kubernetes.cordon(&name).map_err(|refusal| refusal.message)?;
        }
    }
    Ok(())
}

fn stage_status(api: &ApiServer, fleet: &str) -> i64 {
    let fleet = api.get(&Kind::FLEET, NAMESPACE, fleet).unwrap_or_default();
    fleet["status"]["rollout"]["lostRequests"].as_i64().unwrap_or_default()
}

/// Rests, and reports writes during the quiet part. The rest starts again with every fault.
async fn quiet(shared: &Shared, rest: Rest) -> Result<(), String> {
    let (calm, quiet) = rest.lengths();
    let started = shared.trace.now();
    loop {
        let left = (started.max(shared.state().trouble) + calm).saturating_sub(shared.trace.now());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left).await;
    }
    let before = shared.state().writes.len();
    tokio::time::sleep(quiet).await;
    let state = shared.state();
    let late: Vec<&str> = state.writes.iter().skip(before).map(|write| write.what.as_str()).collect();
    if late.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = late.iter().take(5).copied().collect();
    Err(format!("{} writes at rest: {}", late.len(), first.join("; ")))
}
