//! Follows the fleet and keeps the choice of the group that gets new connections.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use rayfleet_api::PodName;
use rayfleet_cli_kit::CliError;
use rayfleet_cli_kit::table::one_line;
use tokio::sync::{mpsc, watch};

use super::dial::Dial;
use super::target::{self, Target};
use crate::error;
use crate::fleets::Fleets;
use crate::follow::{Follow, Scope};
use crate::view::Fleet;

/// Heads whose gate is looked at before the next change of the fleet.
const LOOKS: usize = 8;

/// The choice and what it is made from.
pub(super) struct Choice<D> {
    dial: D,
    fleet: Fleet,
    only: Option<String>,
    /// Heads that could not be reached.
    broken: BTreeSet<PodName>,
    chosen: watch::Sender<Option<Target>>,
    notes: mpsc::UnboundedSender<String>,
}

impl<D: Dial> Choice<D> {
    /// The first choice. An error if no group takes traffic.
    pub(super) async fn first(
        dial: D,
        fleet: &DynamicObject,
        only: Option<&str>,
        notes: mpsc::UnboundedSender<String>,
    ) -> Result<(Self, Target), CliError> {
        let chosen = watch::Sender::new(None);
        let (fleet, only) = (Fleet::read(fleet), only.map(str::to_owned));
        let choice = Self { dial, fleet, only, broken: BTreeSet::new(), chosen, notes };
        let Some(target) = choice.best().await else {
            return Err(target::none(&choice.fleet, choice.only.as_deref()));
        };
        choice.chosen.send_replace(Some(target.clone()));
        Ok((choice, target))
    }

    /// The group of the moment, for connections.
    pub(super) fn chosen(&self) -> watch::Receiver<Option<Target>> {
        self.chosen.subscribe()
    }

    /// Follows the fleet, and what connections report of heads, until the fleet is gone.
    pub(super) async fn follow(
        mut self,
        fleets: &Fleets,
        mut broken: mpsc::UnboundedReceiver<PodName>,
    ) -> CliError {
        let name = self.fleet.name.clone();
        let mut follow = Follow::new(fleets, Scope::One(&name));
        loop {
            tokio::select! {
                change = follow.next() => match change {
                    Ok(set) => match set.values().next() {
                        Some(object) => self.fleet = Fleet::read(object),
                        None => return error::gone(&name, &fleets.namespace, true),
                    },
                    Err(fault) => return fault,
                },
                Some(head) = broken.recv() => {
                    self.broken.insert(head);
                    self.choose().await;
                    // Who reported it waits for the answer, also if it is the same.
                    self.chosen.send_modify(|_| ());
                    continue;
                }
            }
            self.choose().await;
        }
    }

    /// Keeps the choice while it is good, else makes another.
    async fn choose(&mut self) {
        let now = self.chosen.borrow().clone();
        let why = now.as_ref().and_then(|now| {
            let broken = self.broken.contains(&now.head).then(|| "cannot be reached".to_owned());
            target::lost(&self.fleet, now).or(broken)
        });
        if now.is_some() && why.is_none() {
            return;
        }
        let mut next = self.best().await;
        if next.is_none() && !self.broken.is_empty() {
            // Nothing is left: what could not be reached is tried again.
            self.broken.clear();
            next = self.best().await;
        }
        let say = |text: String| self.notes.send(one_line(&text));
        let _ = match (&now, &why, &next) {
            (Some(now), _, Some(next)) if now == next => Ok(()),
            (Some(now), Some(why), Some(next)) => {
                say(format!("{} {why}: new connections go to {}", now.group, next.group))
            }
            (Some(now), Some(why), None) => {
                say(format!("{} {why}, and no other group takes traffic: new connections wait", now.group))
            }
            (None, _, Some(next)) => say(format!("{} takes traffic: connections go there", next.group)),
            _ => Ok(()),
        };
        self.chosen.send_if_modified(|chosen| {
            let modified = *chosen != next;
            *chosen = next;
            modified
        });
    }

    /// The best group whose gate is open.
    async fn best(&self) -> Option<Target> {
        let candidates = target::candidates(&self.fleet, self.only.as_deref());
        for target in candidates.into_iter().filter(|it| !self.broken.contains(&it.head)).take(LOOKS) {
            if self.dial.is_open(&target.head).await {
                return Some(target);
            }
        }
        None
    }
}
