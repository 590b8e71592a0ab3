//! One agent for each group: a task that asks the group's Ray dashboard and carries out what was
//! decided about its engine. A dead dashboard holds up nobody but its own group.

mod agent;
mod assignment;
mod report;
mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use ray_bridge::Bridge;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub(crate) use assignment::{Assignment, Command, Engine, Launch, Pace};

use self::agent::Agent;
use self::tokens::Tokens;
use crate::cluster::{Index, Key};
use crate::metrics::Metrics;

/// Commands that an agent may be behind with; each is given again while it is needed.
const COMMANDS: usize = 4;

/// All agents.
pub(crate) struct Agents {
    bridge: Bridge,
    tokens: Tokens,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    running: Mutex<BTreeMap<Key, Handle>>,
}

struct Handle {
    fleet: Key,
    assignment: watch::Sender<Assignment>,
    commands: mpsc::Sender<Command>,
    opening: agent::Opening,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agents {
    /// No agents yet.
    pub(crate) fn new(client: Client, bridge: Bridge, index: Arc<Index>, metrics: Arc<Metrics>) -> Self {
        Self { bridge, tokens: Tokens::new(client), index, metrics, running: Mutex::default() }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Handle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the agents of a fleet the ones of these groups, with these assignments.
    pub(crate) fn assign(&self, fleet: &Key, assignments: Vec<Assignment>) {
        let mut running = self.running();
        let wanted: Vec<Key> = assignments.iter().map(|assignment| assignment.group.clone()).collect();
        running.retain(|group, handle| {
            let keep = handle.fleet != *fleet || wanted.contains(group);
            if !keep {
                self.index.ray_forget(group);
            }
            keep
        });
        for assignment in assignments {
            match running.get(&assignment.group) {
                Some(handle) => {
                    handle.assignment.send_if_modified(|current| {
                        let changed = *current != assignment;
                        if changed {
                            *current = assignment;
                        }
                        changed
                    });
                }
                None => {
                    running.insert(assignment.group.clone(), self.start(fleet.clone(), assignment));
                }
            }
        }
    }

    fn start(&self, fleet: Key, assignment: Assignment) -> Handle {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (sender, receiver) = watch::channel(assignment);
        let opening = agent::Opening::default();
        let agent = Agent::new(
            self.bridge.clone(),
            self.tokens.clone(),
            self.index.clone(),
            self.metrics.clone(),
            fleet.clone(),
            receiver,
            inbox,
            opening.clone(),
        );
        let task = tokio::spawn(agent.run()).abort_handle();
        Handle { fleet, assignment: sender, commands, opening, task }
    }

    /// Gives a command to a group's agent. One that is too busy gets it again at the next look.
    pub(crate) fn command(&self, group: &Key, command: Command) {
        if let Some(handle) = self.running().get(group) {
            let _ = handle.commands.try_send(command);
        }
    }

    /// A group's endpoint is open: ends the measurement that began when its engine was seen healthy.
    pub(crate) fn opened(&self, group: &Key) {
        let since = self.running().get(group).and_then(|handle| handle.opening.take());
        if let Some(delay) = since {
            self.metrics.endpoint_open.observe(delay.as_secs_f64());
        }
    }

    /// Ends all agents: another replica leads.
    pub(crate) fn stop_all(&self) {
        self.running().clear();
    }
}
