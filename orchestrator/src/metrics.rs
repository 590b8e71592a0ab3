//! What the program counts about itself, in Prometheus' text format. No decisions.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rayfleet_api::RayClusterFleetStatus;
use rayfleet_api::status::{FailureKind, Phase};
use rayfleet_runtime::Key;

/// Labels of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Fleet {
    namespace: String,
    fleet: String,
}

impl Fleet {
    fn of(fleet: &Key) -> Self {
        Self { namespace: fleet.namespace.clone(), fleet: fleet.name.clone() }
    }
}

/// Labels of a fleet's groups in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    #[prometheus(flatten)]
    of: Fleet,
    phase: &'static str,
}

/// Labels of a fleet's failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    #[prometheus(flatten)]
    of: Fleet,
    kind: &'static str,
}

/// All metrics.
pub(crate) struct Metrics {
    registry: Registry,
    /// What every program of controllers counts.
    pub runtime: rayfleet_runtime::Metrics,
    passes: Family<Fleet, Counter>,
    groups: Family<InPhase, Gauge>,
    failures: Family<OfKind, Counter>,
    lost_requests: Family<Fleet, Gauge>,
    queue: Gauge,
    pass_seconds: Histogram,
    /// Ray nodes all in → engine job submitted.
    pub engine_submit: Histogram,
    /// Engine healthy → head listed as ready in an EndpointSlice.
    pub endpoint_open: Histogram,
    observe_seconds: Histogram,
    observe_failures: Counter<u64, AtomicU64>,
    /// Engines whose watch is open.
    pub watched_engines: Gauge,
    /// 1 while this replica leads and hears no pod of any group.
    pub all_groups_unreachable: Gauge,
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let delays = || Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]);
        let mut metrics = Self {
            registry: Registry::with_prefix("rayfleet"),
            runtime: rayfleet_runtime::Metrics::default(),
            passes: Family::default(),
            groups: Family::default(),
            failures: Family::default(),
            lost_requests: Family::default(),
            queue: Gauge::default(),
            pass_seconds: Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            engine_submit: delays(),
            endpoint_open: delays(),
            observe_seconds: Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 9.0]),
            observe_failures: Counter::default(),
            watched_engines: Gauge::default(),
            all_groups_unreachable: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        self.runtime.register(registry);
        registry.register("passes", "Passes over a fleet", self.passes.clone());
        registry.register("groups", "Groups by phase", self.groups.clone());
        registry.register("group_failures", "Failures of groups by kind", self.failures.clone());
        registry.register(
            "lost_requests",
            "Requests that drain deadlines cut off since the fleet exists",
            self.lost_requests.clone(),
        );
        registry.register("queue_depth", "Fleets that wait for a pass", self.queue.clone());
        registry.register("pass_seconds", "Duration of a pass over a fleet", self.pass_seconds.clone());
        registry.register(
            "engine_submit_delay_seconds",
            "From the moment all Ray nodes were observed alive, or another launch was decided, to the engine's job submitted",
            self.engine_submit.clone(),
        );
        registry.register(
            "endpoint_open_delay_seconds",
            "From the moment the engine was observed healthy to its endpoint open",
            self.endpoint_open.clone(),
        );
        registry.register(
            "observe_seconds",
            "Duration of an observation of a Ray cluster",
            self.observe_seconds.clone(),
        );
        registry.register(
            "observe_failures",
            "Failed observations of a Ray cluster",
            self.observe_failures.clone(),
        );
        registry.register(
            "watched_engines",
            "Serving engines that report by a stream instead of being polled",
            self.watched_engines.clone(),
        );
        registry.register(
            "all_groups_unreachable",
            "1 while this replica leads and no pod of any group answers it, although Kubernetes reports them ready",
            self.all_groups_unreachable.clone(),
        );
    }

    /// A pass over a fleet has ended.
    pub(crate) fn pass(&self, fleet: &Key, seconds: f64) {
        self.passes.get_or_create(&Fleet::of(fleet)).inc();
        self.pass_seconds.observe(seconds);
    }

    /// A Ray cluster was observed.
    pub(crate) fn observed(&self, seconds: f64, ok: bool) {
        self.observe_seconds.observe(seconds);
        if !ok {
            self.observe_failures.inc();
        }
    }

    /// A fleet's groups as its status says, and the kinds of failures that the pass found.
    pub(crate) fn fleet(&self, fleet: &Key, status: &RayClusterFleetStatus, failures: &[FailureKind]) {
        let of = Fleet::of(fleet);
        for phase in Phase::ALL {
            let count = status.groups.iter().filter(|group| group.phase == *phase).count();
            let labels = InPhase { of: of.clone(), phase: phase.as_str() };
            self.groups.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for kind in failures {
            self.failures.get_or_create(&OfKind { of: of.clone(), kind: kind.as_str() }).inc();
        }
        let lost = status.rollout.as_ref().map_or(0, |rollout| rollout.lost_requests);
        self.lost_requests.get_or_create(&of).set(lost);
    }

    /// A fleet is gone.
    pub(crate) fn forget(&self, fleet: &Key) {
        let of = Fleet::of(fleet);
        for phase in Phase::ALL {
            self.groups.remove(&InPhase { of: of.clone(), phase: phase.as_str() });
        }
        for kind in FailureKind::ALL {
            self.failures.remove(&OfKind { of: of.clone(), kind: kind.as_str() });
        }
        self.lost_requests.remove(&of);
        self.passes.remove(&of);
    }

    /// The text for a scrape.
    pub(crate) fn text(&self, queue: usize, leading: bool) -> String {
        self.queue.set(i64::try_from(queue).unwrap_or(i64::MAX));
        self.runtime.leading.set(i64::from(leading));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use rayfleet_api::status::{GroupStatus, RolloutStatus};

    use super::*;

    fn counted() -> Metrics {
        let metrics = Metrics::new();
        let group = |phase| GroupStatus { phase, ..GroupStatus::default() };
        let status = RayClusterFleetStatus {
            groups: vec![group(Phase::Ready), group(Phase::Ready), group(Phase::Loading)],
            rollout: Some(RolloutStatus { lost_requests: 3, ..RolloutStatus::default() }),
            ..RayClusterFleetStatus::default()
        };
        metrics.fleet(&Key::new("n", "f"), &status, &[FailureKind::RankDied]);
        metrics.pass(&Key::new("n", "f"), 0.01);
        metrics.runtime.write("write status", true);
        metrics.observed(0.2, false);
        metrics.engine_submit.observe(1.0);
        metrics.endpoint_open.observe(1.0);
        metrics
    }

    #[test]
    fn metrics_have_the_names_that_are_documented() {
        let text = counted().text(2, true);
        for line in [
            r#"rayfleet_groups{namespace="n",fleet="f",phase="Ready"} 2"#,
            r#"rayfleet_groups{namespace="n",fleet="f",phase="Loading"} 1"#,
            r#"rayfleet_groups{namespace="n",fleet="f",phase="Failed"} 0"#,
            r#"rayfleet_group_failures_total{namespace="n",fleet="f",kind="RankDied"} 1"#,
            r#"rayfleet_lost_requests{namespace="n",fleet="f"} 3"#,
            "rayfleet_engine_submit_delay_seconds_count 1",
            "rayfleet_endpoint_open_delay_seconds_count 1",
            r#"rayfleet_api_writes_total{what="write status",outcome="ok"} 1"#,
            r#"rayfleet_passes_total{namespace="n",fleet="f"} 1"#,
            "rayfleet_pass_seconds_count 1",
            "rayfleet_queue_depth 2",
            "rayfleet_observe_seconds_count 1",
            "rayfleet_observe_failures_total 1",
            "rayfleet_watched_engines 0",
            "rayfleet_leading 1",
            "rayfleet_events_dropped_total 0",
            "rayfleet_all_groups_unreachable 0",
            "rayfleet_panics_total 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn every_phase_has_its_number() {
        let text = counted().text(0, false);
        let phases = text.lines().filter(|line| line.starts_with("rayfleet_groups{")).count();
        assert_eq!(phases, Phase::ALL.len());
        assert!(text.contains("rayfleet_leading 0"));
    }

    #[test]
    fn a_fleet_that_is_gone_is_not_shown_any_more() {
        let metrics = counted();
        metrics.forget(&Key::new("n", "f"));
        let text = metrics.text(0, true);
        assert!(!text.contains(r#"fleet="f""#), "{text}");
    }
}
