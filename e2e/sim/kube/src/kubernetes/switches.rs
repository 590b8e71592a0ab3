//! What faults have done to machines and processes. Set from outside, read by the simulators, which are woken by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rayfleet_sim_ray::ordered_notify::{OrderedNotify, Subscriber};

use super::object::Key;

/// State of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Machine {
    /// All is well.
    #[default]
    Up,
    /// It is being shut down: its kubelet ends all pods, and takes no new ones.
    ShuttingDown,
    /// Its kubelet does not reach the API server since then.
    Silent(Timestamp),
    /// Without power since then.
    Dead(Timestamp),
    /// Power is back since the second time; it was lost at the first.
    Booting(Timestamp, Timestamp),
}

impl Machine {
    /// Since when nobody has heard of the kubelet.
    pub(super) fn silent_since(self) -> Option<Timestamp> {
        match self {
            Self::Up | Self::ShuttingDown => None,
            Self::Silent(since) | Self::Dead(since) | Self::Booting(since, _) => Some(since),
        }
    }
}

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Machine>,
    kills: Vec<Key>,
    kuberay_starts: u64,
    kuberay_up_at: Option<Timestamp>,
}

/// The switches; all clones are the same.
#[derive(Clone, Default)]
pub(super) struct Switches {
    state: Arc<Mutex<State>>,
    flips: OrderedNotify,
}

impl Switches {
    /// Tells of every change.
    pub(super) fn flips(&self) -> Subscriber {
        self.flips.subscribe()
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn flip(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.flips.notify();
    }

    /// Something else is to be looked at.
    pub(super) fn nudge(&self) {
        self.flips.notify();
    }

    /// State of a machine.
    pub(super) fn machine(&self, name: &str) -> Machine {
        self.read(|state| state.machines.get(name).copied().unwrap_or_default())
    }

    /// Its power is lost.
    pub(super) fn lose(&self, name: &str, now: Timestamp) {
        self.flip(|state| {
            let machine = state.machines.entry(name.to_owned()).or_default();
            *machine = Machine::Dead(machine.silent_since().unwrap_or(now));
        });
    }

    /// Somebody shuts it down.
    pub(super) fn shut_down(&self, name: &str) {
        self.flip(|state| {
            state.machines.insert(name.to_owned(), Machine::ShuttingDown);
        });
    }

    /// Its kubelet falls silent.
    pub(super) fn silence(&self, name: &str, now: Timestamp) {
        self.flip(|state| {
            let machine = state.machines.entry(name.to_owned()).or_default();
            if *machine == Machine::Up {
                *machine = Machine::Silent(now);
            }
        });
    }

    /// Power or connection is back.
    pub(super) fn restore(&self, name: &str, now: Timestamp) {
        self.flip(|state| {
            let machine = state.machines.entry(name.to_owned()).or_default();
            *machine = match *machine {
                Machine::Dead(since) => Machine::Booting(since, now),
                Machine::Booting(since, power) => Machine::Booting(since, power),
                Machine::Up | Machine::ShuttingDown | Machine::Silent(_) => Machine::Up,
            };
        });
    }

    /// It has booted.
    pub(super) fn booted(&self, name: &str) {
        self.flip(|state| {
            state.machines.insert(name.to_owned(), Machine::Up);
        });
    }

    /// The Ray container of a pod gets a SIGKILL.
    pub(super) fn kill(&self, namespace: &str, pod: &str) {
        self.flip(|state| state.kills.push((namespace.to_owned(), pod.to_owned())));
    }

    /// Kills that nobody has performed yet; they are taken away.
    pub(super) fn take_kills(&self) -> Vec<Key> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.kills)
    }

    /// KubeRay's operator ends now and starts again then.
    pub(super) fn kuberay_down_until(&self, up_at: Timestamp) {
        self.flip(|state| {
            state.kuberay_starts += 1;
            state.kuberay_up_at = state.kuberay_up_at.max(Some(up_at));
        });
    }

    /// How often KubeRay's operator was ended, and from when on it works.
    pub(super) fn kuberay(&self) -> (u64, Option<Timestamp>) {
        self.read(|state| (state.kuberay_starts, state.kuberay_up_at))
    }
}
