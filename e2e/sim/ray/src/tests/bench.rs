//! A small cluster on two machines with the bridge in front of it. Tests wait for conditions, in simulated
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ray_bridge::diagnose::{Diagnosis, History, Observation, StallThresholds, diagnose};
use ray_bridge::engine::{EngineKind, EngineSpec, Health};
use ray_bridge::observe::{EngineState, ObserveOptions, RayState};
use ray_bridge::placement::{Policy, Shape, plan};
use ray_bridge::{Bridge, CallError, Launched, Limits, SubmissionId, Target, Token};

use super::super::{EngineBehaviour, RayPod, RayWorld};

pub(super) const CLUSTER: &str = "models/chat";
pub(super) const HEAD: &str = "10.0.0.1";
pub(super) const PORT: u16 = 8000;
/// How long an engine may make no steps before it counts as hung, in tests.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(8);

pub(super) struct Bench {
    pub(super) ray: RayWorld,
    pub(super) bridge: Bridge,
    pub(super) target: Target,
    pub(super) history: History,
}

pub(super) fn pod(number: u8, head: bool) -> RayPod {
    RayPod {
        ip: format!("10.0.0.{number}"),
        host_node: format!("machine-{number}"),
        cluster: CLUSTER.to_owned(),
        head,
        head_ip: (!head).then(|| HEAD.to_owned()),
        gpus: if head { 0 } else { 2 },
        labels: BTreeMap::from([("zone".to_owned(), "z1".to_owned())]),
        token: None,
        own_engine_port: None,
    }
}

pub(super) fn name(text: &str) -> SubmissionId {
    SubmissionId::new(text).unwrap()
}

pub(super) fn spec(id: &str) -> EngineSpec {
    EngineSpec {
        kind: EngineKind::Vllm,
        name: name(id),
        model_name: "chat".to_owned(),
        source: "/models/chat".to_owned(),
        args: vec!["--max-model-len".to_owned(), "256".to_owned()],
        env: BTreeMap::new(),
        shape: Shape::new(2, 2).unwrap(),
        port: PORT,
        placement_timeout: Duration::from_secs(30),
        probe: None,
    }
}

pub(super) fn behaviour() -> EngineBehaviour {
    EngineBehaviour { load: Duration::from_secs(12), ..EngineBehaviour::default() }
}

impl Bench {
    /// A head and two workers with two GPUs each, all joined.
    pub(super) async fn new() -> Self {
        Self::with_token(None).await
    }

    pub(super) async fn with_token(token: Option<&str>) -> Self {
        let ray = RayWorld::new(7);
        ray.models(|_, _| behaviour());
        let bridge = Bridge::over(ray.wire(), Limits::default()).unwrap();
        let target = Target {
            name: CLUSTER.to_owned(),
            dashboard: format!("http://{HEAD}:8265").parse().unwrap(),
            engine: format!("http://{HEAD}:{PORT}").parse().ok(),
            token: token.map(|token| Token::new(token).unwrap()),
            trusts_engine: false,
        };
        let bench = Self { ray, bridge, target, history: History::default() };
        for number in 1..=3 {
            let token = token.map(str::to_owned);
            bench.ray.start(RayPod { token, ..pod(number, number == 1) });
        }
        bench.until("all nodes", async || Some(bench.nodes().await).filter(|nodes| nodes.len() == 3)).await;
        bench
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ray.now().1
    }

    /// Waits for a condition, at most two minutes.
    pub(super) async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let began = self.ray.now().0;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let waited = self.ray.now().0.saturating_sub(began);
            assert!(
                waited < Duration::from_mins(2),
                "timed out waiting for {what}: {:#}",
                self.ray.snapshot()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Addresses of the living nodes.
    pub(super) async fn nodes(&self) -> Vec<String> {
        let Ok(nodes) = self.bridge.dashboard(&self.target).nodes().await else { return Vec::new() };
        nodes.into_iter().filter(|node| node.state == "ALIVE").map(|node| node.node_ip).collect()
    }

    pub(super) async fn look(&self, engine: Option<&SubmissionId>) -> Result<RayState, CallError> {
        self.bridge.observe(&self.target, engine, ObserveOptions::full()).await
    }

    pub(super) async fn launch(&self, spec: &EngineSpec) -> Launched {
        let nodes = self.look(None).await.unwrap().cluster.unwrap().nodes;
        let placement = plan(spec.shape, &nodes, &Policy::default()).unwrap();
        self.bridge.launch(&self.target, spec, &placement).await.unwrap()
    }

    /// An engine that serves.
    pub(super) async fn serving(&mut self, id: &str) -> EngineState {
        assert_eq!(self.launch(&spec(id)).await, Launched::Submitted);
        let id = name(id);
        let serves = async || {
            let state = self.look(Some(&id)).await.unwrap();
            Some(state)
                .filter(|state| state.engine.as_ref().is_some_and(|e| e.health == Some(Health::Serving)))
        };
        let state = self.until("an engine that serves", serves).await;
        self.history.learn(self.now(), &state);
        state.engine.unwrap()
    }

    /// One diagnosis, as `ray-bridge watch` makes it.
    pub(super) async fn diagnose(&mut self, id: &SubmissionId) -> Option<Diagnosis> {
        let patience = StallThresholds::new(HUNG_AFTER);
        match self.look(Some(id)).await {
            Ok(state) => {
                let now = self.now();
                self.history.learn(now, &state);
                diagnose(now, Observation::Ray(&state), &self.history, patience)
            }
            Err(error) => {
                let around = self.bridge.look_around(&self.target, &self.history).await;
                diagnose(self.now(), Observation::Nothing(&error, &around), &self.history, patience)
            }
        }
    }
}
