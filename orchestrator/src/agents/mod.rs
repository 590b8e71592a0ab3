//! One agent for each group: a task that asks the group's Ray dashboard and carries out what was
//! decided about its engine. A dead dashboard holds up nobody but its own group.

mod agent;
mod assignment;
mod brief;
mod engine_watch;
mod failure_detector;
mod gate_timer;
mod launch_failure;
mod launch_latency;
mod listen;
mod mailbox;
mod reachability;
mod report;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;
use ray_bridge::Bridge;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{Instrument as _, info_span};

pub(crate) use assignment::{Assignment, Command, Engine, Launch, PollInterval, Submission};

pub(crate) use reachability::Reachability;

use self::agent::{Agent, Shared};
use self::mailbox::Mailbox;
use crate::kubernetes::{GroupKey, Index, Key};
use crate::metrics::Metrics;

/// All agents.
pub(crate) struct Agents {
    shared: Arc<Shared>,
    running: Mutex<BTreeMap<GroupKey, Handle>>,
}

struct Handle {
    fleet: Key,
    assignment: watch::Sender<Assignment>,
    commands: Arc<Mailbox>,
    opening: gate_timer::GateTimer,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agents {
    /// No agents yet.
    pub(crate) fn new(
        client: Client,
        bridge: Bridge,
        index: Arc<Index>,
        metrics: Arc<Metrics>,
        reachability: Arc<Reachability>,
        engine_watch: bool,
    ) -> Self {
        let shared = Arc::new(Shared { client, bridge, index, metrics, reachability, engine_watch });
        Self { shared, running: Mutex::default() }
    }

    /// Makes the agents of a fleet the ones of these groups, with these assignments.
    pub(crate) fn assign(&self, fleet: &Key, assignments: Vec<Assignment>) {
        let mut running = self.running.lock();
        let wanted: Vec<GroupKey> = assignments.iter().map(|assignment| assignment.group.clone()).collect();
        running.retain(|group, handle| {
            let keep = handle.fleet != *fleet || wanted.contains(group);
            if !keep {
                self.forget(group);
            }
            keep
        });
        for assignment in assignments {
            match running.get(&assignment.group) {
                Some(handle) if *handle.assignment.borrow() == assignment => {}
                Some(handle) => drop(handle.assignment.send_replace(assignment)),
                None => {
                    running.insert(assignment.group.clone(), self.start(fleet.clone(), assignment));
                }
            }
        }
    }

    fn start(&self, fleet: Key, assignment: Assignment) -> Handle {
        let commands = Arc::new(Mailbox::default());
        // Not a child of the pass that starts it: it outlives the pass, whose span names the fleet too.
        let span = info_span!(parent: None, "agent", %fleet, group = %assignment.group.name);
        let (sender, receiver) = watch::channel(assignment);
        let opening = gate_timer::GateTimer::default();
        let agent =
            Agent::new(self.shared.clone(), fleet.clone(), receiver, commands.clone(), opening.clone());
        let task = tokio::spawn(agent.run().instrument(span)).abort_handle();
        Handle { fleet, assignment: sender, commands, opening, task }
    }

    /// Gives a command to a group's agent, in the place of an earlier one of its kind that it has not come to.
    pub(crate) fn command(&self, group: &GroupKey, command: Command) {
        if let Some(handle) = self.running.lock().get(group) {
            handle.commands.put(command);
        }
    }

    /// A group's endpoint is open: ends the measurement that began when its engine was observed healthy.
    pub(crate) fn opened(&self, group: &GroupKey) {
        let since = self.running.lock().get(group).and_then(|handle| handle.opening.take());
        if let Some(delay) = since {
            self.shared.metrics.endpoint_open.observe(delay.as_secs_f64());
        }
    }

    /// Ends all agents: another replica leads. What they saw is not kept: it would be old when this one
    /// leads again.
    pub(crate) fn stop_all(&self) {
        let mut running = self.running.lock();
        for group in running.keys() {
            self.forget(group);
        }
        running.clear();
    }

    fn forget(&self, group: &GroupKey) {
        self.shared.index.ray_forget(group);
        self.shared.reachability.forget(group);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use jiff::Timestamp;
    use ray_bridge::Limits;
    use rayfleet_api::GroupName;
    use rayfleet_core::observed::{ObservedRay, Reach};
    use rayfleet_runtime::testing::{Fake, refusal};
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;
    use crate::kubernetes::GroupPods;

    fn agents() -> (Agents, Arc<Index>) {
        let index = Arc::new(Index::default());
        let client = Fake::new(|_| refusal(404, "NotFound", "none")).client();
        let bridge = Bridge::new(Limits::default()).unwrap();
        (Agents::new(client, bridge, index.clone(), Arc::new(Metrics::new()), Arc::default(), false), index)
    }

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    fn assignment(group: &str, pace: PollInterval) -> Assignment {
        let pods = GroupPods {
            head_ip: None,
            ips: Vec::new(),
            dashboard_port: 8265,
            own_port: None,
            well: true,
            token_secret: None,
        };
        Assignment { group: GroupKey::new("n", group), pods, engine: Engine::Own { port: None }, pace }
    }

    fn running(agents: &Agents) -> Vec<GroupName> {
        agents.running.lock().keys().map(|group| group.name.clone()).collect()
    }

    fn see(index: &Index, fleet: &str, group: &str) {
        let observed = ObservedRay {
            at: Timestamp::UNIX_EPOCH,
            state: Err("refused".into()),
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        };
        index.ray_seen(&key(fleet), &GroupKey::new("n", group), observed);
    }

    fn remembered(index: &Index) -> Vec<GroupName> {
        index.read(|known| known.ray.keys().map(|group| group.name.clone()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_has_the_agents_of_its_groups_and_no_others() {
        let (agents, index) = agents();
        agents.assign(
            &key("f"),
            vec![assignment("f-1", PollInterval::Quick), assignment("f-2", PollInterval::Quick)],
        );
        agents.assign(&key("g"), vec![assignment("g-1", PollInterval::Quick)]);
        for (fleet, group) in [("f", "f-1"), ("f", "f-2"), ("g", "g-1")] {
            see(&index, fleet, group);
        }
        agents.assign(&key("f"), vec![assignment("f-2", PollInterval::Steady)]);
        assert_eq!(running(&agents), ["f-2", "g-1"]);
        assert_eq!(remembered(&index), ["f-2", "g-1"]);
        let pace = agents.running.lock()[&GroupKey::new("n", "f-2")].assignment.borrow().pace;
        assert_eq!(pace, PollInterval::Steady);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_a_pass_starts_is_no_part_of_the_pass_in_logs() {
        let (mut logged, writer) = std::io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_span_events(FmtSpan::NEW)
            .with_writer(Arc::new(writer))
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (agents, _) = agents();
        let pass = info_span!("reconcile", fleet = %key("f")).entered();
        agents.assign(&key("f"), vec![assignment("f-1", PollInterval::Quick)]);
        drop(pass);
        let mut text = [0; 4096];
        let length = logged.read(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..length]);
        assert!(text.contains("INFO agent{fleet=n/f group=f-1}: "), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_ends_with_its_group() {
        let (agents, _) = agents();
        agents.assign(&key("f"), vec![assignment("f-1", PollInterval::Quick)]);
        let task = agents.running.lock()[&GroupKey::new("n", "f-1")].task.clone();
        agents.assign(&key("f"), Vec::new());
        tokio::task::yield_now().await;
        assert!(task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_stopped_leading_remembers_nothing() {
        let (agents, index) = agents();
        agents.assign(&key("f"), vec![assignment("f-1", PollInterval::Quick)]);
        see(&index, "f", "f-1");
        agents.stop_all();
        assert_eq!((running(&agents).len(), remembered(&index).len()), (0, 0));
    }
}
