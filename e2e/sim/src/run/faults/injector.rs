//! Injects the planned faults into the calls of one replica, and records its writes.

use std::time::Duration;

use rayfleet_sim_kube::api::{self, ApiServer, Call, EventVerdict, Interceptor, ListVerdict, Verdict};
use serde_json::Value;

use super::{Kind, Obstacle, Order, Shared, Why, Written};

/// How long a replica that hangs is cut off: its lease expires in half of that.
const CUT_OFF: Duration = Duration::from_secs(30);
/// How long dashboards and KubeRay are away, and foreign pods exist.
const AWAY: Duration = Duration::from_secs(20);
/// How long a policy refuses creates, and how long a CRD is missing.
const DENIED: Duration = Duration::from_secs(20);
const ABSENT: Duration = Duration::from_secs(10);
/// Kinds that the orchestrator creates for fleets.
const MADE: [api::Kind; 3] = [api::Kind::RAY_CLUSTER, api::Kind::SERVICE, api::Kind::CONTROLLER_REVISION];
/// Longest delay of an event in milliseconds, without faults.
const LAG: u64 = 20;
/// Delay of an event that is to be late.
const LATE: Duration = Duration::from_secs(5);
/// Number of resource versions that a stale list lags behind.
const BEHIND: u64 = 12;
/// Number of calls at one moment of simulated time that counts as a hot loop.
const HOT: u32 = 400;

/// Sits between one replica and the API server.
pub struct FaultInjector {
    who: String,
    api: ApiServer,
    shared: Shared,
}

impl FaultInjector {
    /// An injector between `who` and `api`.
    pub fn new(who: &str, api: ApiServer, shared: Shared) -> Self {
        Self { who: who.to_owned(), api, shared }
    }

    fn count(&self) {
        let now = self.shared.trace.now();
        let mut state = self.shared.state();
        state.calls += 1;
        state.burst = if state.burst.0 == now { (now, state.burst.1 + 1) } else { (now, 1) };
        if state.burst.1 == HOT {
            drop(state);
            self.shared.breach(format!("hot loop: {HOT} calls at one moment"));
        }
    }

    /// Records a write, and returns its number and the fault that the plan has for it.
    fn enter(&self, call: &Call) -> (u64, Option<Kind>) {
        let what = words(call);
        let mut state = self.shared.state();
        let is_event = matches!(call.kind, api::Kind::EVENT | api::Kind::EVENTS_K8S);
        state.writes.push(Written { at: self.shared.trace.now(), who: self.who.clone(), what, is_event });
        let number = u64::try_from(state.writes.len()).unwrap_or(u64::MAX);
        (number, state.plan.of_write(number))
    }

    /// The effect of the present obstacles on a call.
    fn obstructed(&self, call: &Call) -> Option<Verdict> {
        let there = |kind: &api::Kind| self.api.list(kind).len();
        self.shared.in_the_way().iter().find_map(|obstacle| obstacle.verdict(call, there))
    }

    fn obstruct(&self, call: &Call, kinds: &[api::Kind], why: Why, length: Duration) -> Verdict {
        let until = Some(self.shared.trace.now() + length);
        self.shared.obstruct(Obstacle { kinds: kinds.to_vec(), why, limit: 0, until });
        self.obstructed(call).unwrap_or(Verdict::Pass)
    }

    /// Whether the kind RayCluster is unknown at the moment.
    fn has_no_clusters(&self) -> bool {
        self.shared.in_the_way().iter().any(|obstacle| obstacle.breaks(&api::Kind::RAY_CLUSTER))
    }

    fn order(&self, order: Order) {
        // The world outlives its clients; orders after the end of a run are dropped.
        let _ = self.shared.state().orders.send(order);
    }

    fn die(&self, stale: bool) {
        self.shared.mark_dead(&self.who);
        self.order(Order::Replace { who: self.who.clone(), stale });
    }

    /// Only the lease holder may write. A write that was sent before the lease was lost does not count.
    fn check_leader(&self, call: &Call) {
        let lease = self.api.list(&api::Kind::LEASE).into_iter().next();
        let Some(holder) =
            lease.and_then(|lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned))
        else {
            return;
        };
        if holder != self.who {
            self.shared.breach(format!("{} writes while {holder} leads: {}", self.who, words(call)));
        }
    }
}

/// A call in a few words. Names of Events contain the machine's time of day, so they are left out.
fn words(call: &Call) -> String {
    let name = if call.name.is_empty() {
        call.body["metadata"]["name"].as_str().unwrap_or_default()
    } else {
        &call.name
    };
    let sub = call.subresource.as_deref().map_or_else(String::new, |sub| format!("/{sub}"));
    let verb = format!("{:?}", call.verb).to_lowercase();
    if matches!(call.kind, api::Kind::EVENT | api::Kind::EVENTS_K8S) {
        let reason = call.body["reason"].as_str().unwrap_or_default();
        return format!("{verb} Event {reason}");
    }
    let more = gate(&call.body).map_or_else(String::new, |gate| format!(" {gate}"));
    format!("{verb} {}{sub} {name}{more}", call.kind)
}

