//! The whole world as one plain value, for checks of what is left behind. It holds no ids: two runs with
//! the same result have equal snapshots.

use serde_json::{Value, json};

use super::container::Run;
use super::engine::Port;
use super::gcs::{Gcs, GroupState, Status};
use super::world::World;

impl World {
    pub(super) fn snapshot(&self) -> Value {
        let containers: serde_json::Map<String, Value> = self
            .containers
            .iter()
            .map(|(ip, container)| {
                let run = match container.run {
                    Run::Starting => "starting".to_owned(),
                    Run::Up if container.joined.is_some() => "joined".to_owned(),
                    Run::Up => "waits for its head".to_owned(),
                    Run::Ended(code) => format!("ended with {code}"),
                    Run::Gone => "lost with its machine".to_owned(),
                };
                (ip.clone(), json!({ "cluster": container.pod.cluster, "run": run }))
            })
            .collect();
        let clusters: serde_json::Map<String, Value> =
            self.heads.iter().map(|(name, gcs)| (name.clone(), self.cluster(name, gcs))).collect();
        let engines: Vec<Value> = self
            .engines
            .iter()
            .filter(|(_, engine)| engine.listens())
            .map(|((ip, port), engine)| {
                json!({
                    "at": format!("{ip}:{port}"), "cluster": engine.cluster, "name": engine.name,
                    "serves": engine.port == Port::Serving, "stepping": engine.still.is_none(),
                    "draining": engine.draining, "inFlight": engine.requests.len(), "served": engine.served,
                })
            })
            .collect();
        json!({ "clusters": clusters, "containers": containers, "engines": engines })
    }

    fn cluster(&self, name: &str, gcs: &Gcs) -> Value {
        let nodes: Vec<Value> = sorted(gcs.nodes.iter().map(|(id, node)| {
            json!({
                "ip": node.ip, "head": node.head, "alive": node.dead.is_none(), "gpus": node.gpus,
                "reserved": gcs.reserved(id),
            })
        }));
        let jobs: Vec<Value> = gcs
            .jobs
            .iter()
            .map(|job| {
                let phase =
                    job.launch.as_ref().map(|launch| launch.phase).filter(|_| job.status == Status::Running);
                json!({ "name": job.id, "status": job.status.word(), "phase": phase })
            })
            .collect();
        let groups: Vec<Value> = gcs
            .groups
            .iter()
            .filter(|group| group.state != GroupState::Removed)
            .map(|group| json!({ "name": group.name, "state": group.state.word() }))
            .collect();
        let ranks: Vec<Value> = gcs
            .actors
            .iter()
            .filter(|actor| actor.alive() && actor.gpus > 0)
            .map(|actor| json!({ "bundle": actor.bundle, "ip": gcs.ip_of(actor.node.as_deref()) }))
            .collect();
        json!({
            "head": gcs.ip, "dashboard": format!("{:?}", self.dashboard_of(name)), "nodes": nodes, "jobs": jobs,
            "groups": groups, "ranks": ranks,
        })
    }
}

fn sorted(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut values: Vec<Value> = values.collect();
    values.sort_by_key(ToString::to_string);
    values
}
