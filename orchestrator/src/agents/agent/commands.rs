//! What an agent does to the engine of its group: launch, drain, probe, stop.

use std::collections::BTreeSet;

use futures::FutureExt;
use ray_bridge::engine::Probe;
use ray_bridge::observe::ObserveOptions;
use ray_bridge::placement::{RayNode, plan};
use ray_bridge::{CallError, CallErrorKind, Target};
use rayfleet_core::observed::ObservedProbe;
use tracing::{info, warn};

use super::{AFTER_TROUBLE, Agent, LOOK};
use crate::agents::assignment::{Command, Engine, Launch, Submission};
use crate::agents::brief::brief;
use crate::agents::launch_failure::LaunchFailure;
use crate::clock;
use crate::kubernetes::labels_by_address;

impl Agent {
    /// Carries a command out. One that failed is put back, and tried again after a while.
    pub(super) async fn carry_out(&mut self, command: Command, target: &Target) {
        let again = command.clone();
        let outcome = match command {
            // Decided before the group went on to another launch.
            Command::Launch(launch) if !self.is_wanted(&launch.submission) => Ok(()),
            Command::Launch(launch) => {
                let name = launch.submission.clone();
                let outcome = self.launch(*launch, target).await;
                self.memory.launch_tried(name, outcome.as_ref().err());
                outcome.map_err(|failure| failure.to_string())
            }
            Command::SetDraining(draining) => self.set_draining(draining, target).await,
            // Every pass over a group that stops decides it again.
            Command::Stop(submission) if self.was_just_stopped(&submission) => Ok(()),
            Command::Stop(submission) => {
                let stopped = self.shared.bridge.stop(target, &submission.id).await;
                if stopped.is_ok() {
                    self.stopped = Some((submission, clock::monotonic()));
                }
                stopped.map(|_| ()).map_err(|error| error.to_string())
            }
            Command::Probe(submission, probe) => {
                self.probe(submission, *probe, target);
                Ok(())
            }
        };
        if let Err(cause) = &outcome {
            warn!(%cause, "a command to the engine failed; it is tried again");
            self.quiet_until = Some(clock::monotonic() + AFTER_TROUBLE);
            // Nothing new may be observed that would make anybody decide it again.
            self.commands.put_back(again);
        }
    }

    fn was_just_stopped(&self, of: &Submission) -> bool {
        self.stopped.as_ref().is_some_and(|(stopped, when)| {
            stopped == of && clock::monotonic().saturating_duration_since(*when) < AFTER_TROUBLE
        })
    }

    /// Whether this is the launch that the group stands at.
    fn is_wanted(&self, name: &Submission) -> bool {
        matches!(&self.assignment.borrow().engine, Engine::Launched { submission, .. } if submission == name)
    }

    async fn launch(&mut self, launch: Launch, target: &Target) -> Result<(), LaunchFailure> {
        let now = clock::monotonic();
        let just_done = self.launched.as_ref().is_some_and(|(name, when)| {
            *name == launch.submission && now.saturating_duration_since(*when) < LOOK
        });
        if just_done {
            return Ok(());
        }
        let options = ObserveOptions { deadline: LOOK, gpu_use: false, ..ObserveOptions::full() };
        let (group, ips) = {
            let assignment = self.assignment.borrow();
            (assignment.group.clone(), assignment.pods.ips.clone())
        };
        let state = self.shared.bridge.observe(target, None, options).boxed().await;
        let cluster = state.map_err(LaunchFailure::Nodes)?.cluster;
        let mut nodes = of_pods(cluster.map(|cluster| cluster.nodes).unwrap_or_default(), &ips);
        if let Some(address) = doubled(&nodes) {
            return Err(LaunchFailure::TwoNodes(address.to_owned()));
        }
        let below = self.shared.index.read(|known| labels_by_address(known, &group));
        for node in &mut nodes {
            // Labels that Ray was started with win over those of the Kubernetes node.
            let more = below.get(&node.ip).into_iter().flatten();
            for (label, value) in more {
                node.labels.entry(label.clone()).or_insert_with(|| value.clone());
            }
        }
        let placement = plan(launch.spec.shape, &nodes, &launch.policy)
            .map_err(|error| LaunchFailure::Plan(error.to_string()))?;
        let launched = self.shared.bridge.launch(target, &launch.spec, &placement).boxed().await;
        let launched = launched.map_err(LaunchFailure::Submit)?;
        if let Some(delay) = self.launch_timer.launched(&launch.submission, now, clock::monotonic()) {
            self.shared.metrics.engine_submit.observe(delay.as_secs_f64());
        }
        info!(submission = %launch.spec.name, ?launched, "launched");
        self.launched = Some((launch.submission, clock::monotonic()));
        Ok(())
    }

    async fn set_draining(&mut self, draining: bool, target: &Target) -> Result<(), String> {
        let Some(engine) = self.shared.bridge.engine(target) else { return Ok(()) };
        match engine.set_draining(draining).await {
            // An engine without the middleware accepts no drain request.
            Ok(()) | Err(CallError { kind: CallErrorKind::NotFound { .. }, .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn probe(&mut self, submission: Submission, probe: Probe, target: &Target) {
        if self.probing.is_some() || self.memory.has_passed(&submission) {
            return;
        }
        let Some(engine) = self.shared.bridge.engine(target) else { return };
        let answer = async move {
            let observed = match engine.probe(&probe).await {
                Ok(_) => ObservedProbe::Passed,
                Err(error) => ObservedProbe::Failed(brief(&error.to_string())),
            };
            (submission, observed)
        };
        self.probing = Some(answer.boxed());
    }
}

/// The Ray nodes of these pods. Of a pod that was killed Ray says for some twenty seconds that its node is alive: nothing may be
/// placed there.
pub(super) fn of_pods(mut nodes: Vec<RayNode>, ips: &[String]) -> Vec<RayNode> {
    nodes.retain(|node| ips.contains(&node.ip));
    nodes
}

/// An address at which two Ray nodes are alive. A pod has one: the other is of its container before, and a rank that is pinned to
/// it would wait for ever.
pub(super) fn doubled(nodes: &[RayNode]) -> Option<&str> {
    let mut known = BTreeSet::new();
    let mut alive = nodes.iter().filter(|node| node.alive);
    alive.find(|node| !known.insert(&node.ip)).map(|node| node.ip.as_str())
}