/// The value that a patch sets the gate to.
fn gate(body: &Value) -> Option<String> {
    let condition = body["status"]["conditions"].as_array()?.first()?;
    if condition["type"] != rayfleet_api::names::GATE_SERVING {
        return None;
    }
    Some(format!("{} {}", condition["status"].as_str()?, condition["reason"].as_str()?))
}

/// How long a fault lasts by itself.
fn lasts(kind: Kind) -> Duration {
    match kind {
        Kind::Hangs => CUT_OFF,
        Kind::Dashboards | Kind::Kuberay | Kind::Suspended | Kind::Foreign => AWAY,
        Kind::EventLate => LATE,
        Kind::Denied => DENIED,
        Kind::Absent => ABSENT,
        _ => Duration::ZERO,
    }
}

fn counts(call: &Call) -> bool {
    call.verb.is_write() && !call.dry_run && call.kind != api::Kind::LEASE
}

impl Interceptor for FaultInjector {
    fn judge(&self, call: &Call) -> Verdict {
        self.count();
        if !self.shared.reaches(&self.who) {
            return Verdict::LoseBefore;
        }
        if !self.shared.may(call) {
            return Verdict::Refuse { code: 403, reason: "Forbidden" };
        }
        if !counts(call) {
            return self.obstructed(call).unwrap_or(Verdict::Pass);
        }
        self.check_leader(call);
        let (number, kind) = self.enter(call);
        let Some(kind) = kind else { return self.obstructed(call).unwrap_or(Verdict::Pass) };
        self.shared.trace.add("fault", format!("{} at write {number}, {}", kind.name(), words(call)));
        self.shared.troubled(lasts(kind));
        let verdict = match kind {
            Kind::CrashBefore => {
                self.die(false);
                Verdict::LoseBefore
            }
            Kind::CrashAfter | Kind::CrashStale => {
                self.die(kind == Kind::CrashStale);
                Verdict::LoseAfter
            }
            Kind::Conflict if call.verb == api::Verb::Create => {
                Verdict::Refuse { code: 500, reason: "InternalError" }
            }
            Kind::Conflict => Verdict::Refuse { code: 409, reason: "Conflict" },
            Kind::Busy => Verdict::Refuse { code: 429, reason: "TooManyRequests" },
            Kind::Broken => Verdict::Refuse { code: 500, reason: "InternalError" },
            Kind::Lost => Verdict::LoseBefore,
            Kind::Unanswered => Verdict::LoseAfter,
            Kind::Hangs => {
                let until = self.shared.trace.now() + CUT_OFF;
                self.shared.state().cut_off.insert(self.who.clone(), until);
                Verdict::LoseBefore
            }
            Kind::Dashboards => {
                self.order(Order::Dashboards(AWAY));
                Verdict::Pass
            }
            Kind::Kuberay => {
                self.order(Order::Kuberay(AWAY));
                Verdict::Pass
            }
            Kind::Denied => self.obstruct(call, &MADE, Why::Policy, DENIED),
            Kind::Absent => self.obstruct(call, &[api::Kind::RAY_CLUSTER], Why::Absent, ABSENT),
            // An unknown kind cannot be changed.
            Kind::Resized | Kind::Suspended if self.has_no_clusters() => Verdict::Pass,
            Kind::Resized => {
                self.order(Order::Resize);
                Verdict::Pass
            }
            Kind::Suspended => {
                self.order(Order::Suspend(AWAY));
                Verdict::Pass
            }
            Kind::Foreign => {
                self.order(Order::Foreign(AWAY));
                Verdict::Pass
            }
            Kind::EventLate | Kind::EventTwice | Kind::WatchBreaks | Kind::WatchExpires => Verdict::Pass,
        };
        // Obstacles apply whatever fault hits the same call.
        match verdict {
            Verdict::Pass => self.obstructed(call).unwrap_or(Verdict::Pass),
            Verdict::LoseAfter if self.obstructed(call).is_some() => Verdict::LoseBefore,
            verdict => verdict,
        }
    }

    fn applied(&self, call: &Call, code: u16) {
        if counts(call) {
            self.shared.trace.add(&self.who, format!("{} -> {code}", words(call)));
        }
    }

    fn event(&self, call: &Call, object: &Value) -> EventVerdict {
        let (kind, lag) = {
            let mut state = self.shared.state();
            state.events += 1;
            let number = state.events;
            (state.plan.of_event(number), Duration::from_millis(state.lags.u64(0..=LAG)))
        };
        if self.shared.in_the_way().iter().any(|obstacle| obstacle.breaks(&call.kind)) {
            return EventVerdict::Break;
        }
        let Some(kind) = kind else { return EventVerdict::Delay(lag) };
        self.shared.troubled(lasts(kind));
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.shared.trace.add("fault", format!("{} for {} {name} of {}", kind.name(), call.kind, self.who));
        match kind {
            Kind::EventLate => EventVerdict::Delay(LATE),
            Kind::EventTwice => EventVerdict::Twice,
            Kind::WatchBreaks => EventVerdict::Break,
            Kind::WatchExpires => EventVerdict::Expire,
            _ => EventVerdict::Deliver,
        }
    }

    fn list(&self, _: &Call) -> ListVerdict {
        if self.shared.state().stale.contains(&self.who) {
            ListVerdict::Stale { behind: BEHIND }
        } else {
            ListVerdict::Fresh
        }
    }
}

#[cfg(test)]
mod tests;
