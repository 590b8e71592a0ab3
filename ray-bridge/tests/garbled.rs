//! Recorded replies cut, bent and mixed up: every reader gives a value or an error, and never panics.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

mod common;

use common::{Fake, bridge, id, recorded, target};
use proptest::prelude::*;
use ray_bridge::engine::parse_phases;
use ray_bridge::observe::ObserveOptions;
use ray_bridge::placement::RankName;
use serde_json::Value;

const FIXTURES: &[&str] = &[
    "version",
    "job_get_failed",
    "job_get_supervisor_died",
    "job_logs",
    "v0_nodes_detail",
    "cluster_status_pg_pending",
    "v0_actors_vllm_workers",
    "v0_actor_dead_sigkill",
    "v0_placement_groups_pending",
    "v0_workers_detail",
    "vllm_models",
];

/// One way of damaging a reply.
#[derive(Debug, Clone)]
enum Damage {
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    /// The n-th value in the JSON becomes another one.
    Swap(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (any::<prop::sample::Index>(), 0..8usize).prop_map(|(at, what)| Damage::Swap(at, what)),
    ]
}

fn leaves<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    let is_leaf = match value {
        Value::Object(o) => o.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => true,
    };
    match value {
        leaf if is_leaf => found.push(leaf),
        Value::Object(o) => o.values_mut().for_each(|v| leaves(v, found)),
        Value::Array(a) => a.iter_mut().for_each(|v| leaves(v, found)),
        _ => {}
    }
}

fn apply(mut body: Vec<u8>, damage: &Damage) -> Vec<u8> {
    if body.is_empty() {
        return body;
    }
    match damage {
        Damage::Cut(at) => body.truncate(at.index(body.len())),
        Damage::Byte(at, byte) => {
            let i = at.index(body.len());
            body[i] = *byte;
        }
        Damage::Swap(at, what) => {
            let Ok(mut json) = serde_json::from_slice::<Value>(&body) else { return body };
            let others =
                ["null", "18446744073709551615", "-1e308", "\"\"", "\"é\\u0000\"", "[]", "{}", "true"];
            let mut found = Vec::new();
            leaves(&mut json, &mut found);
            if !found.is_empty() {
                let i = at.index(found.len());
                *found[i] = serde_json::from_str(others[*what]).unwrap();
            }
            body = serde_json::to_vec(&json).unwrap();
        }
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn damaged_replies_never_panic(
        which in 0..FIXTURES.len(), damages in prop::collection::vec(damage(), 0..4), status in prop::sample::select(vec![200u16, 400, 500]),
    ) {
        let body = damages.iter().fold(recorded(FIXTURES[which]).1, apply);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start().await;
            fake.otherwise((status, body));
            let (bridge, target) = (bridge(), target(&fake.url, Some(&fake.url)));
            let (dashboard, engine) = (bridge.dashboard(&target), bridge.engine(&target).unwrap());
            let _ = dashboard.version().await;
            let _ = dashboard.job(&id("j")).await;
            let _ = dashboard.log_tail(&id("j")).await;
            let _ = dashboard.stop(&id("j")).await;
            let gpu_use = dashboard.gpu_use().await.unwrap_or_default();
            for node in dashboard.nodes().await.unwrap_or_default() {
                let node = node.into_ray_node(&gpu_use);
                assert!(node.gpus_free <= node.gpus_total);
            }
            for actor in dashboard.actors(&[]).await.unwrap_or_default() {
                let _ = actor.rank();
            }
            for group in dashboard.placement_groups(&[]).await.unwrap_or_default() {
                let _ = (group.state(), group.reported());
            }
            let _ = engine.load().await;
            let _ = engine.models().await;
            let _ = bridge.observe(&target, Some(&id("j")), ObserveOptions::deep()).await;
        });
    }

    #[test]
    fn texts_of_any_kind_never_panic(text in "\\PC{0,200}", number in "[0-9]{0,25}") {
        let _ = RankName::parse(&format!("vllm_Worker_{text}_TP{number}_PP{number}"));
        let _ = parse_phases(&format!("RAYFLEET_PHASE {text}\nRAYFLEET_PHASE {{\"phase\": \"{text}\", \"seconds\": {number}}}"));
    }
}
