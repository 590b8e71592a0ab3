//! Faults that can be named: which call, event or moment of a run they hit, and how. A plan is a list of
//! them, written in one line, so that a run can be repeated from a shell.

mod injector;
mod obstacle;
mod shared;

use std::fmt;
use std::str::FromStr;

pub use self::injector::FaultInjector;
pub use self::obstacle::{Obstacle, Why};
pub use self::shared::{Order, Shared, Written};

/// What goes wrong with the n-th write. Writes are counted from 1 over all replicas, without leases and dry
/// runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The replica dies before the write reaches the API server.
    CrashBefore,
    /// The replica dies after it was applied.
    CrashAfter,
    /// The replica dies after it was applied, and the first lists of its successor are stale.
    CrashStale,
    /// The API server answers 409.
    Conflict,
    /// The API server answers 429.
    Busy,
    /// The API server answers 500.
    Broken,
    /// It is never applied, and no answer comes.
    Lost,
    /// It is applied, and no answer comes.
    Unanswered,
    /// The replica is cut off from everything for half a minute, and another one takes over.
    Hangs,
    /// All dashboards are silent for the next twenty seconds.
    Dashboards,
    /// KubeRay is away for the next twenty seconds.
    Kuberay,
    /// A policy refuses all creates except Events for the next twenty seconds.
    Denied,
    /// The kind RayCluster is unknown for the next ten seconds.
    Absent,
    /// Somebody scales the workers of a RayCluster to zero.
    Resized,
    /// Somebody suspends a RayCluster for twenty seconds.
    Suspended,
    /// Other people and tools: for twenty seconds there are pods with the labels of every group, a head
    /// among them. From then on, foreign pods and the groups' heads have timestamps that no library can
    /// parse, and all RayClusters have another tool's label.
    Foreign,
    /// The n-th event of a watch, and all events after it there, are five seconds late.
    EventLate,
    /// The n-th event of a watch is delivered twice.
    EventTwice,
    /// The watch of the n-th event ends before it.
    WatchBreaks,
    /// The watch of the n-th event ends before it and must list again.
    WatchExpires,
}

impl Kind {
    /// Faults that hit a write.
    pub const OF_WRITES: [Self; 16] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::CrashStale,
        Self::Conflict,
        Self::Busy,
        Self::Broken,
        Self::Lost,
        Self::Unanswered,
        Self::Hangs,
        Self::Dashboards,
        Self::Kuberay,
        Self::Denied,
        Self::Absent,
        Self::Resized,
        Self::Suspended,
        Self::Foreign,
    ];
    /// Faults that hit an event of a watch.
    pub const OF_EVENTS: [Self; 4] =
        [Self::EventLate, Self::EventTwice, Self::WatchBreaks, Self::WatchExpires];

    fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::CrashStale => "crash-stale",
            Self::Conflict => "409",
            Self::Busy => "429",
            Self::Broken => "500",
            Self::Lost => "lost",
            Self::Unanswered => "unanswered",
            Self::Hangs => "hangs",
            Self::Dashboards => "dashboards",
            Self::Kuberay => "kuberay",
            Self::Denied => "denied",
            Self::Absent => "absent",
            Self::Resized => "resized",
            Self::Suspended => "suspended",
            Self::Foreign => "foreign",
            Self::EventLate => "event-late",
            Self::EventTwice => "event-twice",
            Self::WatchBreaks => "watch-breaks",
            Self::WatchExpires => "watch-expires",
        }
    }

    /// Whether `at` counts events of watches instead of writes.
    pub fn is_of_events(self) -> bool {
        Self::OF_EVENTS.contains(&self)
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Number of the write or event, from 1.
    pub at: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.at)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Kind::OF_WRITES.iter().chain(&Kind::OF_EVENTS);
        let (name, at) =
            text.split_once(':').ok_or_else(|| format!("{text}: a fault is written as kind:number"))?;
        let kind = all().find(|kind| kind.name() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = all().map(|kind| kind.name()).collect();
            format!("{name}: there is no such fault; there are {}", names.join(", "))
        })?;
        let at = at.parse().map_err(|_| format!("{at}: a number from 1 is needed"))?;
        Ok(Self { kind, at })
    }
}

/// The faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(pub Vec<Fault>);

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        Ok(Self(parts.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl Plan {
    /// One fault.
    pub fn one(kind: Kind, at: u64) -> Self {
        Self(vec![Fault { kind, at }])
    }

    /// The fault that hits a write.
    fn of_write(&self, number: u64) -> Option<Kind> {
        self.0.iter().find(|fault| !fault.kind.is_of_events() && fault.at == number).map(|fault| fault.kind)
    }

    /// The fault that hits an event of a watch.
    fn of_event(&self, number: u64) -> Option<Kind> {
        self.0.iter().find(|fault| fault.kind.is_of_events() && fault.at == number).map(|fault| fault.kind)
    }

    /// Whether it removes something that groups depend on: they may fail because of it and be replaced.
    pub fn brings_outages(&self) -> bool {
        self.0.iter().any(|fault| {
            matches!(fault.kind, Kind::Dashboards | Kind::Kuberay | Kind::Resized | Kind::Suspended)
        })
    }

    /// Whether surviving it needs a second replica.
    pub fn needs_two(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == Kind::Hangs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_a_round_trip() {
        let all = Kind::OF_WRITES.iter().chain(&Kind::OF_EVENTS);
        let plan = Plan(all.zip(1..).map(|(kind, at)| Fault { kind: *kind, at }).collect());
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()));
        assert_eq!("".parse(), Ok(Plan::default()));
        assert!(plan.needs_two() && !Plan::one(Kind::Lost, 3).needs_two());
        assert!(plan.brings_outages() && !Plan::one(Kind::Hangs, 3).brings_outages());
    }

    #[test]
    fn an_unknown_fault_is_refused_with_the_known_names() {
        assert!("crash".parse::<Plan>().unwrap_err().contains("kind:number"));
        assert!("crash:3".parse::<Plan>().unwrap_err().contains("crash-before, crash-after"));
        assert!("lost:x".parse::<Plan>().unwrap_err().contains("a number"));
    }

    #[test]
    fn writes_and_events_are_counted_separately() {
        let plan = Plan(vec![Fault { kind: Kind::Lost, at: 2 }, Fault { kind: Kind::EventTwice, at: 1 }]);
        assert_eq!((plan.of_write(1), plan.of_write(2)), (None, Some(Kind::Lost)));
        assert_eq!((plan.of_event(1), plan.of_event(2)), (Some(Kind::EventTwice), None));
    }
}
